"""Hosts with several upstreams: who gets a request, who is out, what is tried again and how often."""

import dataclasses
import errno

import pytest

from proxyworker.snapshot import HostEntry, PassiveHealth, Retries
from tests.proxyworker.net.memory import Attempt, Dialler
from tests.proxyworker.net.proxy import GET, OK, MemoryProxy, entry, upstream

POST = b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 2\r\n\r\nhi"
WEBSOCKET = GET[:-2] + (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
ERROR_500 = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
UNLIMITED = Retries(max_attempts=9, budget_min_per_s=1000)
ONE_FAILURE = PassiveHealth(max_failures=1, backoff_s=2.0, backoff_max_s=60.0)


def refused() -> OSError:
    return OSError(errno.ECONNREFUSED, "refused")


def two(**changes: object) -> HostEntry:
    """A host with two upstreams, of which one failure takes one out."""
    return entry(upstream(1), upstream(2), **{"passive_health": ONE_FAILURE, "retries": UNLIMITED, **changes})


def hosts_of(attempts: list[Attempt]) -> list[str]:
    return [attempt.host.removeprefix("10.0.0.") for attempt in attempts]


class Upstreams:
    """The other ends of what `dialler` gets from now on: those in `down` refuse, the others answer OK and close."""

    def __init__(self, dialler: Dialler) -> None:
        self.down: set[str] = set()
        self.served: list[str] = []
        self._dialler = dialler
        self._seen = len(dialler.attempts)

    def play(self) -> None:
        """Everything that was asked so far is decided."""
        while self._seen < len(self._dialler.attempts):
            attempt = self._dialler.attempts[self._seen]
            self._seen += 1
            [name] = hosts_of([attempt])
            if name in self.down:
                attempt.fail(refused())
                continue
            backend = attempt.accept()
            self.served.append(name)
            backend.deliver(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            backend.settle()


@pytest.fixture
def upstreams(dialler: Dialler) -> Upstreams:
    """All up."""
    return Upstreams(dialler)


def served(proxy: MemoryProxy, upstreams: Upstreams, number: int) -> str:
    """Who answers so many requests, one after the other; none may fail."""
    upstreams.served.clear()
    for _ in range(number):
        client = proxy.client(GET)
        upstreams.play()
        assert client.received.endswith(b"ok"), client.received
        client.close_by_peer()
    return "".join(upstreams.served)


# Who gets a request


def test_round_robin_by_weight(dialler: Dialler, upstreams: Upstreams) -> None:
    """As the weights say, evenly mixed."""
    proxy = MemoryProxy(dialler, entry(upstream(1, weight=3), upstream(2)))
    assert served(proxy, upstreams, 8) == "11211121"


def test_least_connections_counts_what_is_under_way(dialler: Dialler) -> None:
    """Open requests and WebSockets, until they end."""
    proxy = MemoryProxy(dialler, two(load_balancing="least_connections"))
    socket, waiting = proxy.client(WEBSOCKET), proxy.client(GET)
    backends = [attempt.accept() for attempt in dialler.attempts]
    backends[0].deliver(SWITCH)
    backends[1].deliver(OK)
    proxy.client(GET)  # 1 has a WebSocket, 2 has nothing
    proxy.client(GET).close_by_peer()  # level; whoever gets it is rid of it at once
    assert backends[1].received.count(b"HTTP/1.1\r\n") == 2
    [one, other] = proxy.configuration.current.find(b"app.test").targets  # type: ignore[union-attr]
    assert (one.state.in_flight, other.state.in_flight) == (1, 1)
    socket.close_by_peer()
    waiting.close_by_peer()
    assert (one.state.in_flight, other.state.in_flight) == (0, 1)


@pytest.mark.parametrize("ending", ["answer", "refusal", "reset", "timeout", "client", "malformed", "cut", "tunnel"])
def test_nothing_stays_in_flight(dialler: Dialler, ending: str) -> None:
    """However a request ends."""
    proxy = MemoryProxy(dialler, two(retries=Retries(max_attempts=1)))
    client = proxy.client(WEBSOCKET if ending == "tunnel" else GET)
    if ending == "refusal":
        proxy.attempt.fail(refused())
    elif ending == "client":
        client.close_by_peer()
    else:
        backend = proxy.accept()
        pieces = {"answer": OK, "malformed": b"x\r\n\r\n", "cut": OK[:-1], "tunnel": SWITCH}
        if ending in pieces:
            backend.deliver(pieces[ending])
        if ending in {"reset", "cut"}:
            backend.reset_by_peer()
        if ending == "tunnel":
            backend.close_by_peer()
        proxy.advance(61)
    route = proxy.configuration.current.find(b"app.test")
    assert route is not None
    assert [target.state.in_flight for target in route.targets] == [0, 0]


def test_ip_hash_goes_by_the_client(dialler: Dialler, upstreams: Upstreams) -> None:
    """One client, one upstream; while that is out the other one, then back."""
    proxy = MemoryProxy(dialler, two(load_balancing="ip_hash"))
    [home] = set(served(proxy, upstreams, 5))
    [away] = {"1", "2"} - {home}
    upstreams.down = {home}
    assert set(served(proxy, upstreams, 5)) == {away}
    upstreams.down = set()
    proxy.advance(3)
    assert set(served(proxy, upstreams, 5)) == {home}


def test_random_two_choices_serves_all(dialler: Dialler, upstreams: Upstreams) -> None:
    """With chance of its own; which one is not to be foretold, that it works is."""
    proxy = MemoryProxy(dialler, two(load_balancing="random_two_choices"))
    assert set(served(proxy, upstreams, 20)) <= {"1", "2"}


def test_backups_serve_while_no_other_is_up(dialler: Dialler, upstreams: Upstreams) -> None:
    """From the first failure on: that very request goes there already."""
    host = entry(upstream(1), upstream(2, backup=True), passive_health=PassiveHealth(max_failures=2, backoff_s=2.0))
    proxy = MemoryProxy(dialler, host)
    assert served(proxy, upstreams, 3) == "111"
    upstreams.down = {"1"}
    assert served(proxy, upstreams, 4) == "2222"
    assert hosts_of(dialler.attempts[3:]) == ["1", "2", "1", "2", "2", "2"]
    upstreams.down = set()
    proxy.advance(2)
    assert served(proxy, upstreams, 2) == "11"


def test_drain_gets_nothing_new_and_keeps_what_it_has(dialler: Dialler) -> None:
    """A download goes on to its end and a WebSocket as long as it likes; its pool is not retired."""
    proxy = MemoryProxy(dialler, entry(upstream(1)))
    socket, download = proxy.client(WEBSOCKET), proxy.client(GET)
    backends = [attempt.accept() for attempt in dialler.attempts]
    backends[0].deliver(SWITCH)
    backends[1].deliver(OK[:-1])
    proxy.install(entry(upstream(1, drain=True), upstream(2)), generation=2)
    assert served(proxy, Upstreams(dialler), 3) == "222"
    proxy.advance(50)
    backends[0].deliver(b"still")
    backends[1].deliver(OK[-1:])
    assert (socket.received, download.received) == (SWITCH + b"still", OK)
    assert not socket.end


def test_when_all_drain_there_is_no_telling_until_when(dialler: Dialler) -> None:
    """503 without Retry-After: it depends on an operator."""
    proxy = MemoryProxy(dialler, entry(upstream(1, drain=True), upstream(2, drain=True)))
    answer = proxy.client(GET).received
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After" not in answer


# Who is out


def test_failures_in_a_row_take_an_upstream_out_for_longer_and_longer(dialler: Dialler, upstreams: Upstreams) -> None:
    """One trial after each back-off, and no client notices; the success of one brings it back."""
    proxy = MemoryProxy(dialler, two())
    upstreams.down = {"1"}
    tried = []
    for _ in range(8):
        before = len(dialler.attempts)
        assert served(proxy, upstreams, 4) == "2222"
        tried.append(hosts_of(dialler.attempts[before:]).count("1"))
        proxy.advance(2)
    assert tried == [1, 1, 0, 1, 0, 0, 0, 1]  # after 2, 4 and 8 s
    assert list(proxy.configuration.upstreams_up()) == [
        ("app.test", "http://10.0.0.1:8080", False),
        ("app.test", "http://10.0.0.2:8080", True),
    ]
    upstreams.down = set()
    proxy.advance(60)
    assert sorted(served(proxy, upstreams, 4)) == ["1", "1", "2", "2"]
    assert proxy.telemetry.changes == [("u1", False), ("u1", True)]


@pytest.mark.parametrize("failure", ["refusal", "reset", "malformed", "cut", "timeout", "connect timeout"])
def test_what_counts_as_a_failure(dialler: Dialler, failure: str) -> None:
    """Whatever is not a complete response."""
    proxy = MemoryProxy(dialler, two())
    proxy.client(POST)
    if failure == "refusal":
        proxy.attempt.fail(refused())
    elif failure != "connect timeout":
        backend = proxy.accept()
        proxy.settle()
        if failure == "malformed":
            backend.deliver(b"SSH-2.0-OpenSSH_9\r\n\r\n")
        if failure == "cut":
            backend.deliver(OK[:-1])
        if failure in {"reset", "cut"}:
            backend.reset_by_peer()
    proxy.advance(61)
    assert ("u1", False) in proxy.telemetry.changes


def test_what_does_not_count(dialler: Dialler) -> None:
    """A client that leaves, an application's 500, a pooled connection that was closed meanwhile."""
    proxy = MemoryProxy(dialler, two(load_balancing="ip_hash"))
    proxy.client(GET).close_by_peer()
    client = proxy.client(GET)
    backend = proxy.accept()
    backend.deliver(ERROR_500)
    client.deliver(GET)
    backend.close_by_peer()
    proxy.accept().deliver(OK)
    assert client.received == ERROR_500 + OK
    assert len(set(hosts_of(dialler.attempts))) == 1
    assert proxy.telemetry.retries[0][1] == "stale"
    assert len(proxy.telemetry.retries) == 1
    assert proxy.telemetry.failures == []
    assert proxy.telemetry.changes == []


def test_a_trial_is_decided_by_the_head(dialler: Dialler, upstreams: Upstreams) -> None:
    """A stream that never ends would keep its upstream out otherwise; a WebSocket as well."""
    for request, answer in ((GET, b"HTTP/1.1 200 OK\r\n\r\ndata"), (WEBSOCKET, SWITCH)):
        proxy = MemoryProxy(dialler, two())
        proxy.client(GET)
        proxy.attempt.fail(refused())
        proxy.accept().deliver(OK)
        proxy.advance(2)
        proxy.client(GET)  # the turn of 2
        proxy.client(request)
        assert hosts_of(dialler.attempts)[-1] == "1"
        assert not next(iter(proxy.configuration.upstreams_up()))[2]
        proxy.accept().deliver(answer)
        assert next(iter(proxy.configuration.upstreams_up()))[2]


def test_an_only_upstream_is_always_tried(dialler: Dialler) -> None:
    """There is nothing else to send a request to: as nginx does it."""
    proxy = MemoryProxy(dialler, entry(passive_health=ONE_FAILURE))
    for _ in range(5):
        client = proxy.client(GET)
        proxy.attempt.fail(refused())
        assert client.received.startswith(b"HTTP/1.1 502 ")
    assert proxy.telemetry.changes == []
    assert list(proxy.configuration.upstreams_up()) == []


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_none_up_is_503_with_retry_after(dialler: Dialler, upstreams: Upstreams, method: bytes) -> None:
    """No connection is tried before the first of them is due."""
    proxy = MemoryProxy(dialler, two())
    upstreams.down = {"1", "2"}
    first = proxy.client(GET)
    upstreams.play()
    assert first.received.startswith(b"HTTP/1.1 502 ")
    proxy.advance(0.5)
    before = len(dialler.attempts)
    client = proxy.client(method + GET[3:])
    assert client.received.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 2\r\n" in client.received
    assert client.received.endswith(b"\r\n\r\n") == (method == b"HEAD")
    assert len(dialler.attempts) == before
    assert not client.end
    proxy.advance(1.5)
    upstreams.down = set()
    assert served(proxy, upstreams, 1)


def test_health_outlives_a_change_of_the_host(dialler: Dialler, upstreams: Upstreams) -> None:
    """But for one that ends what it is kept for."""
    proxy = MemoryProxy(dialler, two())
    upstreams.down = {"1"}
    served(proxy, upstreams, 2)
    waiting = proxy.client(GET)
    proxy.install(two(preserve_host=True), generation=2)
    upstreams.play()
    assert waiting.received.endswith(b"ok")
    assert [is_up for *_, is_up in proxy.configuration.upstreams_up()] == [False, True]
    proxy.install(two(passive_health=PassiveHealth(max_failures=0)), generation=3)
    assert [is_up for *_, is_up in proxy.configuration.upstreams_up()] == [True, True]


def test_in_flight_outlives_a_change_of_the_host(dialler: Dialler) -> None:
    """Deadlines changed: another pool, the same upstream; its next request knows of the one before."""
    from proxyworker.snapshot import Deadlines

    proxy = MemoryProxy(dialler, two(load_balancing="least_connections"))
    proxy.client(GET)
    assert hosts_of(dialler.attempts) == ["1"]
    proxy.install(two(load_balancing="least_connections", deadlines=Deadlines(connect_s=3.0)), generation=2)
    proxy.client(GET)
    assert hosts_of(dialler.attempts) == ["1", "2"]


# What is tried again


def test_idempotent_request_that_got_nothing_back_goes_to_the_next(dialler: Dialler) -> None:
    """The upstream died over it; a POST may have had its effect, and is told."""
    for request, status in ((GET, b"200"), (POST, b"502")):
        proxy = MemoryProxy(dialler, two())
        client = proxy.client(request)
        backend = proxy.accept()
        proxy.settle()
        before = len(dialler.attempts)
        backend.reset_by_peer()
        if request == GET:
            proxy.accept().deliver(OK)
            assert hosts_of(dialler.attempts[-2:]) == ["1", "2"]
        else:
            assert len(dialler.attempts) == before
        assert client.received.startswith(b"HTTP/1.1 " + status)


def test_a_slow_upstream_is_not_asked_elsewhere(dialler: Dialler) -> None:
    """It may still be at work: 504, and the load is not doubled."""
    proxy = MemoryProxy(dialler, two())
    client = proxy.client(GET)
    proxy.accept()
    proxy.advance(61)
    assert client.received.startswith(b"HTTP/1.1 504 ")
    assert len(dialler.attempts) == 1


@pytest.mark.parametrize("max_attempts", [1, 2, 4])
def test_attempts_are_counted_with_the_first(dialler: Dialler, max_attempts: int) -> None:
    """However many upstreams a host has."""
    hosts = entry(*map(upstream, range(1, 7)), retries=Retries(max_attempts=max_attempts))
    proxy = MemoryProxy(dialler, hosts)
    client = proxy.client(GET)
    for number in range(max_attempts):
        dialler.attempts[number].fail(refused())
    assert len(dialler.attempts) == max_attempts
    assert client.received.startswith(b"HTTP/1.1 502 ")


def test_the_next_upstream_may_have_a_pooled_connection(dialler: Dialler) -> None:
    """It need not be opened; should it turn out to be dead, it is repeated there first."""
    proxy = MemoryProxy(dialler, two(passive_health=PassiveHealth(max_failures=0)))
    client = proxy.client(GET)
    proxy.attempt.fail(refused())
    pooled = proxy.accept()
    pooled.deliver(OK)
    client.deliver(GET)  # the turn of 2
    pooled.deliver(OK)
    client.deliver(GET)
    proxy.attempt.fail(refused())
    assert pooled.received.count(b"HTTP/1.1\r\n") == 3
    pooled.close_by_peer()
    proxy.accept().deliver(OK)
    assert hosts_of(dialler.attempts) == ["1", "2", "1", "2"]
    assert client.received == OK * 3
    assert [reason for _, reason in proxy.telemetry.retries] == ["failed", "failed", "stale"]


def test_stale_connection_to_one_that_is_out_moves_on(dialler: Dialler) -> None:
    """What another request has learnt meanwhile holds for this one."""
    proxy = MemoryProxy(dialler, two())
    clients = [proxy.client(GET) for _ in range(4)]
    backends = [attempt.accept() for attempt in dialler.attempts]  # of 1, 2, 1, 2
    for backend in backends:
        backend.deliver(OK)
    for client in clients[:3]:
        client.deliver(GET)  # on the pooled connections of 1, 2, 1, the last used first
    backends[2].close_by_peer()
    proxy.attempt.fail(refused())
    backends[1].deliver(OK)
    backends[0].close_by_peer()
    backends[1].deliver(OK)
    assert hosts_of(dialler.attempts[4:]) == ["1"]
    assert proxy.telemetry.retries == [("u1", "stale"), ("u2", "failed"), ("u2", "failed")]
    assert [clients[number].received for number in (0, 2)] == [OK * 2] * 2


def test_an_empty_budget_ends_it(dialler: Dialler, upstreams: Upstreams) -> None:
    """A broken upstream costs the others so many requests and no more; time and requests fill it again."""
    rules = Retries(max_attempts=4, budget_percent=20, budget_min_per_s=1)
    proxy = MemoryProxy(dialler, two(retries=rules, passive_health=PassiveHealth(max_failures=0)))
    upstreams.down = {"1"}
    answers = []
    for _ in range(100):
        client = proxy.client(GET)
        upstreams.play()
        answers.append(client.received[9:12])
        client.close_by_peer()
    assert (
        answers.count(b"502") == 21
    )  # of 50 that came to 1: 10 s of 1 are repeated, and one for each 5 of 99 requests
    assert proxy.telemetry.retries == [("u2", "failed")] * 29
    proxy.advance(10)
    assert served(proxy, upstreams, 4) == "2222"


def test_a_stale_connection_costs_no_budget(dialler: Dialler) -> None:
    """Nor does it need another upstream."""
    proxy = MemoryProxy(dialler, two(retries=Retries(max_attempts=1, budget_percent=0, budget_min_per_s=0)))
    client = proxy.client(GET)
    backend = proxy.accept()
    backend.deliver(OK)
    proxy.client(GET).close_by_peer()  # the turn of the other
    client.deliver(GET)
    backend.close_by_peer()
    proxy.accept().deliver(OK)
    assert client.received == OK * 2


def test_a_budget_outlives_a_change_of_the_host(dialler: Dialler) -> None:
    """Unless it is the budget that changes."""
    proxy = MemoryProxy(dialler, two())
    first = proxy.configuration.current.find(b"app.test")
    proxy.install(two(preserve_host=True), generation=2)
    second = proxy.configuration.current.find(b"app.test")
    proxy.install(two(retries=Retries()), generation=3)
    third = proxy.configuration.current.find(b"app.test")
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.budget is second.budget is not third.budget


# Down by active checks


def test_the_only_upstream_is_down_by_checks(dialler: Dialler, upstreams: Upstreams) -> None:
    """503 at once, although its traffic would never take it out; when the checks pass it serves again."""
    proxy = MemoryProxy(dialler, entry(upstream(1)))
    assert served(proxy, upstreams, 2) == "11"
    proxy.configuration.note_checks({"u1": False})
    client = proxy.client(GET)
    assert client.received.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 10\r\n" in client.received
    assert len(dialler.attempts) == 2
    proxy.configuration.note_checks({"u1": True})
    assert served(proxy, upstreams, 2) == "11"
    client.close_by_peer()
    proxy.advance(100)
    proxy.assert_nothing_left()


def test_traffic_leaves_the_one_that_is_down_by_checks(dialler: Dialler) -> None:
    """And returns; what is under way there is finished, and a failed request is not repeated there."""
    proxy = MemoryProxy(dialler, entry(upstream(1), upstream(2), upstream(3), retries=UNLIMITED))
    waiting = proxy.client(GET)
    backend = proxy.accept()
    upstreams = Upstreams(dialler)
    proxy.configuration.note_checks({"u1": False})
    assert set(served(proxy, upstreams, 6)) == {"2", "3"}
    backend.deliver(OK)
    assert waiting.received == OK
    upstreams.down = {"2"}
    before = len(dialler.attempts)
    assert served(proxy, upstreams, 4) == "3333"
    assert "1" not in hosts_of(dialler.attempts[before:])
    upstreams.down = set()
    proxy.advance(60)
    proxy.configuration.note_checks({"u1": None})
    assert set(served(proxy, upstreams, 6)) == {"1", "2", "3"}


def test_a_stale_connection_of_one_that_went_down_is_not_replaced(dialler: Dialler) -> None:
    """The repetition goes to the next upstream instead."""
    proxy = MemoryProxy(dialler, two())
    proxy.client(GET)
    backend = proxy.accept()
    backend.deliver(OK)  # its connection is kept
    [one, _] = proxy.configuration.current.find(b"app.test").targets  # type: ignore[union-attr]
    proxy.client(GET)  # for the other one
    client = proxy.client(GET)
    proxy.configuration.note_checks({"u1": False})
    backend.reset_by_peer()
    assert hosts_of(dialler.attempts) == ["1", "2", "2"]
    proxy.accept().deliver(OK)
    assert client.received == OK
    assert one.state.in_flight == 0


def test_checks_and_traffic_judge_side_by_side(dialler: Dialler, upstreams: Upstreams) -> None:
    """A check that passes does not send requests to what fails them; none up by either is 503."""
    proxy = MemoryProxy(dialler, two())
    upstreams.down = {"1"}
    assert served(proxy, upstreams, 2) == "22"
    proxy.configuration.note_checks({"u1": True, "u2": False})
    answer = proxy.client(GET).received
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 2\r\n" in answer
    upstreams.down = set()
    proxy.advance(2)
    assert served(proxy, upstreams, 2) == "11"


@pytest.mark.parametrize("upstream_count", [1, 2])
def test_what_checks_say_survives_a_change_of_the_host(dialler: Dialler, upstream_count: int) -> None:
    """Whatever becomes of the rest of it; another address has the verdict of its upstream as well."""
    hosts = [upstream(number) for number in range(1, upstream_count + 1)]
    proxy = MemoryProxy(dialler, entry(*hosts))
    proxy.configuration.note_checks({f"u{number}": False for number in range(1, upstream_count + 1)})
    proxy.install(entry(*hosts, preserve_host=True), generation=2)
    assert b" 503 " in proxy.client(GET).received
    proxy.install(
        entry(*(dataclasses.replace(each, address="10.9.9.9", port=8000 + n) for n, each in enumerate(hosts)))
    )
    assert b" 503 " in proxy.client(GET).received
