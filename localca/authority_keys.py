"""The private keys of CAs: taking one out, removing it here, and bringing it back.

Laws of this module: a key leaves encrypted only, in the one answer to who asked for it; removing it first leaves a
revocation list that lasts as long as the CA. Each service is one transaction with its entry in the audit log.
"""

import logging

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.fields import Sealed
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


@transaction.atomic
def export_key(*, authority: CertificateAuthority, passphrase: str, user: Actor | None) -> bytes:
    """Certificate and key as PKCS#12, encrypted with AES-256 under 600 000 rounds of PBKDF2.

    Raises ValidationError (`passphrase`), KeyMissing, and SecretUnreadable when the key does not open.
    """
    clean_passphrase(passphrase)
    stored = lock_authority(authority.pk)
    before = stored.summary()
    issuer = stored.issuer()
    content = key_to_pkcs12(
        issuer.key, certificate=issuer.certificate, issuers=issuer.above, passphrase=passphrase.encode()
    )
    stored.key_exported_at = timezone.now()
    stored.save(update_fields=["key_exported_at"])
    audit_authority(stored, action="key exported", before=before, user=user)
    logger.warning("the private key of the CA %s was exported", stored)
    return content


@transaction.atomic
def remove_key(*, authority: CertificateAuthority, confirmation: str = "", user: Actor | None) -> CertificateAuthority:
    """Forget the key of a root whose intermediate issues.

    The root's last revocation list is signed first and lasts as long as the root. Without an export, `confirmation` has
    to be the CA's name. Raises ValidationError (`confirmation`), HierarchyError (`still_needed`), KeyMissing, and
    SecretUnreadable when the key does not open, so that no list can be signed.
    """
    stored = lock_authority(authority.pk)
    if not stored.has_key:
        raise KeyMissing("key_missing", f"The private key of {stored} is not stored here.")
    active = active_authority()
    if not stored.is_root or active is None or stored not in active.path[1:]:
        text = "Only the key of a root whose intermediate issues can be removed: create an intermediate first."
        raise HierarchyError("still_needed", text)
    if stored.key_exported_at is None and confirmation != str(stored):
        text = f"The key was never exported, and nobody could have it again. Export it, or enter {stored} to remove it."
        raise ValidationError({"confirmation": ValidationError(text, code="not_exported")})
    before = stored.summary()
    publish_list(stored, until=stored.facts.not_after)
    stored.private_key = None
    stored.save(update_fields=["private_key"])
    audit_authority(stored, action="key removed", before=before, user=user)
    logger.warning("the private key of the CA %s was removed", stored)
    return stored


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
