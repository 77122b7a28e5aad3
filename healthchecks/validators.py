"""What may stand in the fields of a health check. Refusals are django ValidationErrors.

Laws of this module: nothing that is admitted here can end a line of the request that a check sends; no credential is
stored in clear, so none is admitted.
"""

import re
from typing import Any

from django.core.exceptions import ValidationError

from aegis_site.kernel.masking import is_sensitive_field

MAX_PATH_CHARACTERS = 2000
MAX_BODY_CHARACTERS = 500
MAX_HEADERS = 20
MAX_NAME_CHARACTERS = 100
MAX_VALUE_CHARACTERS = 1000
MAX_STATUS_CHARACTERS = 100

StatusRanges = tuple[tuple[int, int], ...]

# RFC 9112 section 3.2.1, origin-form: an absolute path and a query; no fragment, no white space.
_PATH = re.compile(r"/[!-\"$-~]*")
# RFC 9110 section 7.2: a name or an address, perhaps a port.
_HOST_FIELD = re.compile(r"(?:[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
# RFC 9110 sections 5.6.2 and 5.5, the latter without obs-text and tabs.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_STATUSES = re.compile(r"\s*([1-5][0-9]{2})\s*(?:-\s*([1-5][0-9]{2})\s*)?")

# What frames the request, names the host, or is sent by every check.
_RESERVED = frozenset(
    ("host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "expect", "keep-alive")
)


def parse_statuses(text: str) -> StatusRanges:
    """The ranges of `200-399` or `200,204,300-308`. Raises ValidationError."""
    ranges = []
    for part in text.split(","):
        found = _STATUSES.fullmatch(part)
        low, high = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        # An interim response (RFC 9110 section 15.2) is never the answer.
        if low > high or low < 200:
            raise ValidationError("Statuses from 200 to 599, such as 200-399 or 200,204.", code="invalid")
        ranges.append((low, high))
    return tuple(ranges)


def validate_statuses(text: str) -> None:
    """Refuses what `parse_statuses` cannot read."""
    parse_statuses(text)


def validate_path(path: str) -> None:
    """Refuses what is no path with an optional query."""
    if not _PATH.fullmatch(path):
        message = "A path begins with a slash and has printable ASCII characters only, no spaces and no #."
        raise ValidationError(message, code="invalid")


def validate_host_field(text: str) -> None:
    """Refuses what is no value of a Host field. Empty is as traffic sends it."""
    if text and not _HOST_FIELD.fullmatch(text):
        raise ValidationError("A host name or an IP address, perhaps with a port.", code="invalid")


def validate_body_text(text: str) -> None:
    """Refuses characters that nobody could have meant."""
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValidationError("This has characters that no text has.", code="invalid")


def validate_headers(headers: Any) -> None:
    """Refuses what is no list of `{"name", "value"}`, with every error."""
    if len(headers) > MAX_HEADERS:
        raise ValidationError(f"At most {MAX_HEADERS} header fields.", code="max_length")
    errors = [
        ValidationError(f"{_shown(header['name'])}: {problem.message}", code=problem.code)
        for header in headers
        for problem in _problems(header["name"], header["value"])
    ]
    if errors:
        raise ValidationError(errors)


def _problems(name: str, value: str) -> list[ValidationError]:
    if len(name) > MAX_NAME_CHARACTERS or not _TOKEN.fullmatch(name):
        return [ValidationError("a field name has letters, digits and hyphens, and no spaces.", code="invalid")]
    if name.lower() in _RESERVED:
        return [ValidationError("the check itself decides about this field.", code="reserved")]
    if len(value) > MAX_VALUE_CHARACTERS or not _VALUE.fullmatch(value):
        message = f"a value is one line of at most {MAX_VALUE_CHARACTERS} printable ASCII characters."
        return [ValidationError(message, code="invalid")]
    if is_sensitive_field(name, value):
        message = "this looks like a credential, and health checks have no place to keep one."
        return [ValidationError(message, code="sensitive")]
    return []


def _shown(name: str) -> str:
    """A refused name may be of any length and hold anything."""
    return name[:MAX_NAME_CHARACTERS].encode("ascii", "replace").decode() or "(no name)"
