"""The daemon: what runs in it, and what its processes share."""
