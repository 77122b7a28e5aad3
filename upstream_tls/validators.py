"""What may stand in the settings of upstream TLS. Refusals are django ValidationErrors."""

import base64
import binascii
import ipaddress
import re

from django.core.exceptions import ValidationError

from localca.validators import clean_dns_name
from upstream_tls.models import TLSVersion
from upstream_tls.tls.ciphers import UnusableCiphers, check_ciphers

MAX_NAME_CHARACTERS = 253
MAX_URI_CHARACTERS = 2048  # SPIFFE-ID section 2.3
MAX_CIPHERS_CHARACTERS = 500
MAX_PROTOCOLS = 10
MAX_PINS = 20
MAX_VERIFY_DEPTH = 10
MAX_REASON_CHARACTERS = 500

# SPIFFE-ID sections 2.1 and 2.2: a trust domain, then segments without empty, `.` and `..`.
_SPIFFE_ID = re.compile(r"spiffe://[a-z0-9._-]{1,255}(/(?!\.{1,2}(/|$))[A-Za-z0-9._-]+)*")

# RFC 7301 section 3.1: 1 to 255 octets. Registered names are printable ASCII without white space.
_PROTOCOL = re.compile(r"[!-~]{1,255}")
# Whoever offers one of these and is taken at its word would get HTTP/1.1 instead.
_OTHER_PROTOCOLS = re.compile(r"(h[23]|spdy|hq)\b.*|h2c")

_PIN_PREFIX = re.compile(r"^sha256//?", re.IGNORECASE)
_PIN_BYTES = 32


def clean_server_name(text: str) -> str:
    """A DNS name as lower-case A-labels, or nothing. TLS has no server name for addresses (RFC 6066 section 3)."""
    name = text.strip().removesuffix(".")
    if not name:
        return ""
    if len(name) > MAX_NAME_CHARACTERS:
        raise ValidationError(f"A DNS name has at most {MAX_NAME_CHARACTERS} characters.", code="max_length")
    if name.startswith("*."):
        raise ValidationError("A server name is one DNS name, without a wildcard.", code="invalid")
    return clean_dns_name(name)


def clean_verify_name(text: str) -> str:
    """A DNS name, an IP address without brackets, a SPIFFE ID, or nothing."""
    name = text.strip()
    if "://" in name:
        return _clean_spiffe_id(name)
    try:
        address = ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return clean_server_name(name)
    if "%" in name:
        raise ValidationError("No certificate names an address with a zone.", code="invalid")
    return str(address)


def clean_version(text: str) -> str:
    """A TLS version as `TLSVersion` spells it."""
    if text not in TLSVersion.values:
        raise ValidationError(f"Choose one of {', '.join(TLSVersion.values)}.", code="invalid_choice")
    return text


def check_version_range(minimum: str, maximum: str) -> None:
    """Both as `clean_version` returns them."""
    if minimum > maximum:
        raise ValidationError(f"The maximum, {maximum}, is below the minimum, {minimum}.", code="invalid")


def clean_ciphers(text: str) -> str:
    """An OpenSSL cipher list that was tried, or nothing."""
    ciphers = text.strip()
    if len(ciphers) > MAX_CIPHERS_CHARACTERS:
        raise ValidationError(f"A cipher list has at most {MAX_CIPHERS_CHARACTERS} characters.", code="max_length")
    if ciphers:
        try:
            check_ciphers(ciphers)
        except UnusableCiphers as error:
            raise ValidationError(str(error), code="invalid") from error
    return ciphers


def clean_alpn(protocols: tuple[str, ...]) -> list[str]:
    """The protocols to offer, in order and without repetition; none means that the extension is not sent."""
    if len(protocols) > MAX_PROTOCOLS:
        raise ValidationError(f"At most {MAX_PROTOCOLS} protocols can be offered.", code="max_length")
    cleaned: dict[str, None] = {}
    problems: list[ValidationError] = []
    for protocol in protocols:
        name = protocol.strip()
        if not _PROTOCOL.fullmatch(name):
            problems.append(ValidationError(f"{name[:50]!r} is not the name of a protocol.", code="invalid"))
        elif _OTHER_PROTOCOLS.fullmatch(name):
            problems.append(
                ValidationError(f"{name[:50]} cannot be offered: Aegis speaks HTTP/1.1 with upstreams.", code="invalid")
            )
        cleaned[name] = None
    if problems:
        raise ValidationError(problems)
    return list(cleaned)


def clean_pins(pins: tuple[str, ...]) -> list[str]:
    """sha256 digests of public keys as lower-case hex, from hex (colons allowed) or base64 (`sha256/` allowed)."""
    if len(pins) > MAX_PINS:
        raise ValidationError(f"At most {MAX_PINS} public keys can be pinned.", code="max_length")
    cleaned: dict[str, None] = {}
    problems: list[ValidationError] = []
    for pin in pins:
        digest = _digest(pin.strip())
        if digest is None:
            problems.append(
                ValidationError(
                    f"{pin.strip()[:70]!r} is not the sha256 of a public key in hex or base64.", code="invalid"
                )
            )
        else:
            cleaned[digest.hex()] = None
    if problems:
        raise ValidationError(problems)
    return list(cleaned)


def clean_reason(text: str) -> str:
    """One line for other operators, or nothing."""
    reason = text.strip()
    if len(reason) > MAX_REASON_CHARACTERS:
        raise ValidationError(f"A reason has at most {MAX_REASON_CHARACTERS} characters.", code="max_length")
    if not reason.isprintable():
        raise ValidationError("A reason is one line of printable characters.", code="invalid")
    return reason


def clean_verify_depth(depth: int | None) -> int | None:
    """How many intermediates may stand between the upstream's certificate and the trusted one; None: no limit."""
    if depth is not None and not 0 <= depth <= MAX_VERIFY_DEPTH:
        raise ValidationError(f"The verify depth is between 0 and {MAX_VERIFY_DEPTH}.", code="invalid")
    return depth


def _clean_spiffe_id(text: str) -> str:
    scheme, _, rest = text.partition("://")
    trust_domain, slash, path = rest.partition("/")
    # SPIFFE-ID section 2.3: scheme and trust domain are compared without regard to case, the path is not.
    uri = f"{scheme.lower()}://{trust_domain.lower()}{slash}{path}"
    if len(uri) > MAX_URI_CHARACTERS:
        raise ValidationError(f"A SPIFFE ID has at most {MAX_URI_CHARACTERS} characters.", code="max_length")
    if not _SPIFFE_ID.fullmatch(uri):
        raise ValidationError("Of URIs, only SPIFFE IDs such as spiffe://example.org/orders work.", code="invalid")
    return uri


def _digest(pin: str) -> bytes | None:
    if len(pin) > 200:
        return None
    text = _PIN_PREFIX.sub("", pin)
    try:
        digest = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        try:
            digest = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return None
    return digest if len(digest) == _PIN_BYTES else None
