#!/usr/bin/env bash
#
# Creates an image in this region's Glance and looks for its row in every Nova
# cell, before anything is booted from it.
#
#     devstack/exercise.sh
#
# DEVSTACK_DIR says where devstack is (default: beside this repository, or
# ~/devstack).

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ -z ${DEVSTACK_DIR:-} ]]; then
    DEVSTACK_DIR=$(dirname "$(dirname "$here")")/devstack
    if [[ ! -e $DEVSTACK_DIR/functions ]]; then
        DEVSTACK_DIR=$HOME/devstack
    fi
fi

# devstack's own files are not made for errexit.
source "$DEVSTACK_DIR/functions"
source "$DEVSTACK_DIR/openrc" admin admin
source "$here/settings"
source "$here/lib/ec2map-sync"
# 55: skipped, as in devstack's other exercises.
is_service_enabled ec2map-sync-agent || exit 55

set -o errexit

file=$(mktemp)
image=
function tidy {
    rm -f "$file"
    if [[ -n $image ]]; then
        openstack image delete "$image"
    fi
}
trap tidy EXIT
head -c 512 /dev/zero >"$file"

echo "Creating an image"
image=$(openstack image create --disk-format raw --container-format bare \
    --file "$file" -f value -c id ec2map-sync-exercise)
_ec2map_sync_await "$EC2MAP_SYNC_READY_TIMEOUT" \
    _ec2map_sync_has_rows "$image" ||
    die $LINENO "image $image has no row in one of: $EC2MAP_SYNC_CELLS"

derived=$(_ec2map_sync id "$image")
for cell in $EC2MAP_SYNC_CELLS; do
    found=$(_ec2map_sync_ec2_id "$image" "$cell")
    echo "Image $image in $cell: $found"
    if [[ $found != "$derived" ]]; then
        die $LINENO "$cell has $found for image $image, not $derived"
    fi
done

echo "Deleting the image: its id stays taken"
openstack image delete "$image"
deleted=$image
image=
sleep 2
_ec2map_sync_has_rows "$deleted" ||
    die $LINENO "the row of image $deleted is gone from a cell"

echo "SUCCESS: image $deleted is $derived in every cell"
