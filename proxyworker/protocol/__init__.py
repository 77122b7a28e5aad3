"""HTTP on bytes: no sockets, no clock."""
