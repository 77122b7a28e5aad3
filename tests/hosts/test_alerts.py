"""alerts: what is told of workers and certificates. Time is simulated."""

import datetime

import pytest
from django.urls import reverse
from django.utils import timezone

from aegis_site.kernel.notifications.events import admin_page
from aegis_site.kernel.notifications.models import NotedEvent
from hosts.alerts import WORKERS_PAGE, tell_about_expiry, tell_about_refusals, tell_about_workers
from hosts.expiry.expiring import ABOUT, Role
from hosts.expiry.timeline import expiring
from hosts.models import Host, ProxyWorker
from hosts.tasks import tell_about_expiry as expiry_task
from hosts.tasks import tell_about_workers as workers_task
from localca.services import ensure_authority, issue_client_certificate
from tests.hosts.examples import CA, make_host, mtls, site
from tests.hosts.expiry.examples import DAY, full_host, seen, shown

pytestmark = pytest.mark.django_db

NOW = timezone.now()


def at(**later: float) -> datetime.datetime:
    return NOW + datetime.timedelta(**later)


def told() -> list[tuple[str, str]]:
    return list(NotedEvent.objects.order_by("pk").values_list("kind", "title"))


def test_a_worker_is_lost_and_comes_back() -> None:
    """Each is told once; a worker that is simply there is no news."""
    worker = ProxyWorker.objects.create(worker_id="edge-1", last_seen_at=NOW)
    for second in (0, 29, 31, 46):
        tell_about_workers(now=at(seconds=second))
    assert told() == [("worker_lost", "Proxy worker edge-1 is lost")]
    worker.last_seen_at = at(seconds=60)
    worker.save()
    for second in (61, 76):
        tell_about_workers(now=at(seconds=second))
    assert told()[1:] == [("worker_back", "Proxy worker edge-1 is back")]


def test_a_worker_that_was_forgotten_is_no_news() -> None:
    """It was stopped for good; if its name comes again, it can be lost again."""
    worker = ProxyWorker.objects.create(worker_id="edge-1", last_seen_at=NOW)
    tell_about_workers(now=at(minutes=1))
    worker.delete()
    tell_about_workers(now=at(hours=1))
    ProxyWorker.objects.create(worker_id="edge-1", last_seen_at=at(hours=2))
    tell_about_workers(now=at(hours=2))
    tell_about_workers(now=at(hours=3))
    assert [kind for kind, _ in told()] == ["worker_lost", "worker_lost"]


def test_a_refused_configuration_is_told_once() -> None:
    """With the reason; after it was put right, again."""
    host = make_host("orders")
    worker = ProxyWorker.objects.create(worker_id="a", rejected={str(host.pk): "bad key"}, last_seen_at=NOW)
    for _ in range(2):
        tell_about_refusals(now=NOW)
    event = NotedEvent.objects.get()
    assert (event.title, event.details["Reason"]) == ("The configuration of orders is refused", "bad key")
    for rejected in ({}, {str(host.pk): "bad key"}):
        worker.rejected = rejected
        worker.save()
        tell_about_refusals(now=NOW)
    assert NotedEvent.objects.count() == 2


def test_certificates_are_told_before_they_end() -> None:
    """At 30, 14, 7 and 1 days, and when it is over; each once, however often the sweep runs."""
    host = make_host("orders", upstream_tls=mtls(), downstream_tls=site())
    [end] = {facts.not_after for facts in host.downstream_configuration.certificate_facts[:1]}
    for left in (31, 30, 29, 14, 13, 7, 1, 0.5, 0, -1):
        tell_about_expiry(now=end - datetime.timedelta(days=left))
    mine = [title for kind, title in told() if title.startswith("The certificate that clients see of orders")]
    assert [title.rpartition("orders ")[2] for title in mine] == [
        "expires within 30 days",
        "expires within 14 days",
        "expires within 7 days",
        "expires within 1 day",
        "has expired",
    ]


