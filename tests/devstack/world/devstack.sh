#!/usr/bin/env bash
#
# Goes through the phases of stack.sh, unstack.sh or clean.sh as devstack does.
#
#     devstack.sh stack [last phase] | unstack | clean

source "$(dirname "$0")/functions.sh"
source "$WORLD/localrc"
cd "$WORLD" || exit
umask 022
promised=$(declare -F | cut -d ' ' -f 3)

# What a plugin has to leave as it was.
function shell_state {
    set +o
    shopt
    trap -p
    pwd
    umask
    declare -p IFS
    # shellcheck disable=SC2086  # names of functions
    declare -f $promised
}

function run_phase {
    shell_state >"$WORLD/before" 2>/dev/null
    # shellcheck disable=SC2086  # an empty phase is no argument
    source "$WORLD_PLUGIN/plugin.sh" $1 $2
    shell_state >"$WORLD/after" 2>/dev/null
    diff "$WORLD/before" "$WORLD/after" || exit 70
    if [[ -n ${last:-} && $2 == "$last" ]]; then
        exit 0
    fi
}

function load_settings {
    shell_state >"$WORLD/before" 2>/dev/null
    source "$WORLD_PLUGIN/settings"
    shell_state >"$WORLD/after" 2>/dev/null
    diff "$WORLD/before" "$WORLD/after" || exit 70
}

# lib/rpc_backend, which unstack.sh does not read.
function rpc_backend {
    RABBIT_USERID=${RABBIT_USERID:-stackrabbit}
    function get_transport_url {
        echo "rabbit://$RABBIT_USERID:$RABBIT_PASSWORD@$RABBIT_HOST/$1"
    }
}

# As init_nova: every cell anew, none with a row.
function init_nova {
    local cell
    for cell in $WORLD_CELLS; do
        recreate_database "$cell"
        mysql -u"$DATABASE_USER" -p"$DATABASE_PASSWORD" -h"$MYSQL_HOST" \
            "$cell" <"$WORLD/s3_images.sql"
    done
}

case $1 in
    stack)
        last=${2:-}
        trap 'echo "stack.sh failed"; exit 1' ERR
        set -o errexit
        rpc_backend
        set -o xtrace
        load_settings
        set +o xtrace
        DATABASE_USER=devstack
        MYSQL_HOST=127.0.0.1
        BASE_SQL_CONN=mysql+pymysql://$DATABASE_USER:$DATABASE_PASSWORD
        BASE_SQL_CONN+=@$MYSQL_HOST:$WORLD_MYSQL_PORT
        set -o xtrace
        run_phase stack pre-install
        set +o xtrace
        iniset "$GLANCE_API_CONF" oslo_messaging_notifications \
            driver messagingv2
        iniset "$GLANCE_API_CONF" DEFAULT transport_url \
            "$(get_transport_url "")"
        set -o xtrace
        run_phase stack install
        set +o xtrace
        : >"$WORLD/images"
        init_nova
        set -o xtrace
        run_phase stack post-config
        set +o xtrace
        source "$WORLD/merge.sh"
        set -o xtrace
        for image in $WORLD_UPLOADS; do
            openstack image create "$image"
        done
        run_phase stack extra
        run_phase stack test-config
        ;;
    unstack)
        load_settings
        set -o xtrace
        run_phase unstack
        ;;
    clean)
        rpc_backend
        set -o xtrace
        "$0" unstack
        if [[ -n ${2:-} ]]; then
            touch "$WORLD/down"
        fi
        load_settings
        run_phase clean
        ;;
esac
