"""The PROXY protocol header, versions 1 and 2."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyworker.protocol.proxy_protocol import (
    MAX_V1_BYTES,
    MAX_V2_BYTES,
    V2_SIGNATURE,
    MalformedProxyHeader,
    ProxyHeaderReader,
)

REST = b"GET / HTTP/1.1\r\n"
V4 = ipaddress.IPv4Address("192.0.2.7").packed + ipaddress.IPv4Address("10.0.0.1").packed + b"\x9c\x40\x01\xbb"
V6 = ipaddress.IPv6Address("2001:db8::7").packed + ipaddress.IPv6Address("2001:db8::1").packed + b"\x9c\x40\x01\xbb"
LONGEST_V1 = b"PROXY UNKNOWN " + b"f" * (MAX_V1_BYTES - 16) + b"\r\n"


def v2(command: int, family: int, payload: bytes) -> bytes:
    """A version 2 header."""
    return V2_SIGNATURE + bytes((command, family)) + len(payload).to_bytes(2, "big") + payload


VALID = {
    "v1, IPv4": (b"PROXY TCP4 192.0.2.7 10.0.0.1 40000 443\r\n", "192.0.2.7"),
    "v1, IPv6": (b"PROXY TCP6 2001:db8::7 2001:db8::1 0 65535\r\n", "2001:db8::7"),
    "v1, IPv6 in full": (b"PROXY TCP6 2001:0DB8:0:0:0:0:0:7 ::1 1 2\r\n", "2001:db8::7"),
    "v1, unknown": (b"PROXY UNKNOWN\r\n", ""),
    "v1, unknown with more": (b"PROXY UNKNOWN ffff::1 x y z\r\n", ""),
    "v1, longest": (LONGEST_V1, ""),
    "v2, IPv4": (v2(0x21, 0x11, V4), "192.0.2.7"),
    "v2, IPv6": (v2(0x21, 0x21, V6), "2001:db8::7"),
    "v2, IPv4 and TLVs": (v2(0x21, 0x11, V4 + b"\x01\x00\x02h2" + b"\x04\x00\x00"), "192.0.2.7"),
    "v2, unix": (v2(0x21, 0x31, b"/run/x.sock".ljust(216, b"\0")), ""),
    "v2, unspecified": (v2(0x21, 0x00, b""), ""),
    "v2, unspecified with more": (v2(0x21, 0x00, b"anything"), ""),
    "v2, local": (v2(0x20, 0x00, b""), ""),
    "v2, local whatever the family": (v2(0x20, 0xFF, b"abc"), ""),
    "v2, longest": (v2(0x21, 0x11, V4 + bytes(MAX_V2_BYTES - 16 - 12)), "192.0.2.7"),
}

INVALID = {
    "HTTP": REST,
    "TLS": b"\x16\x03\x01\x00\xc8",
    "v1, lower case": b"proxy TCP4 192.0.2.7 10.0.0.1 1 2\r\n",
    "v1, no family": b"PROXY \r\n",
    "v1, other family": b"PROXY UDP4 192.0.2.7 10.0.0.1 1 2\r\n",
    "v1, two spaces": b"PROXY TCP4  192.0.2.7 10.0.0.1 1 2\r\n",
    "v1, too few": b"PROXY TCP4 192.0.2.7 10.0.0.1 1\r\n",
    "v1, too many": b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3\r\n",
    "v1, leading zero of an address": b"PROXY TCP4 192.0.2.07 10.0.0.1 1 2\r\n",
    "v1, address of the other family": b"PROXY TCP4 ::1 ::1 1 2\r\n",
    "v1, destination": b"PROXY TCP4 192.0.2.7 10.0.0.256 1 2\r\n",
    "v1, zone": b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    "v1, leading zero of a port": b"PROXY TCP4 192.0.2.7 10.0.0.1 01 2\r\n",
    "v1, port too large": b"PROXY TCP4 192.0.2.7 10.0.0.1 1 65536\r\n",
    "v1, port with a sign": b"PROXY TCP4 192.0.2.7 10.0.0.1 +1 2\r\n",
    "v1, not ASCII": b"PROXY TCP4 192.0.2.7 10.0.0.1 1 \xb2\r\n",
    "v1, bare LF": b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\n\r\n",
    "v1, too long": LONGEST_V1.replace(b"f\r\n", b"ff\r\n"),
    "v2, version 1": v2(0x11, 0x11, V4),
    "v2, other command": v2(0x22, 0x11, V4),
    "v2, other family": v2(0x21, 0x41, V4),
    "v2, datagrams": v2(0x21, 0x12, V4),
    "v2, cut short": v2(0x21, 0x11, V4[:-1]),
    "v2, too long": v2(0x21, 0x11, V4 + bytes(MAX_V2_BYTES)),
}


@pytest.mark.parametrize(("header", "source"), VALID.values(), ids=VALID)
def test_valid_headers_at_every_split(header: bytes, source: str) -> None:
    """The address is the client's, and what follows the header is left over, however the bytes come in."""
    whole = header + REST
    for split in range(len(whole)):
        reader = ProxyHeaderReader()
        rest = reader.feed(whole[:split])
        if split < len(header):
            assert rest is None
            rest = reader.feed(whole[split:])
            assert rest == REST
        else:
            assert rest == whole[len(header) : split]
        assert reader.source == source


@pytest.mark.parametrize("header", INVALID.values(), ids=INVALID)
def test_invalid_headers_at_every_split(header: bytes) -> None:
    """Refused in one piece, and no later than its last byte in two."""
    with pytest.raises(MalformedProxyHeader):
        ProxyHeaderReader().feed(header)
    for split in range(1, len(header)):
        reader = ProxyHeaderReader()
        with pytest.raises(MalformedProxyHeader):  # noqa: PT012 (either piece may be the one)
            assert reader.feed(header[:split]) is None
            reader.feed(header[split:])


@given(
    st.binary(max_size=64), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", V2_SIGNATURE, V2_SIGNATURE + b"\x21\x11"])
)
def test_whatever_comes_is_read_or_refused(data: bytes, start: bytes) -> None:
    """No other exception, and never more left over than came in."""
    reader = ProxyHeaderReader()
    try:
        rest = reader.feed(start + data)
    except MalformedProxyHeader:
        return
    assert rest is None or data.endswith(rest)
    if reader.source:
        ipaddress.ip_address(reader.source)
