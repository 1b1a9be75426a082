"""Regions in one process, on a simulated bus, with simulated clocks.

The ledger, settling, comparing, Follower, Publisher, Answerer, Gate, Writer,
Memory and the wire format are the package's own; only brokers, clocks and
the processes around them are played here. `history` drives, `check` judges.
"""
