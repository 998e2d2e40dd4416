"""Searches: trials that Optuna chooses from a space of config keys, each of them a run, and what they have taught."""
