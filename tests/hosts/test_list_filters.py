"""The filters of the list of hosts."""

import uuid

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from healthchecks.models import HealthState, UpstreamHealth
from hosts.list_filters import HOST_FILTERS
from hosts.models import ConnectionTest, Host
from tests.healthchecks.examples import checked_host
from tests.hosts.examples import CA, make_host, mtls
from tests.support.odd_certificates import DAY
from upstream_tls.changes import UpstreamTLSChanges

pytestmark = pytest.mark.django_db

LIST = reverse("admin:hosts_host_changelist")
NOW = timezone.now()


def was_tested(host: Host, *, success: bool, age_days: int) -> None:
    moment = NOW - age_days * DAY
    ConnectionTest.objects.create(
        batch=uuid.uuid4(),
        host=host,
        address="10.0.0.7",
        port=443,
        is_of_saved_host=True,
        state="done",
        success=success,
        result={},
        created_at=moment,
        finished_at=moment,
    )


@pytest.fixture
def fleet() -> None:
    """One host of each kind."""
    checked = checked_host("checked")
    UpstreamHealth.objects.create(
        upstream=checked.upstreams.all()[0], state=HealthState.HEALTHY, since=NOW, next_due_at=NOW
    )
    was_tested(checked, success=True, age_days=2)
    failing = make_host("failing", upstream_tls=mtls(ca_certificate=CA.pem), tags=("prod", "eu"))
    was_tested(failing, success=True, age_days=2)
    was_tested(failing, success=False, age_days=0)
    make_host("skipping", upstream_tls=UpstreamTLSChanges(skip_verify=True), tags=("prod-eu",))
    make_host("off", enabled=False)


@pytest.mark.usefixtures("fleet")
@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("status=up", "checked"),
        ("status=unchecked", "failing skipping"),
        ("status=disabled", "off"),
        ("status=nonsense", "checked failing off skipping"),
        ("upstream_tls__enabled__exact=1", "failing"),
        ("upstream_tls__skip_verify__exact=1", "skipping"),
        ("verification=ca", "failing"),
        ("verification=system", "checked off"),
        ("verification=skipped", "skipping"),
        ("tag=prod", "failing"),
        ("tag=prod-eu", "skipping"),
        ("tag=unknown", "checked failing off skipping"),
        ("last_test=failed", "failing"),
        ("last_test=ok", "checked"),
        ("last_test=never", "off skipping"),
        ("expiring=0", ""),
        ("q=prod", "failing skipping"),
        ("status=unchecked&tag=prod", "failing"),
    ],
)
def test_a_filter_finds(admin_client: Client, query: str, names: str) -> None:
    """What it is called for, and nothing with a word that it does not know."""
    response = admin_client.get(f"{LIST}?{query}")
    assert response.status_code == 200
    assert sorted(host.name for host in response.context["cl"].result_list) == names.split()


@pytest.mark.usefixtures("fleet")
def test_a_certificate_that_ends_soon(admin_client: Client) -> None:
    """The presented one has 90 days; those of the authority have no more."""
    response = admin_client.get(f"{LIST}?expiring=90")
    assert [host.name for host in response.context["cl"].result_list] == ["failing"]


@pytest.mark.usefixtures("fleet")
def test_the_list_is_sorted_by_status_and_by_the_last_test(admin_client: Client) -> None:
    """What needs a look stands first; the newest test last."""
    columns = [str(name) for name in admin_client.get(LIST).context["cl"].list_display]

    def names(column: str) -> list[str]:
        return [host.name for host in admin_client.get(f"{LIST}?o={columns.index(column)}").context["cl"].result_list]

    assert names("status")[-2:] == ["checked", "off"]
    assert names("last_test")[-2:] == ["checked", "failing"]
    assert len(HOST_FILTERS) == 8
