"""Pure decisions: routing, balancing, retry, forwarding headers, outcome."""
