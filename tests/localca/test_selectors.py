"""Questions about the local CA."""

import pytest

from localca.models import CertificateAuthority
from localca.selectors import active_authority
from localca.services import ensure_authority


@pytest.mark.django_db
def test_the_active_ca() -> None:
    """None before the first run, then the one that issues; a retired one is not it."""
    assert active_authority() is None
    authority = ensure_authority()
    assert active_authority() == authority
    CertificateAuthority.objects.update(is_active=False)
    assert active_authority() is None
