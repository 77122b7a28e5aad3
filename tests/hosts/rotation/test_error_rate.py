"""Whether requests of a host fail more often since its certificate was exchanged."""

import datetime
from pathlib import Path

import pytest
from django.utils import timezone

from hosts.models import CompiledHost, Host
from hosts.publish import publish
from hosts.rotation.error_rate import Answers, has_risen, rise_since_promotion
from hosts.rotation.models import Rotation, RotationState
from hosts.rotation.services import promote_refused
from hosts.traffic_statistics.sums import Counts
from proxyworker.snapshot import TRAFFIC_COLUMNS
from tests.hosts.rotation.examples import (
    NEW_CA,
    OLD_CA,
    again,
    host_before,
    in_use,
    next_step,
    nginx_trusting,
    plain_host,
    staged,
)
from tests.hosts.traffic_statistics.examples import minute, told


def answers(requests: int, failed: int) -> Answers:
    return Answers(requests=requests, failed=failed)


@pytest.mark.parametrize(
    ("before", "since", "is_risen"),
    [
        ((1000, 0), (100, 100), True),
        ((1000, 0), (1000, 100), True),
        ((1000, 0), (10, 10), True),
        ((1000, 0), (9, 9), False),  # few
        ((1000, 0), (10_000, 300), False),  # a small share
        ((0, 0), (1000, 1000), False),  # nobody knows how it was
        ((3, 0), (1000, 1000), False),
        ((20, 0), (1000, 1000), True),
        ((1000, 200), (1000, 300), False),  # not by much
        ((1000, 200), (1000, 600), True),
        ((1000, 600), (1000, 1000), False),  # it was broken before
        ((30, 3), (30, 11), False),  # may be chance
    ],
)
def test_a_rise_is_certain_or_none(before: tuple[int, int], since: tuple[int, int], *, is_risen: bool) -> None:
    """By number, by share, by factor, and by how much a sample of that size says."""
    assert has_risen(before=answers(*before), since=answers(*since)) is is_risen


def test_bounds_of_a_rate() -> None:
    """Around it, the closer the more there are; everything when nothing is known."""
    assert answers(0, 0).bounds() == (0.0, 1.0)
    low, high = answers(1000, 100).bounds()
    assert 0.07 < low < 0.1 < high < 0.13
    assert answers(10**6, 10**6).bounds()[1] == pytest.approx(1.0)


def test_what_counts_as_failed() -> None:
    """Refusals and 5xx; an attempt that another upstream made good, but a failure and its 502 only once."""
    numbers = {"successes": 80, "client_errors": 5, "refusals": 10, "server_errors": 5, "upstream_failures": 7}
    counts = Counts(tuple(numbers.get(column, 0) for column in TRAFFIC_COLUMNS))
    assert Answers.of(counts) == answers(100, 17)


def promoted() -> tuple[Host, Rotation, int, int]:
    """Host, rotation in its watch, generation of the entry with the new certificate, begin of this minute."""
    host = plain_host()
    publish([host.pk])
    rotation = staged(host)
    assert rotation.state == RotationState.WATCHING
    publish([host.pk])
    generation = CompiledHost.objects.get(pk=host.pk).generation
    return host, rotation, generation, int(timezone.now().timestamp()) // 60 * 60


@pytest.mark.django_db
def test_identities_are_told_apart_within_a_minute() -> None:
    """By the generation that answered; what failed before, or of another host, is not the new one's."""
    host, rotation, generation, now_s = promoted()
    before = minute(host.pk, now_s, generation=generation - 1, successes=500)
    told(before, minute(plain_host("another").pk, now_s, generation=generation, refusals=50), at_s=now_s)
    told(minute(host.pk, now_s, generation=generation, successes=9, refusals=9), at_s=now_s)
    assert not rise_since_promotion(rotation)
    told(minute(host.pk, now_s, generation=generation, successes=9, refusals=21), at_s=now_s)
    assert rise_since_promotion(rotation) == (
        "70 % of 30 requests with the new certificate failed (401, 403, 495, 496 or 5xx), 0 % of 500 in the hour before"
    )
    told(minute(host.pk, now_s - 3540, generation=0, refusals=900, successes=100), at_s=now_s)
    assert not rise_since_promotion(rotation)
    CompiledHost.objects.update(source_updated_at=timezone.now() - datetime.timedelta(hours=1))
    assert not rise_since_promotion(rotation)  # no worker can have the new one yet


def errors_since(host: Host) -> None:
    """Half of the requests fail with the new certificate, none did before."""
    publish([host.pk])
    generation, now_s = CompiledHost.objects.get(pk=host.pk).generation, int(timezone.now().timestamp()) // 60 * 60
    before = minute(host.pk, now_s, generation=generation - 1, successes=500)
    told(before, minute(host.pk, now_s, generation=generation, successes=50, refusals=50), at_s=now_s)


@pytest.mark.django_db
def test_what_an_upstream_admits_and_requests_do_not_is_rolled_back(tmp_path: Path) -> None:
    """Unless somebody promoted it for a reason: then the errors are told, and it stays."""
    with nginx_trusting(tmp_path / "one", OLD_CA, NEW_CA) as one, nginx_trusting(tmp_path / "two", OLD_CA) as two:
        host, other = host_before(one), host_before(one, two, name="overridden")
        publish([host.pk, other.pk])
        rotation, overridden = staged(host), staged(other)
        promote_refused(rotation=overridden, reason="that one is next", user=None)
        errors_since(host)
        errors_since(other)
        rotation, overridden = next_step(rotation), next_step(again(overridden))
    assert (rotation.state, rotation.code) == (RotationState.ROLLED_BACK, "errors_rose")
    assert rotation.message.startswith(f"https://127.0.0.1:{one.port}: 50 % of 100 requests")
    assert in_use(host) == "CN=old identity"
    assert (overridden.state, overridden.code) == (RotationState.WATCHING, "errors_rose")


@pytest.mark.django_db
def test_without_an_upstream_that_takes_the_previous_one_it_is_a_warning() -> None:
    """A step that says so, counted when it is seen again; the new identity stays."""
    host, rotation, generation, now_s = promoted()
    told(
        minute(host.pk, now_s, generation=generation - 1, successes=500),
        minute(host.pk, now_s, generation=generation, server_errors=60),
        at_s=now_s,
    )
    for _ in range(2):
        assert next_step(rotation).state == RotationState.WATCHING
    step = again(rotation).steps[-1]
    assert (step["state"], step["code"], step["times"]) == ("watching", "errors_rose", 2)
    assert step["message"].startswith("100 % of 60 requests")
