"""Questions about the local CA."""

from localca.models import CertificateAuthority


def active_authority() -> CertificateAuthority | None:
    """The CA that issues, or None before the first run. One query."""
    return CertificateAuthority.objects.filter(is_active=True).first()
