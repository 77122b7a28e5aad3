"""The filters of the list of issued certificates."""

import pytest

from localca.api.filters import CertificateFilter
from localca.models import IssuedCertificate, RevocationReason
from localca.revocation import revoke_certificate
from localca.services import issue_client_certificate

pytestmark = pytest.mark.django_db


def found(**values: str) -> list[str]:
    chosen = CertificateFilter(values, queryset=IssuedCertificate.objects.order_by("subject"))
    assert chosen.is_valid(), chosen.errors
    return [certificate.subject for certificate in chosen.qs]


def test_filters_add_up() -> None:
    """A certificate fits when it fits all of them."""
    issue_client_certificate(common_name="kept")
    lost = issue_client_certificate(common_name="lost").record
    revoke_certificate(certificate=lost, reason=RevocationReason.SUPERSEDED, user=None)
    assert found() == ["CN=kept", "CN=lost"]
    assert found(status="revoked", purpose="client") == ["CN=lost"]
    assert found(status="revoked", purpose="server") == []
    assert found(expires_before="2999-01-01T00:00:00+01:00", status="valid") == ["CN=kept"]


@pytest.mark.parametrize("moment", ["soon", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_moments_that_do_not_exist(moment: str) -> None:
    """Refused at the filter, also where only the conversion to UTC finds it."""
    chosen = CertificateFilter({"expires_before": moment}, queryset=IssuedCertificate.objects.all())
    assert not chosen.is_valid()
    assert list(chosen.errors) == ["expires_before"]
