"""What channels may be made of. Refusals are django ValidationErrors."""

import base64
import binascii
import re
import zoneinfo
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError

from aegis_site.kernel.notifications.kinds import EventKind

MAX_NAME_CHARACTERS = 100
# Of one maintenance window; the whole site needs no list.
MAX_WINDOW_HOSTS = 1000
TOO_MANY_HOSTS = f"At most {MAX_WINDOW_HOSTS} hosts. A window of more is one of the whole site, or several."
MAX_URL_CHARACTERS = 2000
MAX_SECRET_CHARACTERS = 500

# Standard Webhooks: "between 24 bytes (192 bits) and 64 bytes (512 bits)".
SIGNING_PREFIX = "whsec_"
_MIN_SIGNING_BYTES, _MAX_SIGNING_BYTES = 24, 64

_HOST = re.compile(r"[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")


def validate_events(kinds: object) -> None:
    """A list of kinds of events."""
    if not isinstance(kinds, list) or any(kind not in EventKind.values for kind in kinds):
        raise ValidationError(f"A list of {', '.join(EventKind.values)}.", code="invalid")
    if len(set(kinds)) != len(kinds):
        raise ValidationError("Each kind once.", code="invalid")


def validate_time_zone(name: str) -> None:
    """A name of the IANA time zone database."""
    if name not in zoneinfo.available_timezones():
        raise ValidationError("A time zone such as Europe/Berlin.", code="invalid")


def clean_url(text: str, *, needs_tls: bool) -> str:
    """An address to send to: ASCII, without username and fragment. http only where nothing secret goes there."""
    url = text.strip()
    if len(url) > MAX_URL_CHARACTERS:
        raise ValidationError(f"At most {MAX_URL_CHARACTERS} characters.", code="max_length")
    # The text is a secret: what is wrong with it is said without repeating it.
    problem = ValidationError("Enter a URL such as https://hooks.example.com/….", code="invalid")
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise problem
    try:
        parts = urlsplit(url)
        is_good = bool(
            parts.hostname and _HOST.fullmatch(parts.netloc.rpartition("@")[2].removesuffix(_port(parts.port)))
        )
    except ValueError:
        raise problem from None
    if parts.scheme not in ("http", "https") or not is_good:
        raise problem
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValidationError("Without a username and a fragment.", code="invalid")
    if needs_tls and parts.scheme != "https":
        raise ValidationError("Only https: the address or the token would travel in clear.", code="needs_tls")
    return url


def _port(port: int | None) -> str:
    return "" if port is None else f":{port}"


def shown_url(url: str) -> str:
    """Where it leads, without what is secret: path and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/…"[:300]


def validate_topic(url: str) -> None:
    """The address of ntfy ends with the topic."""
    if not re.fullmatch(r"(?:/[^/]+)*/[-_A-Za-z0-9]{1,64}", urlsplit(url).path) or urlsplit(url).query:
        raise ValidationError("The address of a topic, such as https://ntfy.sh/my-topic.", code="invalid")


def validate_token(text: str) -> None:
    """What an Authorization field takes."""
    if not re.fullmatch(rf"[!-~]{{1,{MAX_SECRET_CHARACTERS}}}", text):
        raise ValidationError("Printable ASCII characters without spaces.", code="invalid")


def signing_key(text: str) -> bytes:
    """The key of a signing secret as Standard Webhooks writes it: whsec_ and base64 of 24 to 64 bytes."""
    problem = ValidationError("Write it as whsec_ and the base64 of 24 to 64 random bytes.", code="invalid")
    if not text.startswith(SIGNING_PREFIX) or not text.isascii():
        raise problem
    try:
        key = base64.b64decode(text.removeprefix(SIGNING_PREFIX), validate=True)
    except binascii.Error:
        raise problem from None
    if not _MIN_SIGNING_BYTES <= len(key) <= _MAX_SIGNING_BYTES:
        raise problem
    return key
