"""Screenshots of the main pages, from a running Aegis with something to show: `make screenshots`."""
