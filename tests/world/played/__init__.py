"""A world in one thread, under one seed: see `tests/world/run.py`.

- `scheduler`: tasks (greenlets), processes, clocks; nothing happens at once.
- `nature`: time, chance, threads and pipes as the package finds them here.
- `brokers`, `wire`, `rabbit`: RabbitMQ's semantics, below kombu.
- `sqlite`: databases that go away, answer no commit, or only let read.
- `listening`: what oslo.messaging does between a broker and the Listener.
- `region`, `world`: hosts and services, as the agent builds them.
- `happenings`, `history`: what happens, and when, drawn from the seed.
- `operators`: what is done with commands; `crowd`: thousands of images.
- `judge`: what must be so; `shrinking`: what a failure does not need.
"""
