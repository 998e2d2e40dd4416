"""What every room stands on: the one writer, workers, progress, strict YAML, stopping, tables."""
