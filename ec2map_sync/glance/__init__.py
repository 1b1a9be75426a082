"""Everything that speaks with Glance: its notifications, and its API."""
