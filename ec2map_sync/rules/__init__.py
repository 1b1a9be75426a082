"""What is true whatever the machinery: ids, claims, settling, rows. Pure."""
