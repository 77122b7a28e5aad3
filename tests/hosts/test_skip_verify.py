"""Exceptions from verification end by themselves."""

import datetime
import json

import pytest
from pytest_django import DjangoCaptureOnCommitCallbacks

from aegis_site.kernel.audit.models import AuditEntry
from hosts import skip_verify
from hosts.models import CompiledHost, Host
from hosts.publish import publish
from hosts.skip_verify import end_exceptions
from hosts.tasks import end_skip_verify
from tests.hosts.examples import make_host, mtls
from upstream_tls.models import UpstreamTLSConfiguration

pytestmark = pytest.mark.django_db

UNTIL = datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC)
SECOND = datetime.timedelta(seconds=1)


def is_skipped(host: Host) -> bool:
    return UpstreamTLSConfiguration.objects.get(host=host).skip_verify


def skipping(name: str = "orders", until: datetime.datetime | None = UNTIL) -> Host:
    return make_host(
        name, upstream_tls=mtls(skip_verify=True, skip_verify_reason="their CA moves", skip_verify_until=until)
    )


def test_verification_is_on_again(django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks) -> None:
    """At the date, not before it: published, recorded with what the exception was, and once."""
    host, endless = skipping(), skipping("endless", None)
    publish([host.pk])
    assert end_exceptions(now=UNTIL - SECOND) == 0
    with django_capture_on_commit_callbacks(execute=True):
        assert end_exceptions(now=UNTIL) == 1
    assert not is_skipped(host)
    assert is_skipped(endless)
    assert Host.objects.get(pk=host.pk).updated_at > host.updated_at
    assert not json.loads(CompiledHost.objects.get(pk=host.pk).entry_json)["upstream_tls"]["skip_verify"]
    entry = AuditEntry.objects.get(action="skip_verify_ended")
    assert (entry.target_type, entry.target_id, entry.user_name) == ("host", str(host.pk), "")
    assert {"field": "upstream_tls.skip_verify", "before": True, "after": False} in entry.changes
    assert {"field": "upstream_tls.skip_verify_reason", "before": "their CA moves", "after": ""} in entry.changes
    assert end_exceptions(now=UNTIL) == 0
    assert AuditEntry.objects.filter(action="skip_verify_ended").count() == 1


def test_an_exception_that_was_made_longer_meanwhile_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read before the lock is looked at again under it."""
    host = skipping()
    real = skip_verify._end

    def longer(host_id: object, now: datetime.datetime) -> bool:
        UpstreamTLSConfiguration.objects.filter(host=host).update(skip_verify_until=UNTIL + SECOND)
        return real(host.pk, now)

    monkeypatch.setattr(skip_verify, "_end", longer)
    assert end_exceptions(now=UNTIL) == 0
    assert is_skipped(host)


def test_the_sweep() -> None:
    """Runs now, when nothing is over."""
    host = skipping()
    end_skip_verify()
    assert is_skipped(host)
