"""What several tests need: certificates, real upstreams, running instances."""
