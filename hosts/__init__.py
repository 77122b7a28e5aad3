"""Proxy hosts and their upstreams; compiled and published to the workers."""
