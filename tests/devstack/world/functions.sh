#!/usr/bin/env bash
#
# What devstack promises to plugins, as far as ours uses it. $WORLD has the
# servers, programs and files of one host.

function is_service_enabled {
    local service
    for service in "$@"; do
        if [[ ,$ENABLED_SERVICES, == *,$service,* ]]; then
            return 0
        elif [[ $service == nova && ,$ENABLED_SERVICES == *,n-* ]]; then
            return 0
        fi
    done
    return 1
}

function define_plugin {
    return 0
}

function enable_service {
    local service
    for service in "$@"; do
        if [[ ,${DISABLED_SERVICES:-}, == *,$service,* ]]; then
            echo "WARNING: $service stays disabled"
        elif ! is_service_enabled "$service"; then
            ENABLED_SERVICES+=,$service
        fi
    done
}

function disable_service {
    local service
    for service in "$@"; do
        DISABLED_SERVICES=${DISABLED_SERVICES:-},$service
    done
}

function die {
    set +o xtrace
    shift
    echo "[ERROR] $*" >&2
    exit 1
}

function echo_summary {
    echo "== $*"
}

# Files like oslo.config's. As devstack's, they take no quotes of values, so
# that white space and "*" in one suffer.
function _ini {
    awk -v action="$1" -v section="[$3]" -v option="${4:-}" -v value="${5:-}" '
        function put() { print option " = " value; done = 1 }
        inside && /^\[/ { inside = 0; if (action == "set" && !done) put() }
        $0 == section { inside = 1; found = 1 }
        inside && index($0, "=") {
            name = $0; sub(/[ \t]*=.*/, "", name)
            if (name == option) {
                if (action == "get") { sub(/^[^=]*=/, ""); print }
                if (action == "set" && !done) put()
                if (action != "get") next
            }
        }
        action != "get" { print }
        END {
            if (action == "set" && !done) {
                if (!found) print "\n" section
                put()
            }
        }' "$2"
}

function iniget {
    # shellcheck disable=SC2046,SC2005  # as devstack does
    echo $(_ini get "$1" "$2" "$3" | head -1)
}

function ini_has_option {
    [[ -n $(_ini get "$1" "$2" "$3") ]]
}

function iniset {
    local text
    touch "$1"
    # shellcheck disable=SC2086,SC2116  # as devstack does
    text=$(_ini set "$1" "$2" "$3" "$(echo $4)")
    printf '%s\n' "$text" >"$1"
}

function inidelete {
    local text
    text=$(_ini delete "$1" "$2" "$3")
    printf '%s\n' "$text" >"$1"
}

function setup_logging {
    iniset "$1" DEFAULT logging_debug_format_suffix "{{%(funcName)s}}"
}

function get_python_exec_prefix {
    echo "$WORLD_PYTHON"
}

function setup_develop {
    grep -q '^name *= *ec2map-sync$' "$1/setup.cfg"
    echo "setup_develop $1 $2"
}

function recreate_database {
    mysql -u"$DATABASE_USER" -p"$DATABASE_PASSWORD" -h"$MYSQL_HOST" \
        -e "DROP DATABASE IF EXISTS $1; CREATE DATABASE $1 CHARACTER SET utf8"
}

function database_connection_url {
    echo "$BASE_SQL_CONN/$1?charset=utf8&plugin=dbcounter"
}

function create_service_user {
    echo "user $1 with role $2"
}

# Here Glance answers everybody.
function configure_keystoneauth {
    iniset "$1" "$3" auth_type none
    iniset "$1" "$3" endpoint_override "$WORLD_GLANCE"
    iniset "$1" "$3" username "$2"
    iniset "$1" "$3" password "$SERVICE_PASSWORD"
}

function configure_keystone_authtoken_middleware {
    iniset "$1" keystone_authtoken www_authenticate_uri "$WORLD_KEYSTONE"
    iniset "$1" keystone_authtoken auth_url "$WORLD_KEYSTONE"
    iniset "$1" keystone_authtoken interface public
    iniset "$1" keystone_authtoken auth_type password
    iniset "$1" keystone_authtoken username "$2"
    iniset "$1" keystone_authtoken password "$SERVICE_PASSWORD"
    iniset "$1" keystone_authtoken user_domain_name Default
    iniset "$1" keystone_authtoken project_name service
    iniset "$1" keystone_authtoken project_domain_name Default
}

function get_or_create_service {
    echo "service $1 of type $2"
}

function get_or_create_endpoint {
    echo "$3" >"$WORLD/endpoint_of_$1_in_$2"
}

# wait_for_service seconds URL
function wait_for_service {
    local end ask
    end=$((SECONDS + $1))
    ask="import urllib.request; urllib.request.urlopen('$2')"
    until "$WORLD_PYTHON/python3" -c "$ask" 2>/dev/null; do
        if [[ $SECONDS -ge $end ]]; then
            return 1
        fi
    done
}

function run_process {
    if is_service_enabled "$1"; then
        [[ $2 == /* ]] || die $LINENO "$2 is no absolute path"
        $SYSTEMCTL start "devstack@$1.service" "$2"
    fi
}

function stop_process {
    if is_service_enabled "$1"; then
        if $SYSTEMCTL is-enabled "devstack@$1.service"; then
            $SYSTEMCTL stop "devstack@$1.service"
            $SYSTEMCTL disable "devstack@$1.service"
        fi
    fi
}
