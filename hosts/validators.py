"""What may stand in the fields of a host. Refusals are django ValidationErrors."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.utils.deconstruct import deconstructible

from localca.validators import clean_dns_name

MAX_NAME_CHARACTERS = 253

# What the browsers' preload list recommends; who errs waits for it to pass.
MAX_HSTS_AGE_S = 63_072_000

MAX_TAGS = 20
MAX_TAG_CHARACTERS = 40
TAG_PATTERN = "[a-z0-9]([a-z0-9._:=/-]*[a-z0-9])?"
_TAG = re.compile(TAG_PATTERN)

# Container platforms name services with underscores, which DNS itself allows (RFC 2181 section 11).
_SERVICE_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")


@deconstructible
@dataclass
class Between:
    """Admits the numbers from `low` to `high`, both included. NaN, which is neither, is refused."""

    low: float
    high: float
    unit: str = ""

    def __call__(self, number: float) -> None:
        if not self.low <= number <= self.high:
            message = f"Between {self.low:n} and {self.high:n} {self.unit}".rstrip()
            # Not "invalid": fields have words of their own for that code, and would put them in this place.
            raise ValidationError(f"{message}.", code="out_of_range")


def validate_printable(text: str) -> None:
    """Refuses control characters, which no list or log could show."""
    if not text.isprintable():
        raise ValidationError("Printable characters only.", code="invalid")


def clean_domain(text: str) -> str:
    """A domain of a host: lower-case A-labels with an optional `*.`, or an IPv4 address.

    An IPv4 address is what a browser sends as Host when a person types it into the address bar.
    """
    name = text.strip().removesuffix(".")
    if len(name) > MAX_NAME_CHARACTERS:
        raise ValidationError(f"A domain has at most {MAX_NAME_CHARACTERS} characters.", code="max_length")
    if is_ipv4(name):
        return name
    try:
        return clean_dns_name(name)
    except ValidationError as error:
        raise ValidationError(f"{name!r} is not a domain name.", code="invalid") from error


def clean_address(text: str) -> str:
    """The address of an upstream: a lower-case DNS name or an IP address, without brackets."""
    address = text.strip().removesuffix(".")
    if len(address) > MAX_NAME_CHARACTERS:
        raise ValidationError(f"An address has at most {MAX_NAME_CHARACTERS} characters.", code="max_length")
    if "/" in address:
        raise ValidationError("Enter the address alone, without scheme or path.", code="invalid")
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    if "%" not in bare:
        try:
            return str(ipaddress.ip_address(bare))
        except ValueError:
            pass  # not an IP address: perhaps a name
    if address.count(":") == 1:
        raise ValidationError("Enter the address alone; the port has its own field.", code="invalid")
    name = bare.lower()
    if _SERVICE_NAME.fullmatch(name) and not name.rpartition(".")[2].isdigit():
        return name
    try:
        return _without_wildcard(clean_dns_name(bare))
    except ValidationError as error:
        raise ValidationError(f"{address!r} is neither a DNS name nor an IP address.", code="invalid") from error


def clean_tags(names: Iterable[str]) -> list[str]:
    """Tags of a host: lower-case, sorted, each once. Raises ValidationError with every error."""
    tags = sorted({name.strip().lower() for name in names})
    errors = [
        ValidationError(f"{tag!r} is no tag: letters, digits and . _ : = / - between them.", code="invalid")
        for tag in tags
        if not _TAG.fullmatch(tag)
    ]
    errors += [
        ValidationError(f"A tag has at most {MAX_TAG_CHARACTERS} characters.", code="max_length")
        for tag in tags
        if len(tag) > MAX_TAG_CHARACTERS
    ]
    if len(tags) > MAX_TAGS:
        errors.append(ValidationError(f"A host has at most {MAX_TAGS} tags.", code="max_length"))
    if errors:
        raise ValidationError(errors)
    return tags


def clean_hsts_max_age(seconds: int) -> int:
    """A max-age for Strict-Transport-Security; 0: none is sent."""
    if not 0 <= seconds <= MAX_HSTS_AGE_S:
        raise ValidationError(f"Between 0 and {MAX_HSTS_AGE_S} seconds, which are two years.", code="invalid")
    return seconds


def _without_wildcard(name: str) -> str:
    if name.startswith("*"):
        raise ValidationError("An address has no wildcard.", code="invalid")
    return name


def is_ipv4(text: str) -> bool:
    """Whether a domain of a host is an IPv4 address."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
