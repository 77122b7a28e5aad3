"""Pools of connections to upstreams: which one is taken, how many are kept, retirement."""

from proxyworker.net.pool import MAX_IDLE_PER_POOL
from tests.proxyworker.net.proxy import GET, OK, MemoryProxy


def test_last_used_first(proxy: MemoryProxy) -> None:
    """The warm connection is taken again, the cold one ages out."""
    clients = [proxy.client(GET) for _ in range(2)]
    backends = [attempt.accept() for attempt in proxy.dialler.attempts]
    for backend in backends:
        backend.deliver(OK)
    clients[0].deliver(GET)
    assert [backend.received.count(b" HTTP/1.1\r\n") for backend in backends] == [1, 2]


def test_a_pool_keeps_a_bounded_number_of_idle_connections(proxy: MemoryProxy) -> None:
    """What is over is closed."""
    for _ in range(MAX_IDLE_PER_POOL + 3):
        proxy.client(GET)
    backends = [attempt.accept() for attempt in proxy.dialler.attempts]
    for backend in backends:
        backend.deliver(OK)
    assert proxy.configuration.idle_connection_count == MAX_IDLE_PER_POOL
    assert sum(backend.end == "closed" for backend in backends) == 3


def test_a_retired_pool_keeps_nothing(proxy: MemoryProxy) -> None:
    """Idle connections close at once, busy ones behind their exchange."""
    first, second = proxy.client(GET), proxy.client(GET)
    idle, busy = (attempt.accept() for attempt in proxy.dialler.attempts)
    idle.deliver(OK)
    proxy.configuration.close()
    assert (idle.end, busy.end) == ("closed", "")
    busy.deliver(OK)
    assert busy.end == "closed"
    assert first.received == second.received == OK
