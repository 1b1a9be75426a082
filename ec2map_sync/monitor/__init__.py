"""How a region is: what status says, and what Prometheus is told."""
