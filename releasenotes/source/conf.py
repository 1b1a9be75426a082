"""Settings of the release notes as OpenStack's jobs build them."""

extensions = ["reno.sphinxext"]
project = "ec2map-sync"
author = "The ec2map-sync developers"
