"""The data plane: a Twisted worker that carries traffic. It knows configuration only as `proxyworker.snapshot`."""
