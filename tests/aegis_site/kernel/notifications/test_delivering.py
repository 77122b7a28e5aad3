"""delivering: from a claim to what became of it."""

import logging

import pytest

from aegis_site.kernel.notifications import delivering
from aegis_site.kernel.notifications.claims import LEASE, claim_due
from aegis_site.kernel.notifications.delivering import deliver
from aegis_site.kernel.notifications.distribution import distribute
from aegis_site.kernel.notifications.events import tell
from aegis_site.kernel.notifications.models import Delivery, DeliveryState
from tests.aegis_site.kernel.notifications.examples import NOW, at, channel, event
from tests.support.ports import free_port
from tests.support.receiver import receiver

pytestmark = pytest.mark.django_db


def send_due(now: object = NOW) -> list[object]:
    return [
        deliver(delivery_id=claim.delivery_id, claim_id=claim.claim_id, clock=lambda: now)  # type: ignore[arg-type,return-value]
        for claim in claim_due(now=now)  # type: ignore[arg-type]
    ]


def noted_for(port: int) -> Delivery:
    channel(url=f"http://127.0.0.1:{port}/canary-path")
    tell(event())
    distribute(now=NOW)
    return Delivery.objects.get()


def test_a_message_is_delivered() -> None:
    """Once; after that nothing is due."""
    with receiver() as there:
        delivery = noted_for(there.port)
        send_due()
        assert send_due(at(days=1)) == []
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, delivery.last_error, delivery.finished_at) == ("delivered", 1, "", NOW)
    assert len(there.requests) == 1


def test_a_failure_is_tried_again_under_the_same_id() -> None:
    """After the time that the receiver asked for; the page says why."""
    with receiver(status=429, body=b"busy", fields={"Retry-After": "300"}) as there:
        delivery = noted_for(there.port)
        send_due()
        delivery.refresh_from_db()
        assert (delivery.state, delivery.due_at, delivery.status) == (DeliveryState.WAITING, at(seconds=300), 429)
        assert delivery.last_error == "The receiver answers 429: busy"
        there.status = 204
        assert send_due(at(seconds=299)) == []
        send_due(at(seconds=300))
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == ("delivered", 2)
    first, second = there.requests
    assert first.fields["webhook-id"] == second.fields["webhook-id"] == f"msg_{delivery.pk.hex}"
    assert first.fields["webhook-timestamp"] != second.fields["webhook-timestamp"]


def test_after_a_day_it_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """And what will not do better at once; the log names no secret."""
    delivery = noted_for(free_port())
    moment = NOW
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            send_due(moment)
            delivery.refresh_from_db()
            if delivery.state == DeliveryState.FAILED:
                break
            moment = delivery.due_at
    assert delivery.finished_at == moment
    assert at(hours=22) < moment <= at(hours=24)
    assert 25 < delivery.attempts < 70
    assert "it is given up" in caplog.text
    assert "canary" not in caplog.text


def test_what_is_refused_for_good_is_not_tried_again() -> None:
    """The same request would be refused again."""
    with receiver(status=400) as there:
        delivery = noted_for(there.port)
        send_due()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == (DeliveryState.FAILED, 1)


def test_a_worker_that_died_loses_nothing() -> None:
    """Killed between claim and send, the message is sent by another one; killed after it, a second time."""
    with receiver() as there:
        delivery = noted_for(there.port)
        [lost] = claim_due(now=NOW)
        assert there.requests == []
        send_due(NOW + LEASE)
        # The first one was only slow: its claim is void.
        assert deliver(delivery_id=lost.delivery_id, claim_id=lost.claim_id, clock=lambda: NOW) is None
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, len(there.requests)) == ("delivered", 2, 1)


def test_a_claim_that_waited_too_long_is_void() -> None:
    """Somebody else may have it by now."""
    noted_for(free_port())
    [claim] = claim_due(now=NOW)
    late = NOW + LEASE
    assert deliver(delivery_id=claim.delivery_id, claim_id=claim.claim_id, clock=lambda: late) is None


def test_the_task_runs_it_all(django_capture_on_commit_callbacks: object) -> None:
    """From an event to the receiver, and twice is once."""
    from aegis_site.kernel.notifications.tasks import sweep_notifications

    with receiver() as there:
        channel(url=f"http://127.0.0.1:{there.port}/")
        tell(event())
        sweep_notifications()
        sweep_notifications()
    assert len(there.requests) == 1


def test_a_mistake_of_ours_is_a_failure_too(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Else the message would be tried every half minute for ever; what the mistake says is not shown."""

    def broken(*arguments: object, **options: object) -> object:
        raise RuntimeError("https://canary-address")

    delivery = noted_for(free_port())
    monkeypatch.setattr(delivering, "send", broken)
    with caplog.at_level(logging.WARNING):
        send_due()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.claim) == (DeliveryState.WAITING, None)
    assert "RuntimeError" in delivery.last_error
    assert "canary-address" not in delivery.last_error + caplog.text
