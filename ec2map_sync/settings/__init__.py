"""Every option, and the configuration of a region as checked values."""
