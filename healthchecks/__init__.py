"""Active checks of upstreams."""
