"""What may stand in the site settings. Refusals are django ValidationErrors."""

import ipaddress
import re
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator, validate_email
from django.utils.deconstruct import deconstructible

from aegis_site.kernel.certificates import describe

MAX_ADDRESS_CHARACTERS = 254  # RFC 5321 section 4.5.3.1.3, without the angle brackets
MAX_RECIPIENTS = 50
MAX_CA_BYTES = 256 * 1024
MAX_CA_CERTIFICATES = 50
MAX_PASSWORD_CHARACTERS = 500

_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")


@deconstructible
@dataclass
class Within:
    """Admits the whole numbers from `low` to `high`, both included."""

    low: int
    high: int

    def __call__(self, number: int) -> None:
        if not self.low <= number <= self.high:
            raise ValidationError(f"Between {self.low} and {self.high}.", code="out_of_range")


def validate_printable(text: str) -> None:
    """Refuses control characters, which would end a line of a mail's header."""
    if not text.isprintable():
        raise ValidationError("Printable characters only.", code="invalid")


def validate_credential(text: str) -> None:
    """What smtplib can send when it signs in."""
    if not (text.isascii() and text.isprintable()):
        raise ValidationError("Printable ASCII characters only.", code="invalid")


def clean_smtp_host(text: str) -> str:
    """A lower-case DNS name or an IP address without brackets, or nothing."""
    name = text.strip().removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(name)) if "%" not in name else _refuse_host(name)
    except ValueError:
        pass  # not an address
    name = name.removesuffix(".").lower()
    if name and not _HOST_NAME.fullmatch(name):
        _refuse_host(name)
    return name


def _refuse_host(name: str) -> str:
    raise ValidationError(f"{name[:100]!r} is neither a DNS name nor an IP address.", code="invalid")


def clean_mail_address(text: str) -> str:
    """One address without a display name, such as ops@example.com, or nothing."""
    address = text.strip()
    if not address:
        return ""
    if len(address) > MAX_ADDRESS_CHARACTERS:
        raise ValidationError(f"A mail address has at most {MAX_ADDRESS_CHARACTERS} characters.", code="max_length")
    # Beyond ASCII a server would need SMTPUTF8 (RFC 6531), which many do not have.
    if not address.isascii():
        raise ValidationError("ASCII characters only: write the domain as xn--….", code="invalid")
    try:
        validate_email(address)
    except ValidationError as error:
        raise ValidationError(f"{address[:100]!r} is not a mail address.", code="invalid") from error
    return address


def clean_recipients(addresses: object) -> list[str]:
    """Mail addresses in order, without repetition."""
    if not isinstance(addresses, list | tuple) or not all(isinstance(address, str) for address in addresses):
        raise ValidationError("A list of mail addresses.", code="invalid")
    if len(addresses) > MAX_RECIPIENTS:
        raise ValidationError(f"At most {MAX_RECIPIENTS} recipients.", code="max_length")
    cleaned: dict[str, None] = {}
    problems: list[ValidationError] = []
    for address in addresses:
        try:
            cleaned[clean_mail_address(address)] = None
        except ValidationError as error:
            problems.extend(error.error_list)
    if problems:
        raise ValidationError(problems)
    return [address for address in cleaned if address]


def clean_ca_certificate(text: str) -> str:
    """CA certificates as PEM without the text around them, or nothing."""
    if not text.strip():
        return ""
    if len(text) > MAX_CA_BYTES:
        raise ValidationError(f"At most {MAX_CA_BYTES // 1024} KiB.", code="max_length")
    if "PRIVATE KEY" in text:
        raise ValidationError("This holds a private key: certificates only.", code="private_key")
    try:
        certificates = x509.load_pem_x509_certificates(text.encode())
        for certificate in certificates:
            describe(certificate)
        pem = "".join(certificate.public_bytes(Encoding.PEM).decode("ascii") for certificate in certificates)
        ssl.create_default_context(cadata=pem)
    except (ValueError, ssl.SSLError) as error:
        raise ValidationError("These are no certificates in PEM.", code="bad_pem") from error
    if len(certificates) > MAX_CA_CERTIFICATES:
        raise ValidationError(f"At most {MAX_CA_CERTIFICATES} certificates.", code="max_length")
    return pem


def clean_public_url(text: str) -> str:
    """Scheme, host and perhaps a port and a path, without the slash at the end; or nothing."""
    url = text.strip().rstrip("/")
    if not url:
        return ""
    try:
        URLValidator(schemes=["https", "http"])(url)
        parts = urlsplit(url)
    except (ValidationError, ValueError) as error:
        raise ValidationError("Enter a URL such as https://aegis.example.com.", code="invalid") from error
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValidationError("Without a username, a query and a fragment.", code="invalid")
    return url
