"""What is said of one thing that ends."""

import datetime
import uuid

import pytest

from hosts.expiry.expiring import ABOUT, Expiring, Horizon, Role, horizon_of
from hosts.models import Host
from localca.models import CertificateAuthority
from tests.hosts.expiry.examples import DAY, NOW


def found(**changes: object) -> Expiring:
    values = {
        "not_after": NOW,
        "owner": "or{d}ers",
        "role": Role.UPSTREAM,
        "subject": "CN=x",
        "fingerprint_sha256": "ab" * 32,
        "model": Host,
        "pk": uuid.UUID(int=1),
        "upstream": "10.0.0.7:9443",
    }
    return Expiring(**{**values, **changes})  # type: ignore[arg-type]


def test_every_role_has_its_words_and_steps() -> None:
    """One is told at the end too, and in order, so that the smallest step that fits is found first."""
    assert set(ABOUT) == set(Role)
    for role in Role:
        assert found(role=role).title
        assert ABOUT[role].fix.endswith(".")
        assert ABOUT[role].days[0] == 0
        assert list(ABOUT[role].days) == sorted(ABOUT[role].days)


def test_owner_page_and_group() -> None:
    """Those of the host, or of the local CA; names are quoted as they are."""
    assert found().title == "The certificate of the upstream 10.0.0.7:9443 of or{d}ers"
    assert found().page == f"/admin/hosts/host/{uuid.UUID(int=1)}/change/"
    assert found().group == f"host:{uuid.UUID(int=1)}"
    assert found(model=CertificateAuthority, role=Role.LOCAL_CA).group == "localca"


def test_how_it_is_known() -> None:
    """What is stored here is known; what an upstream showed was seen at a time."""
    assert found().known_by == "stored"
    at = datetime.datetime(2026, 5, 1, 12, 30, tzinfo=datetime.UTC)
    assert found(seen_at=at).known_by == "seen by the connection test of 2026-05-01 12:30 UTC"


@pytest.mark.parametrize(
    ("left", "horizon", "days_left"),
    [
        (-DAY, Horizon.EXPIRED, -1),
        (0 * DAY, Horizon.EXPIRED, 0),
        (datetime.timedelta(seconds=1), Horizon.WEEK, 0),
        (7 * DAY, Horizon.WEEK, 7),
        (7.5 * DAY, Horizon.MONTH, 7),
        (30 * DAY, Horizon.MONTH, 30),
        (31 * DAY, Horizon.QUARTER, 31),
        (91 * DAY, Horizon.LATER, 91),
    ],
)
def test_how_far_away_an_end_is(left: datetime.timedelta, horizon: Horizon, days_left: int) -> None:
    """Each horizon has its last moment."""
    assert horizon_of(NOW + left, NOW) == horizon
    assert found(not_after=NOW + left).days_left(NOW) == days_left
