"""What follows from who gets in, and the attempts against a real nginx."""

import datetime
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from hosts.connection_tests import NotRun, latest_tests
from hosts.enforcement import NothingToProve, Outcome, Presented, Verdict, judge, prove_enforcement
from hosts.models import ConnectionTest, Host, Upstream
from hosts.services import install_issued_certificate
from hosts.specs import UpstreamSpec
from localca.hierarchy import create_intermediate
from localca.models import IssuedCertificate
from localca.services import ensure_authority
from tests.hosts.examples import CA, LEAF, make_host, mtls
from tests.support.certificates import Authority
from tests.support.nginx import Nginx
from tests.support.ports import free_port
from upstream_tls.changes import UpstreamTLSChanges

SERVER_CA = Authority("Upstream CA")
SERVER = SERVER_CA.server("backend.internal")


def answered(status: int | None) -> dict[str, Any]:
    """The document of a test that succeeded."""
    return {"success": True, "http": None if status is None else {"status": status}, "error": None}


def failed(code: str) -> dict[str, Any]:
    """The document of a test that failed with this code."""
    return {"success": False, "http": None, "error": {"code": code, "message": f"message of {code}"}}


@pytest.mark.parametrize(
    ("own", "none", "verdict"),
    [
        (answered(200), failed("client_certificate_required"), Verdict.ENFORCED),
        (answered(404), failed("client_certificate_required"), Verdict.ENFORCED),
        (answered(200), failed("client_certificate_rejected"), Verdict.ENFORCED),
        (answered(200), failed("handshake_failure"), Verdict.ENFORCED),
        (answered(200), failed("tls_alert"), Verdict.ENFORCED),
        (answered(200), failed("connection_closed"), Verdict.ENFORCED),
        (answered(200), failed("connection_reset"), Verdict.ENFORCED),
        (answered(200), answered(401), Verdict.ENFORCED),
        (answered(200), answered(403), Verdict.ENFORCED),
        (answered(200), answered(200), Verdict.NOT_ENFORCED),
        (answered(500), answered(500), Verdict.NOT_ENFORCED),
        (answered(None), answered(None), Verdict.NOT_ENFORCED),
        (answered(200), answered(302), Verdict.INCONCLUSIVE),
        (answered(200), answered(500), Verdict.INCONCLUSIVE),
        (answered(200), failed("timeout"), Verdict.INCONCLUSIVE),
        (answered(200), failed("connection_refused"), Verdict.INCONCLUSIVE),
        (answered(200), failed("expired"), Verdict.INCONCLUSIVE),
        (answered(403), failed("client_certificate_required"), Verdict.INCONCLUSIVE),
        (answered(403), answered(403), Verdict.INCONCLUSIVE),
        (answered(401), answered(200), Verdict.INCONCLUSIVE),
        (failed("connection_refused"), failed("connection_refused"), Verdict.INCONCLUSIVE),
        (failed("client_certificate_untrusted"), failed("client_certificate_required"), Verdict.INCONCLUSIVE),
        (failed("unknown_authority"), answered(200), Verdict.INCONCLUSIVE),
    ],
)
def test_the_verdict(own: dict[str, Any], none: dict[str, Any], verdict: Verdict) -> None:
    """Enforced only when the host gets in and nobody is told no; not enforced only when both get the same answer."""
    result = judge(own, none)
    assert result.verdict is verdict
    assert result.explanation
    assert result.other_refused is None


@pytest.mark.parametrize(
    ("other", "refused", "text"),
    [
        (answered(403), True, "Another certificate of the same CA is refused as well (HTTP 403)."),
        (failed("client_certificate_bad"), True, "is refused as well (message of client_certificate_bad)."),
        (answered(200), False, "But another certificate of the same CA gets in"),
        (failed("timeout"), None, "it cannot be told (message of timeout)."),
        (None, None, "Another certificate of the same CA was not tried."),
    ],
)
def test_another_certificate_of_the_same_ca(other: dict[str, Any] | None, refused: bool | None, text: str) -> None:
    """It never changes the verdict, and the explanation says what became of it."""
    result = judge(answered(200), failed("client_certificate_required"), other)
    assert (result.verdict, result.other_refused) == (Verdict.ENFORCED, refused)
    assert text in result.explanation


def test_attempts_are_reported_as_they_were() -> None:
    """In order, with status or code."""
    result = judge(answered(200), failed("client_certificate_required"), answered(403))
    assert [(attempt.presented, attempt.outcome, attempt.http_status, attempt.code) for attempt in result.attempts] == [
        (Presented.OWN, Outcome.ADMITTED, 200, ""),
        (Presented.NONE, Outcome.REFUSED, None, "client_certificate_required"),
        (Presented.OTHER, Outcome.REFUSED, 403, ""),
    ]


