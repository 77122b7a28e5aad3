"""Questions about the local CA."""

from cryptography import x509

from localca.models import CertificateAuthority, IssuedCertificate, IssuedCertificateQuerySet


def active_authority() -> CertificateAuthority | None:
    """The CA that issues, or None before the first run. One query."""
    return CertificateAuthority.objects.with_path().filter(is_active=True).first()


def trust_anchors() -> tuple[CertificateAuthority, ...]:
    """The roots that peers are to trust: that of the CA that issues first, then others until they are retired.

    Two queries.
    """
    active = active_authority()
    first = active.root.pk if active else None
    roots = CertificateAuthority.objects.trusted().filter(parent=None)
    return tuple(sorted(roots, key=lambda root: root.pk != first))


def trust_anchors_pem() -> str:
    """The certificates of `trust_anchors`, one after the other."""
    return "".join(root.certificate_pem for root in trust_anchors())


def family_of(authority: CertificateAuthority) -> tuple[CertificateAuthority, ...]:
    """A CA and every CA beneath it, as they are stored. A query for each level."""
    family = level = list(CertificateAuthority.objects.filter(pk=authority.pk))
    while level := list(CertificateAuthority.objects.filter(parent__in=level)):
        family = [*family, *level]
    return tuple(family)


def list_places(authority: CertificateAuthority) -> tuple[str, ...]:
    """Where the certificates that it issued to CAs say that its revocation list is. One query."""
    places: dict[str, None] = {}
    for child in authority.children.all():
        try:
            points = child.certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        except x509.ExtensionNotFound:
            continue
        names = [name for point in points for name in point.full_name or ()]
        places |= {name.value: None for name in names if isinstance(name, x509.UniformResourceIdentifier)}
    return tuple(places)


def leafs_of(*authorities: CertificateAuthority) -> IssuedCertificateQuerySet:
    """What these CAs have issued, in any state."""
    return IssuedCertificate.objects.for_display().filter(authority__in=authorities)
