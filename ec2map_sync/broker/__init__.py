"""Brokers as all of ours reach them."""
