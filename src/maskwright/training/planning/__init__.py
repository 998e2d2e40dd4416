"""What `plan` does: it reads the data, finds weights, and writes `run.yaml` with a reason for each choice."""
