"""Tests of its sockets, connections and exchanges."""
