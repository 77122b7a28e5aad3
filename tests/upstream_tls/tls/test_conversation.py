"""conversation: the steps of an attempt and what becomes of it, without a socket and with a clock that stands still."""

import socket
from contextlib import suppress

import pytest
from OpenSSL import SSL

from upstream_tls.tls.answer import Answer
from upstream_tls.tls.context import build_context
from upstream_tls.tls.conversation import (
    Addresses,
    Connect,
    Conversation,
    Deadline,
    LookUp,
    Question,
    Receive,
    Send,
    Step,
    TLSConversation,
    addresses_of,
)
from upstream_tls.tls.evidence import Stage
from upstream_tls.tls.verdict import is_answered
from upstream_tls.zoo.member import settings
from upstream_tls.zoo.running import new_pki
from upstream_tls.zoo.servers import TLSUpstream

REQUEST = b"GET / HTTP/1.1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
TWO: Addresses = [(socket.AF_INET, ("10.0.0.1", 80)), (socket.AF_INET, ("10.0.0.2", 80))]

Outcome = object

PKI = new_pki()


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def plain(name: str = "10.0.0.7", *, clock: Clock | None = None, asks: bool = True) -> Conversation:
    """With 5 seconds for all of it."""
    question = Question(request=REQUEST, answer=Answer()) if asks else None
    return Conversation(name, 80, question, Deadline(5, clock=clock or Clock()))


def play(conversation: Conversation, *outcomes: Outcome) -> list[Step]:
    """Carries the steps out with these outcomes, of which exceptions are thrown in; the steps that were asked for."""
    steps = conversation.steps()
    seen: list[Step] = []
    with suppress(StopIteration):
        seen.append(next(steps))
        for outcome in outcomes:
            seen.append(steps.throw(outcome) if isinstance(outcome, Exception) else steps.send(outcome))
    steps.close()
    return seen


def test_steps_come_in_order_and_end_with_the_answer() -> None:
    """Look up, connect, send, read until the answer is complete; each may take what is left of the time."""
    conversation = plain("orders.internal")
    steps = play(conversation, TWO[:1], None, None, OK[:9], OK[9:])
    assert steps == [
        LookUp(5.0, "orders.internal", 80),
        Connect(5.0, *TWO[0]),
        Send(5.0, REQUEST),
        Receive(5.0),
        Receive(5.0),
    ]
    record = conversation.record
    assert is_answered(record)
    assert (record.address, record.stage) == ("10.0.0.1:80", Stage.HTTP)
    assert set(record.milliseconds) == {"dns_ms", "tcp_ms", "first_byte_ms"}


def test_a_literal_address_is_not_looked_up() -> None:
    """But one with a scope is: only the resolver knows its number."""
    assert play(plain()) == [Connect(5.0, socket.AF_INET, ("10.0.0.7", 80))]
    assert play(plain("::1")) == [Connect(5.0, socket.AF_INET6, ("::1", 80))]
    assert isinstance(play(plain("fe80::1%lo"))[0], LookUp)


def test_without_a_question_the_connection_is_all() -> None:
    """What a TCP check does."""
    conversation = plain(asks=False)
    assert len(play(conversation, None)) == 1
    assert not conversation.record.is_broken


def test_an_address_that_swallows_packets_leaves_time_for_the_others() -> None:
    """The first of two has half of the time, the last all that is left; the last failure counts."""
    clock = Clock()
    conversation = plain("a.test", clock=clock)
    steps = conversation.steps()
    given = [next(steps), steps.send(TWO)]
    clock.now += 2.5
    given.append(steps.throw(TimeoutError()))
    with pytest.raises(StopIteration):
        steps.throw(ConnectionRefusedError(111, "refused"))
    assert [step.within_s for step in given] == [5.0, 2.5, 2.5]
    assert (conversation.record.errno, conversation.record.address) == (111, "10.0.0.2:80")


