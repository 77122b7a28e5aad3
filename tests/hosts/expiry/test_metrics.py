"""The gauge for Prometheus."""

from hosts.expiry.expiring import Role
from hosts.expiry.metrics import gauge
from localca.models import CertificateAuthority
from tests.hosts.expiry.examples import NOW
from tests.hosts.expiry.test_expiring import found


def test_one_sample_for_each() -> None:
    """With host, role and the beginning of the fingerprint; what a host has twice is one, and names are escaped."""
    document = gauge(
        [
            found(owner='a"b\\c', upstream="10.0.0.7:1"),
            found(owner='a"b\\c', upstream="10.0.0.8:1"),
            found(owner="Local CA", role=Role.LOCAL_CA, model=CertificateAuthority),
        ]
    )
    end = NOW.timestamp()
    assert document.splitlines()[1:] == [
        "# TYPE aegis_expiry_not_after_seconds gauge",
        r'aegis_expiry_not_after_seconds{host="a\"b\\c",role="upstream",fingerprint="abababababababab"} ' + str(end),
        f'aegis_expiry_not_after_seconds{{host="",role="local_ca",fingerprint="abababababababab"}} {end}',
    ]
    assert document.endswith("\n")


def test_nothing_is_a_family_without_samples() -> None:
    """As Prometheus wants it."""
    assert [line[:6] for line in gauge([]).splitlines()] == ["# HELP", "# TYPE"]
