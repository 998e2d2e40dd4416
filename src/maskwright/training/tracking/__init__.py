"""Trackers of other tools, and the delivery of a run to them beside the training."""
