"""How often one user may have upstreams tested: by the API, the editor and the setup page together."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from hosts import connection_test_run
from hosts.connection_test_admin import SAVE_AND_TEST
from hosts.models import ConnectionTest, Host
from tests.hosts.connection_examples import FakeProbe
from tests.hosts.examples import make_host, mtls
from tests.hosts.test_connection_test_admin import form_data
from tests.support.valkey import running_valkey

# Commits for real, because the work is queued on commit. Celery's tasks are eager.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _one_a_minute(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(connection_test_run, "probe", FakeProbe())
    settings.AEGIS_TESTS_PER_MINUTE = 1
    with running_valkey() as server:
        settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": [server.url]}}
        yield


@pytest.fixture
def host() -> Host:
    return make_host(upstream_tls=mtls())


def by_api(client: Client, host: Host, name: str = "test-upstream-tls") -> Any:
    return client.post(f"/api/v1/hosts/{host.pk}/{name}", {}, content_type="application/json")


def by_editor(client: Client, host: Host) -> Any:
    return client.post(reverse("admin:hosts_host_test", args=[host.pk]), form_data(host))


def first_refused(responses: list[Any]) -> Any:
    """The minute may end between two of the requests, so the second of three may be let through, the third not."""
    return next(response for response in responses if response.status_code == 429)


@pytest.mark.parametrize("name", ["test-upstream-tls", "prove-enforcement"])
def test_the_api_refuses_with_a_problem_document(admin_client: Client, host: Host, name: str) -> None:
    """429 with Retry-After; what was refused left no test behind."""
    responses = [by_api(admin_client, host), *(by_api(admin_client, host, name) for _ in range(2))]
    assert responses[0].status_code == 200
    tests = ConnectionTest.objects.count()
    refused = first_refused([by_api(admin_client, host, name) for _ in range(2)])
    assert refused["Content-Type"] == "application/problem+json"
    assert refused.json()["errors"][0]["code"] == "throttled"
    assert 1 <= int(refused["Retry-After"]) <= 61
    assert ConnectionTest.objects.count() <= tests + 1


def test_the_editor_shows_why(admin_client: Client, host: Host) -> None:
    """In the place of the result; the API's tests count as well."""
    by_api(admin_client, host)
    refused = first_refused([by_editor(admin_client, host) for _ in range(2)])
    assert "You have asked for many tests. Try again in" in refused.json()["html"]
    assert 1 <= int(refused["Retry-After"]) <= 60


def test_save_and_test_saves_at_any_rate(admin_client: Client, host: Host) -> None:
    """Only the test is refused, in a message."""
    url = reverse("admin:hosts_host_change", args=[host.pk])
    answers = [
        admin_client.post(url, form_data(host, name=f"orders{number}", **{SAVE_AND_TEST: "1"}), follow=True)
        for number in range(3)
    ]
    host.refresh_from_db()
    assert host.name == "orders2"
    assert any("You have asked for many tests." in answer.content.decode() for answer in answers)


def test_the_setup_page_says_so(admin_client: Client, host: Host) -> None:
    """As an error above the page."""
    url = reverse("admin:hosts_host_upstream_setup", args=[host.pk])
    by_api(admin_client, host)
    pages = [admin_client.post(url).content.decode() for _ in range(2)]
    assert any("You have asked for many tests." in page for page in pages)


def test_others_are_not_concerned(admin_client: Client, host: Host) -> None:
    """Each user has a rate of its own, and the denied count for nothing."""
    by_api(admin_client, host)
    other = Client()
    other.force_login(User.objects.create_superuser("other"))
    assert by_api(other, host).status_code == 200
