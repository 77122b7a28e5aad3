"""listeners: who cannot listen is told which variable to change."""

import contextlib
import itertools
import socket

import pytest

from aegis_site.environment import BindAddress, Environment, read_environment
from aegis_site.listeners import ListenerProblem, check_listeners_are_free, listening_socket, shared_sockets
from tests.support.ports import free_port


def environment(**changes: str) -> Environment:
    addresses = {
        name: f"127.0.0.1:{free_port()}"
        for name in ("AEGIS_WEB_BIND", "AEGIS_PROXY_HTTP", "AEGIS_PROXY_HTTPS", "AEGIS_PROXY_METRICS")
    }
    return read_environment({**addresses, **changes})


def test_free_addresses_are_free_again_afterwards() -> None:
    """The check itself takes nothing."""
    free = environment()
    check_listeners_are_free(free)
    check_listeners_are_free(free)


@pytest.mark.parametrize("variable", ["AEGIS_WEB_BIND", "AEGIS_PROXY_HTTP", "AEGIS_PROXY_HTTPS", "AEGIS_PROXY_METRICS"])
def test_a_taken_address_names_its_variable(variable: str) -> None:
    """The text says what to do."""
    port = free_port()
    with listening_socket(BindAddress("127.0.0.1", port)), pytest.raises(ListenerProblem) as problem:
        check_listeners_are_free(environment(**{variable: f"127.0.0.1:{port}"}))
    assert str(problem.value) == (
        f"{variable}: 127.0.0.1:{port} is in use already; stop what listens there, or set {variable} to a free address"
    )


def test_two_variables_with_the_same_address_are_found() -> None:
    """Nobody else listens there, but Aegis would twice."""
    same = f"127.0.0.1:{free_port()}"
    with pytest.raises(ListenerProblem, match=f"AEGIS_PROXY_HTTPS: {same} is in use already"):
        check_listeners_are_free(environment(AEGIS_PROXY_HTTP=same, AEGIS_PROXY_HTTPS=same))


def test_an_address_of_another_machine_is_named() -> None:
    """192.0.2.0/24 is for documentation (RFC 5737)."""
    with pytest.raises(ListenerProblem, match=r"192\.0\.2\.1:8080 is not an address of this machine"):
        check_listeners_are_free(environment(AEGIS_PROXY_HTTP="192.0.2.1:8080"))


def test_a_listener_that_is_off_is_not_checked() -> None:
    """`off` means no address."""
    check_listeners_are_free(environment(AEGIS_PROXY_HTTP="off", AEGIS_PROXY_HTTPS="off"))


def test_shared_sockets_get_all_connections_between_them() -> None:
    """The kernel spreads them; each one waits in exactly one of the sockets."""
    address = BindAddress("127.0.0.1", free_port())
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(each) for each in shared_sockets("X", address, count=3)]
        for _ in range(60):
            opened.enter_context(socket.create_connection((address.host, address.port)))
        counts = [waiting(each) for each in sockets]
    assert sum(counts) == 60
    assert all(counts)


def waiting(listening: socket.socket) -> int:
    """How many connections it accepts without waiting."""
    listening.setblocking(False)
    for number in itertools.count():
        try:
            listening.accept()[0].close()
        except BlockingIOError:
            return number
    raise AssertionError


@pytest.mark.parametrize("count", [1, 2])
def test_shared_sockets_are_not_shared_with_a_second_aegis(count: int) -> None:
    """SO_REUSEPORT alone would let any process of the same user join in, and take a part of the traffic."""
    address = BindAddress("127.0.0.1", free_port())
    with contextlib.ExitStack() as opened:
        for each in shared_sockets("X", address, count=2):
            opened.enter_context(each)
        with pytest.raises(ListenerProblem, match=f"X: {address} is in use already"):
            shared_sockets("X", address, count=count)
        with pytest.raises(ListenerProblem, match=f"AEGIS_PROXY_HTTP: {address} is in use already"):
            check_listeners_are_free(environment(AEGIS_PROXY_HTTP=str(address)))


def test_shared_sockets_on_ipv6_wildcard() -> None:
    """As `socket.create_server` does it: without IPv4, so that a listener of its own may have that."""
    port = free_port()
    with contextlib.ExitStack() as opened:
        for host in ("::", "0.0.0.0"):
            for each in shared_sockets("X", BindAddress(host, port), count=2):
                opened.enter_context(each)
