"""Traffic as the workers count it: requests, errors, durations and handshakes, of each host and of all together."""
