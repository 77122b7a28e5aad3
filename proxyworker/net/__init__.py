"""Sockets: endpoints over libuv, the TLS layer, listeners and upstream pools."""
