"""claims: which messages are sent now, and when they are tried again."""

import datetime

import pytest
from pytest_django import DjangoAssertNumQueries

from aegis_site.kernel.notifications.claims import GIVE_UP_AFTER, LEASE, MAX_IN_FLIGHT, claim_due, next_attempt
from aegis_site.kernel.notifications.models import Channel, Delivery, DeliveryState
from tests.aegis_site.kernel.notifications.examples import NOW, at, channel

pytestmark = pytest.mark.django_db


def due(owner: Channel, moment: datetime.datetime = NOW) -> Delivery:
    return Delivery.objects.create(channel=owner, group="g", due_at=moment)


def test_a_message_is_taken_once() -> None:
    """Until its lease is over: then its worker is dead, and it is due again."""
    delivery = due(channel())
    [claim] = claim_due(now=NOW)
    assert claim.delivery_id == delivery.pk
    assert claim_due(now=at(seconds=29)) == []
    [again] = claim_due(now=NOW + LEASE)
    assert (again.delivery_id, again.claim_id != claim.claim_id) == (delivery.pk, True)
    delivery.refresh_from_db()
    assert (delivery.attempts, delivery.first_attempt_at) == (2, NOW)


def test_of_each_channel_one_message_at_a_time() -> None:
    """The longest due first; a channel that is busy holds up no other."""
    busy, other = channel(name="busy"), channel(name="other")
    first, second = due(busy), due(busy, at(seconds=1))
    assert [claim.delivery_id for claim in claim_due(now=at(seconds=2))] == [first.pk]
    third = due(other)
    assert [claim.delivery_id for claim in claim_due(now=at(seconds=3))] == [third.pk]
    Delivery.objects.filter(pk=first.pk).update(state=DeliveryState.DELIVERED)
    assert [claim.delivery_id for claim in claim_due(now=at(seconds=4))] == [second.pk]


def test_only_so_many_are_under_way() -> None:
    """The rest waits for the next sweep."""
    rows = [Channel(name=f"c{number}", kind="mail") for number in range(MAX_IN_FLIGHT + 3)]
    for owner in Channel.objects.bulk_create([*rows]):
        due(owner)
    assert len(claim_due(now=NOW)) == MAX_IN_FLIGHT
    assert claim_due(now=NOW) == []


def test_looking_takes_three_queries(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    """However many channels there are; each claim takes one more, and those that wait longest come first."""
    kinds = ("webhook", "slack", "discord", "ntfy")
    rows = [due(channel(kind, name=kind), at(seconds=-number)) for number, kind in enumerate(kinds)]
    with django_assert_num_queries(3 + len(kinds) + 2):
        claims = claim_due(now=NOW)
    assert [claim.delivery_id for claim in claims] == [row.pk for row in reversed(rows)]


def test_a_channel_that_is_off_is_left_alone() -> None:
    """And what is not due waits."""
    due(channel(enabled=False))
    due(channel("slack"), at(seconds=1))
    assert claim_due(now=NOW) == []


@pytest.mark.parametrize(
    ("attempts", "least_s", "most_s"), [(1, 7.5, 15), (2, 15, 30), (5, 120, 240), (60, 1800, 3600)]
)
def test_the_delay_doubles_up_to_an_hour(attempts: int, least_s: float, most_s: float) -> None:
    """Half of it by chance."""
    found = [next_attempt(attempts=attempts, first_attempt_at=NOW, now=NOW, draw=lambda d=d: d) for d in (0.0, 1.0)]  # type: ignore[misc]
    assert found == [at(seconds=least_s), at(seconds=most_s)]


def test_the_receiver_may_ask_for_more() -> None:
    """Retry-After is honoured; less than the delay changes nothing."""
    options = {"attempts": 1, "first_attempt_at": NOW, "now": NOW, "draw": lambda: 1.0}
    assert next_attempt(retry_after_s=120, **options) == at(seconds=120)  # type: ignore[arg-type]
    assert next_attempt(retry_after_s=1, **options) == at(seconds=15)  # type: ignore[arg-type]


def test_a_message_is_given_up_after_a_day() -> None:
    """Also when the receiver asks for longer."""
    late = NOW + GIVE_UP_AFTER - datetime.timedelta(seconds=1)
    assert next_attempt(attempts=30, first_attempt_at=NOW, now=late) is None
    assert next_attempt(attempts=1, first_attempt_at=NOW, now=NOW, retry_after_s=100_000) is None
