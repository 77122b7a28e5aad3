"""Field rules that requests and responses share (RFC 9110 sections 5.6.1 and 7.6.1).

Laws of this module: a field section is the list of its lines as bytes, in the order of arrival; llhttp has accepted
every line before it gets here; names are compared in lower case; what is meant for one connection goes no further.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

# What of a message is judged here instead of being passed on, by lower-case name; with repeated fields all values.
Judged = dict[bytes, list[bytes]]

# RFC 9110 section 7.6.1, and the unregistered Proxy-Connection that browsers once sent.
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"proxy-authenticate",
        b"proxy-authorization",
    )
)

MAX_FIELDS = 100

# The one protocol that a connection may be upgraded to. Whatever else Upgrade names ends here: behind an `h2c` that was
# passed on, a client would speak with the upstream past every rule of this proxy.
WEBSOCKET = b"websocket"

# The fields of an upgrade, of the request as well as of the 101 (RFC 9110 section 7.8).
UPGRADE_LINES = (b"Connection: Upgrade", b"Upgrade: websocket")

# RFC 9110 sections 5.1 and 5.5, as strict as llhttp, for lines that it does not get to see: trailers and rules.
_NAME = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*"
is_field_name = re.compile(_NAME).fullmatch
is_field_value = re.compile(_VALUE).fullmatch
is_field_line = re.compile(_NAME + b":" + _VALUE).fullmatch

# 2**63 - 1 has 19 digits: what every peer can count to; more is an attack on somebody's parser.
MAX_LENGTH_DIGITS = 18


def set_apart(lines: list[bytes], names: frozenset[bytes]) -> tuple[list[bytes], Judged]:
    """`(kept, judged)`: the lines whose name is not in `names` as they came, and the values of the others by name."""
    kept = []
    judged: Judged = {}
    for line in lines:
        name, _, value = line.partition(b":")
        lower = name.lower()
        if lower in names:
            judged.setdefault(lower, []).append(value.strip(b" \t"))
        else:
            kept.append(line)
    return kept, judged


def field_name(line: bytes) -> bytes:
    """The name in a field line, in lower case."""
    return line.partition(b":")[0].lower()


def cgi_name(line: bytes) -> bytes:
    """The name in a field line as CGI and WSGI tell it apart: `X_Name` and `X-Name` are the same to them."""
    return field_name(line).replace(b"_", b"-")


def list_members(values: Iterable[bytes]) -> list[bytes]:
    """The members of a comma-separated list field, lower case, over all its field lines; empty ones are left out."""
    return [member for value in values for part in value.split(b",") if (member := part.strip(b" \t").lower())]


def connection_options(values: list[bytes]) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """`(options, named)`: the options of all Connection lines, and those of them that name fields to remove.

    What is hop-by-hop anyway is not among the latter.
    """
    return _options(values[0] if len(values) == 1 else b",".join(values))


@lru_cache(maxsize=64)  # nearly all messages have one of a few values
def _options(value: bytes) -> tuple[frozenset[bytes], frozenset[bytes]]:
    options = frozenset(list_members([value]))
    return options, options - HOP_BY_HOP - {b"close"}


def without(lines: list[bytes], names: frozenset[bytes]) -> list[bytes]:
    """The lines whose name is not in `names`."""
    return [line for line in lines if line.partition(b":")[0].lower() not in names]


def content_length(values: list[bytes]) -> int | None:
    """The value of Content-Length; None when it is repeated or not a plain decimal number (RFC 9112 section 6.3)."""
    if len(values) != 1 or not values[0].isdigit() or len(values[0]) > MAX_LENGTH_DIGITS:
        return None
    return int(values[0])
