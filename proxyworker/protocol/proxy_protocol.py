"""The PROXY protocol, versions 1 and 2: whose connection a proxy in front passes on, told ahead of its first byte.

Laws of this module (HAProxy's doc/proxy-protocol.txt):
- Section 2: "The receiver MUST be configured to only receive the protocol described in this specification and MUST not
  try to guess whether the protocol header is present or not." So anything else is malformed.
- The header is read strictly and only as far as it goes; every buffer is limited by the header's own.
- LOCAL, UNKNOWN, and addresses that are none of the Internet's stand for the connection itself: its own peer.
"""

from ipaddress import IPv4Address, IPv6Address

from proxyworker.errors import ProxyError

V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"

# Section 2.1: "a 108-byte buffer is always enough to store all the line and a trailing zero".
MAX_V1_BYTES = 107
# As in nginx. What follows the addresses (TLVs) is a few hundred bytes where it is used.
MAX_V2_BYTES = 4096

_V1_START = b"PROXY "
_V2_FIXED_BYTES = 16
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6, _UNIX_STREAM = 0x00, 0x11, 0x21, 0x31
# Section 2.2: how many bytes the addresses of a family take.
_ADDRESS_BYTES = {_UNSPECIFIED: 0, _TCP4: 12, _TCP6: 36, _UNIX_STREAM: 216}


class MalformedProxyHeader(ProxyError):
    """The connection does not begin with a PROXY protocol header. The text is for operators."""


class ProxyHeaderReader:
    """Reads one header. `source` is the client's address when it is complete; empty: the connection's own peer."""

    __slots__ = ("_buffer", "source")

    def __init__(self) -> None:
        self._buffer = b""
        self.source = ""

    def feed(self, data: bytes) -> bytes | None:
        """What follows the header; None: it is not complete. Raises MalformedProxyHeader, which ends the reading."""
        self._buffer = data = self._buffer + data
        size = len(data)
        if data[: len(_V1_START)] == _V1_START[:size]:
            return self._read_v1(data)
        if data[: len(V2_SIGNATURE)] == V2_SIGNATURE[:size]:
            return self._read_v2(data)
        raise MalformedProxyHeader("no PROXY protocol header")

    def _read_v1(self, data: bytes) -> bytes | None:
        end = data.find(b"\r\n", 0, MAX_V1_BYTES)
        if end < 0:
            if len(data) >= MAX_V1_BYTES:
                raise MalformedProxyHeader(f"version 1 line over {MAX_V1_BYTES} bytes")
            return None
        words = data[:end].split(b" ")
        # Section 2.1: for UNKNOWN "the receiver must ignore anything presented before the CRLF is found".
        if words[1] != b"UNKNOWN":
            self.source = _v1_source(words)
        return data[end + 2 :]

    def _read_v2(self, data: bytes) -> bytes | None:
        if len(data) < _V2_FIXED_BYTES:
            return None
        command, family = data[12], data[13]
        end = _V2_FIXED_BYTES + int.from_bytes(data[14:16], "big")
        if end > MAX_V2_BYTES:
            raise MalformedProxyHeader(f"version 2 header over {MAX_V2_BYTES} bytes")
        if command not in (_LOCAL, _PROXY):
            raise MalformedProxyHeader("unknown version or command")
        # Section 2.2: with LOCAL "the receiver [...] must discard the protocol block including the family".
        if command == _PROXY:
            addresses = _ADDRESS_BYTES.get(family)
            if addresses is None:
                raise MalformedProxyHeader("unknown address family or transport other than a stream")
            if end < _V2_FIXED_BYTES + addresses:
                raise MalformedProxyHeader("addresses cut short")
        if len(data) < end:
            return None
        if command == _PROXY:
            self.source = _v2_source(family, data)
        return data[end:]


def _v1_source(words: list[bytes]) -> str:
    kind = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}.get(words[1])
    if kind is None or len(words) != 6:
        raise MalformedProxyHeader("malformed version 1 line")
    try:
        texts = [word.decode("ascii") for word in words[2:]]
        source, _ = kind(texts[0]), kind(texts[1])
    except ValueError as error:
        raise MalformedProxyHeader("malformed address in a version 1 line") from error
    if "%" in texts[0] + texts[1]:
        raise MalformedProxyHeader("address with a zone in a version 1 line")
    if not all(_is_port(text) for text in texts[2:]):
        raise MalformedProxyHeader("malformed port in a version 1 line")
    return str(source)


def _is_port(text: str) -> bool:
    """Section 2.1: "a decimal integer between 0 and 65535", which "must not" have leading zeroes."""
    return text.isdigit() and len(text) <= 5 and int(text) <= 65_535 and (text == "0" or text[0] != "0")


def _v2_source(family: int, data: bytes) -> str:
    if family == _TCP4:
        return str(IPv4Address(data[16:20]))
    if family == _TCP6:
        return str(IPv6Address(data[16:32]))
    return ""
