"""The failure inbox: what fails at upstreams, grouped by host, upstream and cause."""
