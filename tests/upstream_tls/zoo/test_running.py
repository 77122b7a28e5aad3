"""Starting and stopping the zoo."""

import socket
import threading

import pytest

from tests.support.polling import eventually
from tests.support.ports import free_port
from upstream_tls.tls.probe import ProbeTarget, probe
from upstream_tls.zoo import run_zoo
from upstream_tls.zoo.running import new_pki


def test_leaving_closes_ports_and_threads() -> None:
    """After the block nothing listens and no thread is left, also when a client hangs on a silent member."""
    with run_zoo(["silent"]) as zoo:
        port = zoo["silent"].port
        client = socket.create_connection(("127.0.0.1", port))
    with client:
        assert eventually(lambda: not _zoo_threads(), within_s=5)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


def test_ports_and_certificates_can_be_given() -> None:
    """A member runs on the port asked for, and settings made from the same PKI elsewhere fit it."""
    pki, port = new_pki(), free_port()
    with run_zoo(["good"], pki=pki, ports={"good": port}) as zoo:
        good = zoo["good"]
        assert good.port == port
        target = ProbeTarget(address=good.address, port=port, host_field="zoo.internal")
        assert probe(good.member.spec(pki), target).success
        assert not probe(good.member.spec(new_pki()), target).success


def test_unknown_member_is_refused() -> None:
    """A name that no member has raises KeyError."""
    with pytest.raises(KeyError), run_zoo(["unicorn"]):
        pass


def test_running_member_shows_no_key() -> None:
    """The settings hold a private key, so they are not in the repr."""
    with run_zoo(["good"]) as zoo:
        assert "PRIVATE KEY" not in repr(zoo)


def _zoo_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("zoo-")]