def test_nothing_begins_when_the_time_is_up() -> None:
    """The outcome is a timeout, in the stage that it came to."""
    clock = Clock()
    conversation = plain(clock=clock)

    steps = conversation.steps()
    next(steps)
    steps.send(None)
    clock.now += 5
    with pytest.raises(StopIteration):
        steps.send(None)
    assert (conversation.record.timed_out, conversation.record.stage) == (True, Stage.HTTP)
    assert not is_answered(conversation.record)


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ((None, None, b""), (True, None, False)),
        ((None, None, ConnectionResetError(104, "reset")), (False, 104, False)),
        ((None, BrokenPipeError(32, "pipe"), b""), (False, 32, False)),
        ((None, BrokenPipeError(32, "pipe"), OK), (False, None, True)),
        ((None, None, OK[:20], b""), (True, None, False)),
        ((None, None, b"HTTP/1.1 400 Bad\r\n\r\nno", b""), (False, None, True)),
        ((None, None, TimeoutError()), (False, None, False)),
    ],
)
def test_how_it_ends(outcomes: tuple[Outcome, ...], expected: tuple[bool, int | None, bool]) -> None:
    """An end before the head of the answer is one of the connection; what broke while sending says more than that."""
    conversation = plain()
    play(conversation, *outcomes)
    record = conversation.record
    assert (record.peer_closed, record.errno, is_answered(record)) == expected


def test_a_name_that_no_resolver_takes_is_one_that_does_not_exist() -> None:
    """Whatever Python calls it."""
    with pytest.raises(socket.gaierror):
        addresses_of("x" * 70 + ".example", 80)
    conversation = plain("orders.internal")
    play(conversation, socket.gaierror(socket.EAI_NONAME, "no"))
    assert conversation.record.lookup_error == socket.EAI_NONAME


def test_deadline_counts_down_and_then_raises() -> None:
    """Never zero, so that no socket becomes non-blocking by it."""
    assert 0 < Deadline(5).remaining_s() <= 5
    with pytest.raises(TimeoutError):
        Deadline(0).remaining_s()


def over_tls(server: TLSUpstream, **changes: object) -> tuple[TLSConversation, list[Step]]:
    """Whole conversation with a server in memory."""
    conversation = TLSConversation(
        build_context(settings(PKI, **changes)),  # type: ignore[arg-type]
        "10.0.0.7",
        443,
        Question(request=REQUEST, answer=Answer()),
        Deadline(5, clock=Clock()),
    )
    peer = SSL.Connection(server.context(), None)
    peer.set_accept_state()
    steps, seen = conversation.steps(), []
    outcome: Outcome = None
    with suppress(StopIteration):
        while True:
            seen.append(step := steps.send(outcome))
            outcome = _react(peer, step)
    return conversation, seen


def _react(peer: SSL.Connection, step: Step) -> Outcome:
    """As the server does, which answers what it can read."""
    if isinstance(step, Send):
        peer.bio_write(step.data)
    if not isinstance(step, Receive):
        return None
    for go_on in (peer.do_handshake, lambda: peer.recv(65_536) and peer.send(OK)):
        with suppress(SSL.Error):
            go_on()
    try:
        return peer.bio_read(65_536)
    except SSL.WantReadError:
        return b""


def test_over_tls_it_shakes_hands_asks_and_says_goodbye() -> None:
    """The last word does not wait."""
    conversation, steps = over_tls(TLSUpstream(identity=PKI.server(), clients=(PKI.clients_root,)))
    record = conversation.record
    assert is_answered(record)
    assert record.is_established
    assert (steps[-1].within_s, isinstance(steps[-1], Send) and steps[-1].is_last_word) == (0.0, True)
    assert "tls_ms" in record.milliseconds


def test_a_refused_upstream_hears_why() -> None:
    """Our alert goes out, and no request."""
    server = TLSUpstream(identity=PKI.server(issuer=PKI.stranger))
    conversation, steps = over_tls(server)
    assert (conversation.record.stage, conversation.record.is_established) == (Stage.TLS, False)
    assert isinstance(steps[-1], Send)
    assert not any(isinstance(step, Send) and step.is_last_word for step in steps)


def test_an_upstream_that_chose_another_protocol_is_not_asked() -> None:
    """It would not understand the request."""
    conversation, _ = over_tls(TLSUpstream(identity=PKI.server(), alpn=b"h2"), alpn=("h2",))
    record = conversation.record
    assert (record.is_established, record.alpn, record.answer, record.is_broken) == (True, "h2", None, True)
