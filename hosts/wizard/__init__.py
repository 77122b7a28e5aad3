"""A new host, step by step: from its domain to the first request that its upstream answers."""
