#!/usr/bin/env bash
#
# devstack plugin of ec2map-sync: what each phase does.
#
#     enable_plugin ec2map-sync URL main

# Commands here carry passwords, which must not get into the log.
_XTRACE_EC2MAP_SYNC=$(set +o | grep xtrace)
set +o xtrace

source "$EC2MAP_SYNC_DIR/devstack/lib/ec2map-sync"

if is_service_enabled ec2map-sync-agent; then
    case "$1 ${2:-}" in
        "stack pre-install")
            check_ec2map_sync_settings
            ;;
        "stack install")
            echo_summary "Installing ec2map-sync"
            install_ec2map_sync
            ;;
        "stack post-config")
            echo_summary "Configuring ec2map-sync"
            configure_ec2map_sync
            init_ec2map_sync
            ;;
        "stack extra")
            echo_summary "Starting ec2map-sync"
            start_ec2map_sync
            check_ec2map_sync_api
            check_ec2map_sync_rows
            ;;
        "unstack ")
            echo_summary "Stopping ec2map-sync"
            stop_ec2map_sync
            ;;
        "clean ")
            echo_summary "Removing ec2map-sync"
            cleanup_ec2map_sync
            ;;
    esac
fi

$_XTRACE_EC2MAP_SYNC
