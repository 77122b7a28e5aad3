"""What is wrong, in order."""

import pytest
from django.contrib.auth.models import User

from aegis_site.dashboard.overview import overview
from aegis_site.dashboard.problems import HOSTS_SHOWN, Problem, problems
from healthchecks.models import HealthState
from hosts.selectors import LOST_AFTER
from tests.aegis_site.dashboard.examples import MINUTE, NOW, checked, failing, healthy, published, worker
from tests.healthchecks.failures.examples import failed
from tests.hosts.examples import CA, OTHER_LEAF, make_host, mtls
from tests.hosts.expiry.examples import DAY
from tests.hosts.rotation.examples import staged

pytestmark = pytest.mark.django_db


@pytest.fixture
def root() -> User:
    return User.objects.create_superuser("root")


def found(user: User) -> list[Problem]:
    return problems(overview(user, now=NOW), now=NOW)


def test_nothing_is_wrong(root: User) -> None:
    """An empty installation, and one that works, have an empty list."""
    assert found(root) == []
    healthy(make_host())
    worker()
    assert found(root) == []


def test_what_clients_notice_comes_first(root: User) -> None:
    """Workers and hosts that are down, then the rest; each says what it is and where to click."""
    host = healthy(make_host("orders"))
    down = failing(make_host("billing"))
    published(host, 5, compiled_at=NOW - MINUTE)
    worker("behind", generation=4)
    worker("lost", generation=5, last_seen_at=NOW - LOST_AFTER - MINUTE)
    failed(host)
    rotation = staged(host, OTHER_LEAF, is_manual=True)
    rotation.due_at = None
    rotation.save()
    checked(make_host("late").upstreams.get(), HealthState.UNKNOWN, next_due_at=NOW - 5 * MINUTE)
    leaf = CA.client("old", not_after=NOW + DAY)
    make_host("ends", upstream_tls=mtls(client_certificate=leaf.chain_pem, client_key=leaf.key_pem))
    listed = found(root)
    assert [(problem.is_critical, problem.label, problem.title) for problem in listed] == [
        (True, "Lost", "Proxy worker lost is lost"),
        (True, "Down", "billing"),
        (False, "Behind", "Proxy worker behind is behind"),
        (False, "Late", "1 health check is overdue"),
        (False, "Failures", "1 open failure"),
        (False, "Rotation", "The rotation of orders waits for a person"),
        (False, "Expiry", "1 certificate or list ends within 7 days"),
    ]
    billing = listed[1]
    assert billing.url == f"/admin/hosts/host/{down.pk}/change/"
    assert billing.text == "Its upstream fails the checks. Nobody listens at the upstream's address and port."
    assert billing.since == NOW - 5 * MINUTE


def test_no_worker(root: User) -> None:
    """With a host, and nobody who serves it, that is the first thing to know."""
    make_host()
    assert [problem.title for problem in found(root)] == ["No proxy worker reports"]
    worker(last_seen_at=NOW - LOST_AFTER - MINUTE)
    assert [problem.text for problem in found(root)] == ["It is the only one: nothing serves the hosts."]


def test_of_many_hosts_some(root: User) -> None:
    """The rest is a number."""
    worker()
    for number in range(HOSTS_SHOWN + 3):
        failing(make_host(f"host{number:02}"))
    listed = found(root)
    assert len(listed) == HOSTS_SHOWN + 1
    assert listed[-1].title == "3 more hosts"
    assert listed[-1].is_critical