def test_all_kinds_of_certificates_are_looked_at() -> None:
    """Those of clients, of CAs, what clients see, and the local CA; not those of hosts that are off."""
    authority = ensure_authority()
    make_host("orders", upstream_tls=mtls(ca_certificate=CA.pem), downstream_tls=site())
    make_host("off", upstream_tls=mtls(), downstream_tls=site(), domains=("off.example",))
    Host.objects.filter(name="off").update(enabled=False)
    tell_about_expiry(now=at(days=36_500))
    assert {title for _, title in told()} == {
        f"{authority} has expired",
        "The client certificate of orders has expired",
        "A CA certificate of orders has expired",
        "The certificate that clients see of orders has expired",
    }


def test_what_is_on_the_timeline_is_told() -> None:
    """Whatever has reached a step of its role, with what to do; of what an upstream showed, also when that was."""
    ensure_authority()
    host = full_host()
    seen(host, shown("orders.internal", NOW + 10 * DAY), shown("Backend CA", NOW + 31 * DAY))
    tell_about_expiry(now=NOW)
    assert {title for _, title in told()} == {
        "The client certificate of orders expires within 30 days",
        "The certificate of the upstream 10.0.0.7:9443 of orders expires within 14 days",
    }
    upstream = NotedEvent.objects.get(title__contains="upstream")
    assert upstream.details["Known"] == f"seen by the connection test of {NOW:%Y-%m-%d %H:%M} UTC"
    assert (upstream.text, upstream.path) == (ABOUT[Role.UPSTREAM].fix, admin_page(host))


def test_nothing_is_on_the_timeline_and_never_told() -> None:
    """When it is over; what a host has in several places is told of once."""
    ensure_authority()
    issued = issue_client_certificate(common_name="partner").record
    seen(full_host(), shown("orders.internal", NOW + 10 * DAY), shown("Backend CA", NOW + 31 * DAY))
    timeline = list(expiring(now=NOW))
    # Lists from elsewhere need a CA from elsewhere: `tests/hosts/expiry/test_timeline.py`.
    assert {found.role for found in timeline} == set(Role) - {Role.GIVEN_REVOCATION_LIST}
    for now in (issued.not_after - DAY, max(found.not_after for found in timeline)):
        tell_about_expiry(now=now)
    fingerprints = NotedEvent.objects.values_list("details__SHA-256", flat=True)
    assert set(fingerprints) == {found.fingerprint_sha256 for found in timeline}


def test_revocation_lists_have_steps_of_their_own() -> None:
    """Uploaded ones at 3 and 1 days; the local CA's, which is made anew every day, when it was not for four days."""
    authority = ensure_authority()
    full_host()
    ends = {
        "A revocation list of orders": NOW + 6 * DAY,
        f"The revocation list of {authority}": authority.revocation_lists.get().next_update,
    }
    for end in ends.values():
        for left in (4, 2.5, 1.5, 0.5, -0.5):
            tell_about_expiry(now=end - datetime.timedelta(days=left))
    steps = {name: [title.removeprefix(name) for _, title in told() if title.startswith(name)] for name in ends}
    assert steps == {
        "A revocation list of orders": [" expires within 3 days", " expires within 1 day", " has expired"],
        f"The revocation list of {authority}": [" expires within 2 days", " has expired"],
    }


def test_the_pages_are_those_of_the_admin() -> None:
    """Written out, because the sweeps run where there is no admin."""
    host = make_host("orders")
    authority = ensure_authority()
    assert admin_page(host) == reverse("admin:hosts_host_change", args=[host.pk])
    assert reverse("admin:hosts_proxyworker_changelist") == WORKERS_PAGE
    tell_about_expiry(now=at(days=36_500))
    page = reverse("admin:localca_certificateauthority_change", args=[authority.pk])
    assert NotedEvent.objects.get(group="localca").path == page


def test_the_tasks_run() -> None:
    """With nothing to tell."""
    workers_task()
    expiry_task()
    assert told() == []
