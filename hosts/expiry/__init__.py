"""Everything that ends: certificates and revocation lists of all hosts, of their upstreams, and of the local CA."""
