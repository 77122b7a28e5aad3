"""From what somebody asks to have certified to what a certificate will say.

Laws of this module: nothing is signed or stored here; all errors are raised at once, each at its field.
"""

import datetime
import ipaddress
import math
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID
from django.core.exceptions import ValidationError
from django.utils import timezone

from localca import profiles
from localca.keys import KeyType
from localca.models import CertificateAuthority, IssuedCertificate, Purpose
from localca.permitted import CLIENT_AUTH, SERVER_AUTH, NameConstraints, purposes_of
from localca.signing_requests import SigningRequest
from localca.validators import clean_common_name, clean_dns_name, clean_note, parse_subject_alt_names

Errors = dict[str, list[ValidationError]]

VALIDITY_DAYS_MAX = profiles.LEAF_VALIDITY_MAX.days

EXTENDED_KEY_USAGES = {Purpose.CLIENT: CLIENT_AUTH, Purpose.SERVER: SERVER_AUTH}

# The code of what the CA's own certificate, or one above, does not permit.
NOT_PERMITTED = "not_permitted"

_SUBJECT_MAX_CHARACTERS = 255  # the column's


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to certify.

    `subject_alt_names` are `DNS:name`, `IP:address` and, for clients, `URI:uri`. With a `csr` (PEM) its key is
    certified and none is made; `names_from_csr` takes from it what this order leaves empty. `validity_days` None means
    397, or less when the CA ends before that.
    """

    purpose: Purpose
    common_name: str = ""
    subject_alt_names: tuple[str, ...] = ()
    validity_days: int | None = None
    key_type: KeyType = KeyType.EC_P256
    issued_for: str = ""
    csr: str = ""
    names_from_csr: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a certificate will say, every value checked."""

    purpose: Purpose
    common_name: str
    names: list[x509.GeneralName]
    validity: datetime.timedelta
    issued_for: str
    record_id: uuid.UUID
    renewed_from: IssuedCertificate | None = None


def content_of(order: Order, request: SigningRequest | None, *, authority: CertificateAuthority) -> Content:
    """Every value of an order, checked. Raises ValidationError with all errors."""
    errors: Errors = {}
    record_id = uuid.uuid4()
    path = authority.certificates
    common_name, alt_names = order.common_name, order.subject_alt_names
    if request and order.names_from_csr:
        with _collected(errors, "csr"):
            common_name = common_name or request.common_name()
            alt_names = alt_names or request.subject_alt_names()
    subject, names, note, validity = "", list[x509.GeneralName](), "", profiles.LEAF_VALIDITY
    with _collected(errors, "common_name"):
        subject = clean_common_name(common_name)
    with _collected(errors, "subject_alt_names"):
        names = _names(order.purpose, subject, alt_names, record_id, constraints=NameConstraints(path))
    with _collected(errors, "validity_days"):
        validity = _validity(order.validity_days, authority)
    with _collected(errors, "issued_for"):
        note = clean_note(order.issued_for)
    content = Content(
        purpose=order.purpose,
        common_name=subject,
        names=names,
        validity=validity,
        issued_for=note,
        record_id=record_id,
    )
    refused = not_permitted(content, authority=authority)
    if not alt_names and (derived := refused.pop("subject_alt_names", None)):
        refused.setdefault("common_name", derived)
    if errors := refused | errors:
        raise ValidationError(errors)
    return content


def not_permitted(content: Content, *, authority: CertificateAuthority) -> Errors:
    """What the CA's certificate, or one above, does not permit: by `purpose`, `common_name`, `subject_alt_names`."""
    path = authority.certificates
    errors: Errors = {}
    if EXTENDED_KEY_USAGES[content.purpose] not in purposes_of(path):
        text = f"{authority}, or a CA above it, is not for {content.purpose} certificates (extended key usage)."
        errors["purpose"] = [ValidationError(text, code=NOT_PERMITTED)]
    if not content.common_name:
        return errors
    constraints = NameConstraints(path)
    subject = constraints.subject_of(content.common_name)
    for refusal in constraints.refusals(subject, content.names):
        field_name = "common_name" if refusal.is_subject else "subject_alt_names"
        errors.setdefault(field_name, []).append(ValidationError(str(refusal), code=NOT_PERMITTED))
    if len(subject.rfc4514_string()) > _SUBJECT_MAX_CHARACTERS:
        text = f"With what the CA demands before it, the subject has more than {_SUBJECT_MAX_CHARACTERS} characters."
        errors["common_name"] = [ValidationError(text, code="max_length")]
    return errors


def _names(
    purpose: Purpose,
    common_name: str,
    alt_names: tuple[str, ...],
    record_id: uuid.UUID,
    *,
    constraints: NameConstraints,
) -> list[x509.GeneralName]:
    if purpose == Purpose.CLIENT and not alt_names:
        candidates = list(_names_of_client(common_name, record_id))
        if not constraints or not common_name:
            return candidates[:1]
        subject = constraints.subject_of(common_name)
        # When none is permitted, it is said of the likeliest.
        return [next((name for name in candidates if not constraints.refusals(subject, [name])), candidates[0])]
    return parse_subject_alt_names(alt_names, may_be_uris=purpose == Purpose.CLIENT)


def _validity(days: int | None, authority: CertificateAuthority) -> datetime.timedelta:
    """Asked for explicitly, it is granted in full or refused. Raises ValidationError."""
    if days is None:
        return profiles.LEAF_VALIDITY
    if not 1 <= days <= VALIDITY_DAYS_MAX:
        message = f"A certificate is valid for 1 to {VALIDITY_DAYS_MAX} days, not for {days}."
        raise ValidationError(message, code="out_of_range")
    validity = datetime.timedelta(days=days)
    end = authority.facts.not_after
    if timezone.now() + validity > end:
        message = f"The CA itself is valid until {end:%Y-%m-%d} only."
        raise ValidationError(message, code="beyond_authority")
    return validity


def content_of_successor(certificate: IssuedCertificate) -> Content:
    """As the certificate, for a validity of the same length.

    One that ended with its CA got less than the usual: for its successor, the CA that issues now decides.
    """
    old = certificate.certificate
    is_cut_short = old.not_valid_after_utc == min(one.facts.not_after for one in certificate.authority.path)
    granted = old.not_valid_after_utc - old.not_valid_before_utc - profiles.BACKDATE
    if is_cut_short:
        granted = max(granted, profiles.LEAF_VALIDITY)
    days = min(max(math.ceil(granted / datetime.timedelta(days=1)), 1), VALIDITY_DAYS_MAX)
    return Content(
        purpose=Purpose(certificate.purpose),
        common_name=str(old.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value),
        names=list(old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value),
        validity=datetime.timedelta(days=days),
        issued_for=certificate.issued_for,
        record_id=uuid.uuid4(),
        renewed_from=certificate,
    )


def _names_of_client(common_name: str, record_id: uuid.UUID) -> Iterator[x509.GeneralName]:
    """What a client without names may be called, the likeliest first; all but the first only under constraints."""
    with suppress(ValueError):
        yield x509.IPAddress(ipaddress.ip_address(common_name))
    with suppress(ValidationError):
        yield x509.DNSName(clean_dns_name(common_name))
    yield x509.UniformResourceIdentifier(record_id.urn)


@contextmanager
def _collected(errors: Errors, field_name: str) -> Iterator[None]:
    """Keeps a ValidationError of the block under `field_name`."""
    try:
        yield
    except ValidationError as error:
        errors[field_name] = error.error_list
