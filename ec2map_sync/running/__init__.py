"""How services run: loops, threads, and what is counted meanwhile."""