def before(port: int, tls: UpstreamTLSChanges) -> tuple[Host, Upstream]:
    """A stored host before 127.0.0.1 at this port."""
    host = make_host(upstreams=(UpstreamSpec(address="127.0.0.1", port=port),), upstream_tls=tls)
    stored = Host.objects.with_configuration().get(pk=host.pk)
    return stored, stored.upstreams.all()[0]


def trusting(**changes: Any) -> UpstreamTLSChanges:
    return mtls(ca_certificate=SERVER_CA.pem, server_name="backend.internal", **changes)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("verify", "verdict"),
    [("on", Verdict.ENFORCED), ("optional", Verdict.NOT_ENFORCED), ("off", Verdict.NOT_ENFORCED)],
)
def test_a_real_nginx(tmp_path: Path, verify: str, verdict: Verdict) -> None:
    """`ssl_verify_client on` refuses strangers; `optional` and `off` do not, and the host alone would never notice."""
    with Nginx(tmp_path, server=SERVER, client_ca_pem=CA.pem, verify=verify) as nginx:
        host, upstream = before(nginx.port, trusting())
        result = prove_enforcement(host=host, upstream=upstream, user=None, may_issue=True)
    assert result.verdict is verdict, result
    assert [attempt.presented for attempt in result.attempts] == [Presented.OWN, Presented.NONE]
    assert IssuedCertificate.objects.count() == 0  # LEAF is not from the local CA: it cannot issue its like


@pytest.mark.django_db(transaction=True)
def test_a_certificate_of_the_local_ca_is_compared_with_another_one(tmp_path: Path) -> None:
    """An upstream that trusts the CA alone admits it, which the result says; its key is kept nowhere."""
    with Nginx(tmp_path, server=SERVER, client_ca_pem=ensure_authority().certificate_pem) as nginx:
        host, upstream = before(
            nginx.port, UpstreamTLSChanges(ca_certificate=SERVER_CA.pem, server_name="backend.internal")
        )
        install_issued_certificate(host=host, user=None)
        host = Host.objects.with_configuration().get(pk=host.pk)
        careful = prove_enforcement(host=host, upstream=upstream, user=None, may_issue=False)
        issued = IssuedCertificate.objects.count()
        create_intermediate(user=None)  # the other one comes from there, and nginx trusts the root
        result = prove_enforcement(host=host, upstream=upstream, user=None, may_issue=True)
    assert (careful.verdict, careful.other_refused, issued) == (Verdict.ENFORCED, None, 1)
    assert (result.verdict, result.other_refused) == (Verdict.ENFORCED, False)
    assert IssuedCertificate.objects.filter(issued_for="proof of enforcement: orders").count() == 1
    assert not ConnectionTest.objects.exclude(job=None).exists()


@pytest.mark.django_db(transaction=True)
def test_attempts_as_a_stranger_are_not_the_hosts_last_test(tmp_path: Path) -> None:
    """The host keeps the result of its own certificate, with who asked."""
    user = User.objects.create_user("operator")
    with Nginx(tmp_path, server=SERVER, client_ca_pem=CA.pem) as nginx:
        host, upstream = before(nginx.port, trusting())
        prove_enforcement(host=host, upstream=upstream, user=user, may_issue=False)
    assert [(test.success, test.requested_by) for test in latest_tests(host)] == [(True, user)]


@pytest.mark.django_db(transaction=True)
def test_an_upstream_that_is_down_proves_nothing() -> None:
    """It refuses everybody."""
    host, upstream = before(free_port(), trusting())
    result = prove_enforcement(host=host, upstream=upstream, user=None, may_issue=True)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "connection refused" in result.explanation


@pytest.mark.django_db
@pytest.mark.parametrize("tls", [UpstreamTLSChanges(), mtls(enabled=False)])
def test_a_host_that_presents_nothing_has_nothing_to_prove(tls: UpstreamTLSChanges) -> None:
    """Nothing is tried."""
    host, upstream = before(9443, tls)
    with pytest.raises(NothingToProve, match="mTLS is off"):
        prove_enforcement(host=host, upstream=upstream, user=None, may_issue=True)
    assert ConnectionTest.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_without_a_worker_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempts expire, and no verdict is made up."""
    monkeypatch.setattr("hosts.tasks.run_connection_tests.delay", lambda test_ids: None)
    monkeypatch.setattr("hosts.connection_tests.TAKEN_WITHIN", datetime.timedelta(milliseconds=50))
    host, upstream = before(9443, trusting())
    with pytest.raises(NotRun):
        prove_enforcement(host=host, upstream=upstream, user=None, may_issue=True)


@pytest.mark.django_db(transaction=True)
def test_the_key_of_the_host_is_in_no_result(tmp_path: Path) -> None:
    """Neither is that of the stranger."""
    with Nginx(tmp_path, server=SERVER, client_ca_pem=CA.pem) as nginx:
        host, upstream = before(nginx.port, trusting())
        result = prove_enforcement(host=host, upstream=upstream, user=None, may_issue=False)
    assert LEAF.key_pem.splitlines()[1] not in repr(result)
    assert "PRIVATE KEY" not in repr(result)
