"""What may stand in a certificate's subject and subject alternative names. Refusals are django ValidationErrors."""

import ipaddress
import re
import urllib.parse
import uuid
from collections.abc import Sequence

import idna
from cryptography import x509
from django.core.exceptions import ValidationError

from localca.lint.names import SPIFFE_ID

COMMON_NAME_MAX_CHARACTERS = 64  # ub-common-name, RFC 5280 appendix A.1
SUBJECT_ALT_NAMES_MAX = 100

# RFC 1123 labels; a wildcard stands for the whole left-most label only (RFC 9525 section 6.3).
_DNS_NAME = re.compile(r"(\*\.)?(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
_DNS_NAME_MAX_CHARACTERS = 253

# RFC 3986 section 4.3 without the grammar of what follows the scheme; a SPIFFE ID has at most 2048 bytes.
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")
_URI_MAX_CHARACTERS = 2048

CRL_URL_MAX_CHARACTERS = 500
AUTHORITY_ID_PLACEHOLDER = "{id}"


def clean_common_name(text: str) -> str:
    """A subject's common name without surrounding white space."""
    name = text.strip()
    if not name:
        raise ValidationError("Enter a common name.", code="required")
    # RFC 5280 counts characters, but cryptography refuses what has more bytes.
    if (size := len(name.encode("utf-8", "replace"))) > COMMON_NAME_MAX_CHARACTERS:
        unit = "characters" if name.isascii() else "bytes in UTF-8"
        raise ValidationError(
            f"A common name has at most {COMMON_NAME_MAX_CHARACTERS} {unit}, this one has {size}.", code="max_length"
        )
    if not name.isprintable():
        raise ValidationError("A common name holds printable characters only.", code="invalid")
    return name


def clean_note(text: str) -> str:
    """One line about what a certificate was issued for; may be empty."""
    note = text.strip()
    if not note.isprintable():
        raise ValidationError("Printable characters only.", code="invalid")
    return note


def parse_subject_alt_name(text: str, *, may_be_uri: bool = False) -> x509.GeneralName:
    """`DNS:name` (also `DNS:*.name`), `IP:address`, and where it may be one, `URI:scheme:rest`."""
    kind, _, value = text.strip().partition(":")
    if kind.upper() == "DNS":
        return x509.DNSName(clean_dns_name(value))
    if kind.upper() == "IP":
        try:
            return x509.IPAddress(ipaddress.ip_address(value.strip()))
        except ValueError as error:
            raise ValidationError(f"{value.strip()!r} is not an IP address.", code="invalid") from error
    if may_be_uri and kind.upper() == "URI":
        return x509.UniformResourceIdentifier(clean_uri(value))
    kinds = "none of DNS:name, IP:address and URI:uri" if may_be_uri else "neither DNS:name nor IP:address"
    raise ValidationError(f"{text!r} is {kinds}.", code="invalid")


def clean_uri(text: str) -> str:
    """An absolute URI, such as a SPIFFE ID. RFC 5280 section 4.2.1.6 wants a scheme and something behind it."""
    uri = text.strip()
    if len(uri) > _URI_MAX_CHARACTERS:
        raise ValidationError(f"A URI has at most {_URI_MAX_CHARACTERS} characters.", code="max_length")
    try:
        is_uri = _URI.fullmatch(uri) is not None and bool(urllib.parse.urlsplit(uri))
    except ValueError:
        is_uri = False
    if not is_uri:
        raise ValidationError(f"{uri!r} is not an absolute URI.", code="invalid")
    if uri.lower().startswith("spiffe:") and not SPIFFE_ID.fullmatch(uri):
        raise ValidationError(f"{uri!r} is no SPIFFE ID, such as spiffe://example.org/orders.", code="invalid")
    return uri


def clean_crl_url(text: str, *, authority_id: uuid.UUID) -> str:
    """Where a CA's revocation list is found, as certificates say it; may be empty. RFC 5280 section 4.2.1.13.

    `{id}` stands for the id of the CA, which nobody knows before it is made.
    """
    url = text.strip()
    if not url:
        return ""
    if unknown := [found for found in re.findall(r"\{[^{}]*\}|[{}]", url) if found != AUTHORITY_ID_PLACEHOLDER]:
        message = f"{unknown[0]!r} stands for nothing here: the one placeholder is {AUTHORITY_ID_PLACEHOLDER}."
        raise ValidationError(message, code="unknown_placeholder")
    url = url.replace(AUTHORITY_ID_PLACEHOLDER, str(authority_id))
    if len(url) > CRL_URL_MAX_CHARACTERS:
        raise ValidationError(f"A URL here has at most {CRL_URL_MAX_CHARACTERS} characters.", code="max_length")
    try:
        parts = urllib.parse.urlsplit(clean_uri(url))
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        is_url = is_url and not parts.fragment and parts.port != 0
    except (ValidationError, ValueError):
        is_url = False
    if not is_url:
        raise ValidationError(f"{url!r} is not an http or https URL.", code="invalid")
    return url


def clean_dns_name(text: str) -> str:
    """A DNS name as lower-case A-labels, with or without `*.` in front."""
    name = text.strip()
    try:
        name = name.lower() if name.isascii() else _to_a_labels(name)
    except idna.IDNAError as error:
        raise ValidationError(f"{text.strip()!r} is not a DNS name.", code="invalid") from error
    # An all-numeric last label is an IPv4 address (RFC 3696 section 2), which peers never compare with DNS names.
    is_address = name.rpartition(".")[2].isdigit()
    if is_address or len(name) > _DNS_NAME_MAX_CHARACTERS or not _DNS_NAME.fullmatch(name):
        raise ValidationError(f"{text.strip()!r} is not a DNS name.", code="invalid")
    return name


def parse_subject_alt_names(texts: Sequence[str], *, may_be_uris: bool = False) -> list[x509.GeneralName]:
    """The names of a certificate, in order and without repetition. All errors at once."""
    if not texts:
        raise ValidationError("Enter at least one DNS name or IP address.", code="required")
    if len(texts) > SUBJECT_ALT_NAMES_MAX:
        raise ValidationError(f"A certificate has at most {SUBJECT_ALT_NAMES_MAX} names.", code="max_length")
    names: dict[x509.GeneralName, None] = {}
    problems: list[ValidationError] = []
    for text in texts:
        try:
            names[parse_subject_alt_name(text, may_be_uri=may_be_uris)] = None
        except ValidationError as problem:
            problems.append(problem)
    uris = [str(name.value) for name in names if isinstance(name, x509.UniformResourceIdentifier)]
    if len(uris) > 1 and any(uri.lower().startswith("spiffe:") for uri in uris):
        problems.append(ValidationError("A SPIFFE ID stands beside no other URI.", code="invalid"))
    if problems:
        raise ValidationError(problems)
    return list(names)


def _to_a_labels(name: str) -> str:
    prefix = "*." if name.startswith("*.") else ""
    return prefix + idna.encode(name.removeprefix("*."), uts46=True).decode("ascii")
