#!/bin/bash

# kolla_start sources this; the role bootstraps once, then starts the agents.
if [[ "${!KOLLA_BOOTSTRAP[@]}" ]]; then
    ec2map-sync db upgrade
    exit 0
fi
