"""listeners: who cannot listen is told which variable to change."""

import pytest

from aegis_site.environment import BindAddress, Environment, read_environment
from aegis_site.listeners import ListenerProblem, check_listeners_are_free, listening_socket
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
