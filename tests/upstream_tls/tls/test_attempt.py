"""One attempt over real sockets: what becomes of it when the peer misbehaves at the transport."""

import socket
import threading
import time

from tests.support.polling import eventually
from tests.support.ports import free_port
from upstream_tls.tls.attempt import attempt
from upstream_tls.tls.context import build_context
from upstream_tls.tls.conversation import Deadline
from upstream_tls.tls.evidence import Stage
from upstream_tls.tls.result import ProbeTarget
from upstream_tls.zoo import run_zoo
from upstream_tls.zoo.running import new_pki


def test_stages_are_recorded_as_far_as_it_came() -> None:
    """The times of those that ended, and the name of the one that broke."""
    with run_zoo(["good", "closed", "certificate-required"]) as zoo:
        records = {}
        for name, running in zoo.items():
            target = ProbeTarget(address=running.address, port=running.port, host_field="a")
            records[name] = attempt(build_context(running.spec), target, Deadline(10))
    good, closed = records["good"], records["closed"]
    assert (good.stage, good.is_broken) == (Stage.HTTP, False)
    assert set(good.milliseconds) == {"dns_ms", "tcp_ms", "tls_ms", "first_byte_ms"}
    assert (closed.stage, closed.peer_closed, closed.is_established) == (Stage.TLS, True, False)
    assert set(closed.milliseconds) == {"dns_ms", "tcp_ms"}
    late = records["certificate-required"]
    assert (late.stage, late.is_established, late.is_silent_end) == (Stage.HTTP, True, False)


def test_spent_deadline_breaks_off_before_anything_is_sent() -> None:
    """It is an outcome like any other."""
    with run_zoo(["good"]) as zoo:
        target = ProbeTarget(address="127.0.0.1", port=zoo["good"].port, host_field="a")
        record = attempt(build_context(zoo["good"].spec), target, Deadline(0))
    assert record.timed_out
    assert record.is_broken


def test_peer_that_takes_nothing_does_not_hold_the_attempt() -> None:
    """Nobody accepts, and the kernel's buffers are as good as full."""
    spec = new_pki()
    with socket.create_server(("127.0.0.1", 0)) as listener, run_zoo(["good"], pki=spec) as zoo:
        target = ProbeTarget(address="127.0.0.1", port=listener.getsockname()[1], host_field="a")
        begun = time.monotonic()
        record = attempt(build_context(zoo["good"].spec), target, Deadline(0.3))
    assert time.monotonic() - begun < 2
    assert (record.timed_out, record.stage) == (True, Stage.TLS)


def test_refused_connection_has_its_number_and_address() -> None:
    """ECONNREFUSED, at the address that was dialled."""
    with run_zoo(["good"]) as zoo:
        port = free_port()
        target = ProbeTarget(address="127.0.0.1", port=port, host_field="a")
        record = attempt(build_context(zoo["good"].spec), target, Deadline(5))
    assert (record.errno, record.stage, record.address) == (111, Stage.TCP, f"127.0.0.1:{port}")


def test_no_thread_and_no_socket_is_left_behind() -> None:
    """ResourceWarnings are errors in this suite; threads end by themselves."""
    with run_zoo(["certificate-untrusted"]) as zoo:
        running = zoo["certificate-untrusted"]
        target = ProbeTarget(address="localhost", port=running.port, host_field="a")
        assert attempt(build_context(running.spec), target, Deadline(10)).is_broken
    assert eventually(lambda: not _threads_of_probes(), within_s=5)


def _threads_of_probes() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("probe-")]
