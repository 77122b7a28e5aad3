"""Taking over an organisation's own intermediate: its certificate, what stands above it, and its key.

Laws of this module: nothing is stored before the whole chain was checked and certificates beneath it were proved; all
that is wrong is told at the field where it is put right. Of the CAs above only the certificates are stored.
"""

import datetime
import uuid
from collections.abc import Callable

from cryptography import x509
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.fields import Sealed
from localca import profiles
from localca.authority_material import read_certificates, read_private_key
from localca.hierarchy import changed_meanwhile, put_in_charge
from localca.keys import PrivateKey, key_to_pem
from localca.lint.subject import Role
from localca.models import CertificateAuthority
from localca.profiles import Issuer
from localca.revocation import audit_authority, lock_authority
from localca.validators import clean_crl_url

Chain = tuple[x509.Certificate, ...]


def import_intermediate(
    *,
    certificate: str,
    private_key: str,
    passphrase: str = "",
    root_certificate: str = "",
    crl_url: str = "",
    user: Actor | None,
) -> CertificateAuthority:
    """Let an intermediate from elsewhere issue.

    `certificate` is its chain as PEM, in any order. The self-signed root is in it, in `root_certificate`, or is known
    here. Raises ValidationError (`certificate`, `private_key`, `passphrase`, `root_certificate`, `crl_url`) and
    `localca.hierarchy.HierarchyError` (`changed_meanwhile`).
    """
    identifier = uuid.uuid4()
    issuer = _issuer_of(
        certificate=certificate,
        private_key=private_key,
        passphrase=passphrase,
        root_certificate=root_certificate,
        clean_url=lambda: clean_crl_url(crl_url, authority_id=identifier),
    )
    return _stored(identifier, issuer, user=user)


def _issuer_of(
    *, certificate: str, private_key: str, passphrase: str, root_certificate: str, clean_url: Callable[[], str]
) -> Issuer:
    """The CA with its key and its path, everything checked. Raises ValidationError with all errors of reading."""
    errors: dict[str, list[ValidationError]] = {}
    given: Chain = ()
    roots: Chain = ()
    url = ""
    key: PrivateKey | None = None
    for field, text in (("certificate", certificate), ("root_certificate", root_certificate)):
        try:
            found = read_certificates(text) if text.strip() or field == "certificate" else ()
            given, roots = (found, roots) if field == "certificate" else (given, found)
        except ValidationError as error:
            errors[field] = error.error_list
    try:
        key = read_private_key(private_key, passphrase=passphrase)
    except ValidationError as error:
        errors |= error.error_dict
    try:
        url = clean_url()
    except ValidationError as error:
        errors["crl_url"] = error.error_list
    if errors or key is None:
        raise ValidationError(errors)
    path = _path(given, roots=roots, key=key)
    issuer = Issuer(certificate=path[0], key=key, above=path[1:], crl_url=url)
    _check(issuer, now=timezone.now())
    return issuer


def _path(given: Chain, *, roots: Chain, key: PrivateKey) -> Chain:
    """The intermediate of this key, then its issuers, up to a self-signed root. Raises ValidationError."""
    leaf = next((certificate for certificate in given if certificate.public_key() == key.public_key()), None)
    if leaf is None:
        text = "The key belongs to none of the certificates."
        raise ValidationError({"private_key": ValidationError(text, code="key_mismatch")})
    known = [authority.certificate for authority in CertificateAuthority.objects.trusted()]
    if _is_root(leaf):
        text = "This is a self-signed root. An intermediate is imported; its root's key stays where it is."
        raise ValidationError({"certificate": ValidationError(text, code="is_root")})
    path = [leaf]
    while not _is_root(path[-1]):
        issuer = next((found for found in (*given, *roots, *known) if _is_issued_by(path[-1], found)), None)
        if issuer is None or issuer in path:
            text = f"The chain ends at {path[-1].issuer.rfc4514_string()}: add that certificate, up to the root."
            field = "root_certificate" if roots else "certificate"
            raise ValidationError({field: ValidationError(text, code="chain_incomplete")})
        path.append(issuer)
    return tuple(path)


def _check(issuer: Issuer, *, now: datetime.datetime) -> None:
    """That it may issue now, by proofs. Raises ValidationError (`certificate`)."""
    try:
        profiles.check_authority(issuer, now=now, role=Role.IMPORTED)
    except profiles.ProfileError as error:
        text = f"This CA cannot issue certificates for TLS: {error}."
        raise ValidationError({"certificate": ValidationError(text, code="unusable")}) from error


@transaction.atomic
def _stored(identifier: uuid.UUID, issuer: Issuer, *, user: Actor | None) -> CertificateAuthority:
    _check_new(issuer)
    parent: CertificateAuthority | None = None
    for certificate in reversed(issuer.above):
        parent = _known(certificate) or _anchor(certificate, parent=parent, user=user)
    authority = CertificateAuthority(
        id=identifier,
        certificate_pem=profiles.certificate_to_pem(issuer.certificate),
        private_key=Sealed.of(key_to_pem(issuer.key)),
        parent=parent,
        crl_url=issuer.crl_url,
    )
    return put_in_charge(authority, user=user)


def _check_new(issuer: Issuer) -> None:
    """That no CA here has this key, in whatever state, and that none above was revoked. Raises ValidationError.

    The lists of two rows with one key have the same issuer: peers would take one for the other, and what the one names
    would be good again by the other.
    """
    for authority in CertificateAuthority.objects.all():
        code, text = "", ""
        if authority.certificate == issuer.certificate:
            state = "revoked" if authority.revoked_at else "retired" if authority.retired_at else ""
            code, text = "known", f"This CA is here already, as {authority}{', and was ' if state else ''}{state}."
        elif authority.certificate.public_key() == issuer.certificate.public_key():
            text = f"{authority} has the same key. A CA that follows another one needs a key of its own, because the "
            code, text = "same_key", text + "revocation lists of both would be mistaken for each other."
        elif authority.revoked_at and authority.certificate in issuer.above:
            code, text = "revoked", f"{authority}, which stands above, was revoked."
        if code:
            raise ValidationError({"certificate": ValidationError(text, code=code)})


def _anchor(
    certificate: x509.Certificate, *, parent: CertificateAuthority | None, user: Actor | None
) -> CertificateAuthority:
    """The row of a CA above, without key."""
    authority = CertificateAuthority(
        certificate_pem=profiles.certificate_to_pem(certificate), private_key=None, is_active=False, parent=parent
    )
    authority.clean_fields()
    authority.save(force_insert=True)
    audit_authority(authority, action="imported", before={}, user=user)
    return authority


def _known(certificate: x509.Certificate) -> CertificateAuthority | None:
    """The trusted row of this certificate, held until the transaction ends.

    Raises HierarchyError (`changed_meanwhile`) when it was retired or revoked while this transaction waited.
    """
    trusted = CertificateAuthority.objects.trusted()
    found = next((authority for authority in trusted if authority.certificate == certificate), None)
    if found is None:
        return None
    locked = lock_authority(found.pk)
    if locked.is_over:
        raise changed_meanwhile()
    return locked


def _is_root(certificate: x509.Certificate) -> bool:
    return certificate.subject == certificate.issuer and _is_issued_by(certificate, certificate)


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # noqa: BLE001 (of a signature that is not one, cryptography raises half a dozen types)
        return False
    return True
