"""The private keys of CAs: taking one out, removing it here, and bringing it back.

Laws of this module: a key leaves encrypted only, in the one answer to who asked for it; removing it first leaves a
revocation list that lasts as long as the CA. Each service is one transaction with its entry in the audit log.
"""

import logging

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils import timezone

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.fields import Sealed
from aegis_site.kernel.keyring import SecretUnreadable
from localca.authority_material import read_private_key
from localca.hierarchy import HierarchyError
from localca.keys import key_to_pem, key_to_pkcs12
from localca.models import CertificateAuthority, KeyMissing
from localca.revocation import audit_authority, lock_authority, publish_list
from localca.selectors import active_authority

logger = logging.getLogger(__name__)

# It protects everything that this CA vouches for, for ten years, and may be tried offline.
PASSPHRASE_MIN_CHARACTERS = 12
PASSPHRASE_MAX_CHARACTERS = 128


class KeyFormat(models.TextChoices):
    """As what a key leaves."""

    PKCS12 = "pkcs12", "PKCS#12 (.p12): key and certificates"
    PEM = "pem", "PEM (.key): the key alone, as PKCS#8"


@transaction.atomic
def export_key(
    *, authority: CertificateAuthority, passphrase: str, form: KeyFormat = KeyFormat.PKCS12, user: Actor | None
) -> bytes:
    """The key, with PKCS#12 the certificates too, encrypted with AES-256 under 600 000 rounds of PBKDF2.

    Raises ValidationError (`passphrase`), KeyMissing, and SecretUnreadable when the key does not open.
    """
    clean_passphrase(passphrase)
    stored = lock_authority(authority.pk)
    before = stored.summary()
    issuer = stored.issuer()
    secret = passphrase.encode()
    if form == KeyFormat.PEM:
        content = key_to_pem(issuer.key, passphrase=secret)
    else:
        content = key_to_pkcs12(issuer.key, certificate=issuer.certificate, issuers=issuer.above, passphrase=secret)
    stored.key_exported_at = timezone.now()
    stored.save(update_fields=["key_exported_at"])
    audit_authority(stored, action="key exported", before=before, user=user)
    logger.warning("the private key of the CA %s was exported", stored)
    return content


@transaction.atomic
def remove_key(*, authority: CertificateAuthority, confirmation: str = "", user: Actor | None) -> CertificateAuthority:
    """Forget the key of a root whose intermediate issues, or of a CA that was retired or revoked.

    Its last revocation list is signed first and lasts as long as the CA. Without an export, `confirmation` has to be
    the CA's name. Raises ValidationError (`confirmation`), HierarchyError (`still_needed`), KeyMissing, and
    SecretUnreadable when the key does not open, so that no list can be signed; the key of a CA that is over goes
    without one then.
    """
    stored = lock_authority(authority.pk)
    if not stored.has_key:
        raise KeyMissing("key_missing", f"The private key of {stored} is not stored here.")
    if not (stored.is_over or may_do_without_key(stored)):
        text = "Only the key of a root whose intermediate issues, or of a CA that is over, can be removed: "
        raise HierarchyError("still_needed", text + "create an intermediate first, or retire this CA.")
    if stored.key_exported_at is None and confirmation != str(stored):
        text = f"The key was never exported, and nobody could have it again. Export it, or enter {stored} to remove it."
        raise ValidationError({"confirmation": ValidationError(text, code="not_exported")})
    before = stored.summary()
    try:
        publish_list(stored, until=stored.facts.not_after)
    except SecretUnreadable:
        if not stored.is_over:
            raise
        logger.warning("the private key of the CA %s does not open, so it leaves no last revocation list", stored)
    stored.private_key = None
    stored.save(update_fields=["private_key"])
    audit_authority(stored, action="key removed", before=before, user=user)
    logger.warning("the private key of the CA %s was removed", stored)
    return stored


def may_do_without_key(authority: CertificateAuthority) -> bool:
    """Whether it is a root whose intermediate issues. Queries."""
    active = active_authority()
    return authority.is_root and active is not None and authority in active.path[1:]


@transaction.atomic
def restore_key(
    *, authority: CertificateAuthority, private_key: str, passphrase: str = "", user: Actor | None
) -> CertificateAuthority:
    """Store the removed key again, such as to issue the next intermediate or to revoke one.

    Raises ValidationError (`private_key`, `passphrase`), HierarchyError (`key_present`).
    """
    key = read_private_key(private_key, passphrase=passphrase)
    stored = lock_authority(authority.pk)
    if stored.has_key:
        raise HierarchyError("key_present", f"The private key of {stored} is stored here already.")
    if key.public_key() != stored.certificate.public_key():
        text = f"This is not the key of {stored}."
        raise ValidationError({"private_key": ValidationError(text, code="key_mismatch")})
    before = stored.summary()
    stored.private_key = Sealed.of(key_to_pem(key))
    stored.save(update_fields=["private_key"])
    audit_authority(stored, action="key restored", before=before, user=user)
    return stored


def clean_passphrase(passphrase: str) -> None:
    """Raises ValidationError (`passphrase`)."""
    if not PASSPHRASE_MIN_CHARACTERS <= len(passphrase) <= PASSPHRASE_MAX_CHARACTERS:
        text = f"A passphrase has {PASSPHRASE_MIN_CHARACTERS} to {PASSPHRASE_MAX_CHARACTERS} characters."
        raise ValidationError({"passphrase": ValidationError(text, code="length")})
