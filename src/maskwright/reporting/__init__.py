"""Reports: what a run, a study or another verb has found, as one HTML file that needs nothing else to be read."""
