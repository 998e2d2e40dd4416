"""Training: from a config to a Run folder with checkpoints, and on from where it stopped."""
