"""Delivery: what a run has logged goes to the trackers of its config, and never holds the training up.

Training writes its own log and nothing else. For each tracker a process of its own follows that log (`process`),
sends what is new (`courier`) and notes what has arrived (`cursor`). The training only starts these processes, and at
its end waits a second for them (`spool`); what is left goes with the verb `sync`, which starts the same processes. A
tool that hangs, crashes or patches its process harms nothing but its own delivery.
"""
