"""GET /api/v1/failures, and what may be said of one."""

import datetime
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from aegis_site.kernel.audit.models import AuditEntry
from healthchecks.failures.models import FailureGroup, Source
from healthchecks.failures.standing import MUTED_FOR
from tests.healthchecks.examples import NOW
from tests.healthchecks.failures.examples import CODE, failed
from tests.hosts.examples import make_host

pytestmark = pytest.mark.django_db

API = "/api/v1/failures"


def codes(client: Client, query: str) -> list[str]:
    response = client.get(f"{API}?{query}")
    assert response.status_code == 200, response.content
    return [group["code"] for group in response.json()["results"]]


def test_one_group(admin_client: Client) -> None:
    """With host, upstream, counts, cause and fix, and what was changed before it."""
    host = make_host()
    entry = AuditEntry.objects.get(target_type="host")
    group = failed(host, at=entry.at, count=3, request_id="a1-42")
    document: dict[str, Any] = admin_client.get(f"{API}/{group.pk}").json()
    assert document["host"] == {"id": str(host.pk), "name": "orders"}
    assert document["upstream"]["address"] == "10.0.0.7"
    assert (document["code"], document["count"], document["traffic_count"], document["state"]) == (CODE, 3, 3, "open")
    assert document["cause"].startswith("The upstream does not know the CA")
    assert document["fix"]
    [change] = document["changes_before"]
    assert (change["id"], change["action"], change["revertible"]) == (entry.pk, "created", False)


def test_lists_are_filtered_and_ordered(admin_client: Client) -> None:
    """By host, code, source, state, whether muted, and when it was last seen."""
    host, other = make_host(), make_host("other")
    failed(host, code="a", count=2)
    failed(host, code="b", source=Source.CHECK)
    failed(other, code="c")
    FailureGroup.objects.filter(code="b").update(state="resolved")
    FailureGroup.objects.filter(code="c").update(muted_until=NOW.replace(year=NOW.year + 1))
    upstream = host.upstreams.all()[0]
    assert codes(admin_client, f"host={host.pk}&ordering=code") == ["a", "b"]
    assert codes(admin_client, f"upstream={upstream.pk}&ordering=-code") == ["b", "a"]
    assert codes(admin_client, "source=check") == codes(admin_client, "state=resolved") == ["b"]
    assert codes(admin_client, "muted=true") == codes(admin_client, "search=other") == ["c"]
    assert codes(admin_client, "muted=false&ordering=-total") == ["a", "b"]
    assert codes(admin_client, "code=a&seen_after=2000-01-01T00:00:00Z") == ["a"]
    assert codes(admin_client, "seen_before=2000-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    "query", ["host=x", "upstream=", "source=magic", "state=", "muted=1", "ordering=message", "colour=red"]
)
def test_a_filter_that_says_nothing_is_refused(admin_client: Client, query: str) -> None:
    """At its parameter."""
    response = admin_client.get(f"{API}?{query}")
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == query.partition("=")[0]


def test_acknowledged_and_resolved(admin_client: Client) -> None:
    """The answer is the group as it stands then."""
    group = failed(make_host())
    for verb, state in (("acknowledge", "acknowledged"), ("resolve", "resolved"), ("acknowledge", "resolved")):
        response = admin_client.post(f"{API}/{group.pk}/{verb}")
        assert response.status_code == 200, response.content
        assert (response.json()["state"], response.json()["state_by"]) == (state, "admin")


def test_muted_and_heard_again(admin_client: Client) -> None:
    """For a day, or until what is said; it says so, and who did it is in the audit log."""
    group = failed(make_host())
    before = timezone.now()
    shown = admin_client.post(f"{API}/{group.pk}/mute", content_type="application/json").json()
    assert before < datetime.datetime.fromisoformat(shown["muted_until"]) - MUTED_FOR < timezone.now()
    until = {"until": "2100-01-01T00:00:00Z"}
    shown = admin_client.post(f"{API}/{group.pk}/mute", until, content_type="application/json").json()
    assert (shown["muted_until"], shown["state"]) == ("2100-01-01T00:00:00Z", "open")
    for _ in range(2):
        assert admin_client.post(f"{API}/{group.pk}/unmute").json()["muted_until"] is None
    assert AuditEntry.objects.filter(target_type="failure", target_id=str(group.pk)).count() == 3


@pytest.mark.parametrize(
    ("document", "field"),
    [({"until": "2000-01-01T00:00:00Z"}, "until"), ({"until": None}, "until"), ({"for": 5}, "for")],
)
def test_muting_takes_a_moment_to_come(admin_client: Client, document: dict[str, Any], field: str) -> None:
    """Anything else is refused at its field, and nothing is muted."""
    group = failed(make_host())
    response = admin_client.post(f"{API}/{group.pk}/mute", document, content_type="application/json")
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, field)
    group.refresh_from_db()
    assert group.muted_until is None


def test_one_that_is_not_there(admin_client: Client) -> None:
    """404, for the largest id, too."""
    assert admin_client.get(f"{API}/{10**18 - 1}").status_code == 404
    assert admin_client.post(f"{API}/1/resolve").status_code == 404
