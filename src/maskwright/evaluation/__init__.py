"""From predictions to numbers that can be trusted: metrics, scoring, guarding, comparing, explaining, curves."""
