"""How Aegis authenticates itself to upstreams and upstreams to itself."""
