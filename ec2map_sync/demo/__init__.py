"""The demonstration: several regions in one process, without any server."""
