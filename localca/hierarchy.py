"""Who issues: roots, intermediates beneath them, and changing from one to the next.

Laws of this module: keyword-only services, each one transaction with its entry in the audit log. A new CA takes over
and the old one stays trusted; nothing here ends trust (`localca.retirement` does). A CA is stored only after the proof
that it can issue and with its first revocation list.
"""

import logging
import uuid

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from aegis_site.kernel.audit.actor import Actor
from aegis_site.kernel.errors import AegisError
from aegis_site.kernel.fields import Sealed
from localca import profiles
from localca.keys import key_to_pem
from localca.models import CertificateAuthority
from localca.profiles import Issuer
from localca.revocation import audit_authority, lock_authority, publish_list
from localca.selectors import active_authority
from localca.validators import clean_common_name, clean_crl_url

logger = logging.getLogger(__name__)


class HierarchyError(AegisError):
    """The CAs cannot be changed as asked."""


@transaction.atomic
def create_intermediate(*, common_name: str = "", crl_url: str = "", user: Actor | None) -> CertificateAuthority:
    """A CA beneath the root of the one that issues; leafs are its business from then on.

    In `crl_url`, `{id}` stands for the id of the new CA, as in all services that take one. Raises ValidationError
    (`common_name`, `crl_url`), HierarchyError (`no_authority`, `signing_failed`, `changed_meanwhile`), KeyMissing when
    the root's key is not here, and SecretUnreadable when it does not open.
    """
    identifier = uuid.uuid4()
    name, url = _checked(common_name or f"Aegis Local Intermediate CA {identifier.hex[:8]}", crl_url, identifier)
    active = active_authority()
    if active is None:
        raise HierarchyError("no_authority", "There is no local CA yet; `manage.py prepare` creates it.")
    root = lock_authority(active.root.pk)
    if root.retired_at is not None:
        raise changed_meanwhile()
    try:
        built = profiles.build_intermediate(issuer=root.issuer(), common_name=name, now=timezone.now(), crl_url=url)
    except profiles.ProfileError as error:
        raise HierarchyError("signing_failed", f"{root} cannot issue an intermediate: {error}.") from error
    return put_in_charge(_row(identifier, built, parent=root), user=user)


@transaction.atomic
def create_root(*, common_name: str = "", crl_url: str = "", user: Actor | None) -> CertificateAuthority:
    """A root beside those that there are: it issues from then on, and the trust bundle has both.

    What the old one issued stays valid, so that peers get the new bundle before they see a certificate of the new root.
    Raises ValidationError (`common_name`, `crl_url`), HierarchyError (`changed_meanwhile`).
    """
    identifier = uuid.uuid4()
    name, url = _checked(common_name or f"Aegis Local CA {identifier.hex[:8]}", crl_url, identifier)
    built = profiles.build_root(common_name=name, now=timezone.now())
    root = _row(identifier, built, parent=None)
    root.crl_url = url
    return put_in_charge(root, user=user)


@transaction.atomic
def set_crl_url(*, authority: CertificateAuthority, crl_url: str, user: Actor | None) -> CertificateAuthority:
    """Where its list is, as what it issues from now on says; "" for nowhere. Raises ValidationError (`crl_url`)."""
    _, url = _checked("any", crl_url, authority.pk)
    stored = lock_authority(authority.pk)
    before = stored.summary()
    if stored.crl_url != url:
        stored.crl_url = url
        stored.save(update_fields=["crl_url"])
        audit_authority(stored, action="changed", before=before, user=user)
    return stored


@transaction.atomic
def put_in_charge(authority: CertificateAuthority, *, user: Actor | None) -> CertificateAuthority:
    """Store a new CA with its first list, and let it issue instead of the one that does.

    Raises HierarchyError (`changed_meanwhile`) when somebody else does the same at this moment.
    """
    before = CertificateAuthority.objects.select_for_update().filter(is_active=True).first()
    if before is not None:
        summary = before.summary()
        before.is_active = False
        before.save(update_fields=["is_active"])
        audit_authority(before, action="replaced", before=summary, user=user)
    authority.is_active = True
    authority.clean_fields()
    try:
        with transaction.atomic():
            authority.save(force_insert=True)
    except IntegrityError as error:
        raise changed_meanwhile() from error
    publish_list(authority)
    audit_authority(authority, action="created", before={}, user=user)
    logger.info("the CA %s issues now, SHA-256 fingerprint %s", authority, authority.facts.fingerprint_sha256)
    return authority


def changed_meanwhile() -> HierarchyError:
    """What somebody is told who was not the first."""
    text = "Somebody else has put another CA in charge at this moment: look at it, then try again."
    return HierarchyError("changed_meanwhile", text)


def _row(identifier: uuid.UUID, built: Issuer, *, parent: CertificateAuthority | None) -> CertificateAuthority:
    return CertificateAuthority(
        id=identifier,
        certificate_pem=profiles.certificate_to_pem(built.certificate),
        private_key=Sealed.of(key_to_pem(built.key)),
        parent=parent,
        crl_url=built.crl_url,
    )


def _checked(common_name: str, crl_url: str, identifier: uuid.UUID) -> tuple[str, str]:
    """Both values, clean. Raises ValidationError with all errors."""
    errors = {}
    name = url = ""
    try:
        name = clean_common_name(common_name)
    except ValidationError as error:
        errors["common_name"] = error.error_list
    try:
        url = clean_crl_url(crl_url, authority_id=identifier)
    except ValidationError as error:
        errors["crl_url"] = error.error_list
    if errors:
        raise ValidationError(errors)
    return name, url
