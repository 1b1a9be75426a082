"""Portable EC2 image ids for OpenStack clouds with several regions."""
