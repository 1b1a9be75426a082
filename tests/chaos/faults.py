"""All kinds of fault."""

import on_data
import on_hosts
import on_links
import on_servers
from kinds import KINDS, Kind

__all__ = ["KINDS", "MODULES", "Kind"]

MODULES = (on_hosts, on_links, on_servers, on_data)
"""Where they are: each says of itself what it is."""
