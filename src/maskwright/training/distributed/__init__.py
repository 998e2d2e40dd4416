"""Several processes, on any number of hosts, that train one model."""
