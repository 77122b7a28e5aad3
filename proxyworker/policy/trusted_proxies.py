"""Proxies in front of this one, whose word about the client's way here is believed.

Laws of this module:
- Only a peer whose address the operator named is believed, and only what is well-formed; the rest is as if it was not
  said. Nothing that came in is passed on as it came.
- The client is the right-most address of X-Forwarded-For that is not itself a trusted proxy's: each proxy appends whom
  it heard, so what stands left of that one was written by a stranger and goes no further.
- X-Forwarded-* is heard, Forwarded is not: both could contradict each other, and hardly a proxy sends the latter alone.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from proxyworker.policy.forwarding import forwarded_node, way_prefix
from proxyworker.protocol.request import RequestHead, is_authority
from proxyworker.snapshot import default_port

Address = IPv4Address | IPv6Address

# More proxies in a row than this are a loop, and addresses to parse that somebody else chose.
MAX_HOPS = 32

# `[2001:db8::1]:443` is the longest form of an address that is read.
_MAX_NODE_BYTES = 47

# Some proxies name the scheme of what is to become a WebSocket.
_SCHEMES = {b"http": "http", b"https": "https", b"ws": "http", b"wss": "https"}

_is_request_id = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}").fullmatch
_is_number = re.compile(rb"[1-9][0-9]{0,4}").fullmatch


class TrustedProxies:
    """The networks named by the operator, in any form that `ipaddress.ip_network` reads."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = tuple(ip_network(network) for network in networks)
        # Requests of one client come one after the other, and proxies are few.
        self._cached_hop = lru_cache(maxsize=4096)(self._read_hop)

    def __contains__(self, address: str) -> bool:
        return bool(self._networks) and self._trusts(parse_address(address))

    def hop(self, node: bytes) -> tuple[str, bool]:
        """A member of X-Forwarded-For: its address, empty when it has none, and whether it is trusted."""
        return self._cached_hop(node) if len(node) <= _MAX_NODE_BYTES else ("", False)

    def _read_hop(self, node: bytes) -> tuple[str, bool]:
        address = _node_address(node.decode("latin-1"))
        return ("", False) if address is None else (str(address), self._trusts(address))

    def _trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


@lru_cache(maxsize=1024)
def parse_address(text: str) -> Address | None:
    """The address; None: it is none. IPv4 in its IPv6 form, which a socket for both shows, is IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None
        return address.ipv4_mapped or address
    return address


def client_key(address: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 that one owner of IPv6 addresses has at least."""
    parsed = parse_address(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, 64), strict=False).network_address)
    return address if parsed is None else str(parsed)


class ForwardedWay:
    """One request's way here, told by a trusted proxy; stands where ForwardingFields stands for other peers.

    `scheme_is_told`: by the proxy; else it is the listener's. `request_id` is empty without one that can be kept.
    """

    __slots__ = ("_lines", "client_address", "host", "is_https", "request_id", "scheme_is_told")

    def __init__(self, request: RequestHead, *, peer: str, scheme: str, port: int, trusted: TrustedProxies) -> None:
        judged = request.judged
        hops = _hops(judged.get(b"x-forwarded-for", []), trusted)
        told = _only(judged.get(b"x-forwarded-proto"))
        told_scheme = _SCHEMES.get(told.lower())
        told_host = _only(judged.get(b"x-forwarded-host"))
        told_id = _only(judged.get(b"x-request-id"))
        scheme = told_scheme or scheme
        self.scheme_is_told = told_scheme is not None
        self.is_https = scheme == "https"
        self.host = told_host if is_authority(told_host) else request.host
        self.request_id = told_id if _is_request_id(told_id) else b""
        self.client_address = hops[0] if hops else peer
        told_port = _port(_only(judged.get(b"x-forwarded-port")))
        if not told_port and self.scheme_is_told:
            told_port = _port(self.host.rpartition(b"]")[2].partition(b":")[2]) or default_port(scheme)
        self._lines = _lines((*hops, peer), scheme=scheme, port=told_port or port, host=self.host)

    def lines(self, request: RequestHead, request_id: bytes) -> bytes:
        """The lines for this request, each but the last ended by CRLF."""
        return self._lines + request_id


def _hops(values: list[bytes], trusted: TrustedProxies) -> tuple[str, ...]:
    """Client first, then the trusted proxies that it came through, without the peer; empty when the peer named none."""
    hops: list[str] = []
    if not values:
        return ()
    for node in reversed(b",".join(values).rsplit(b",", MAX_HOPS)[-MAX_HOPS:]):
        address, is_trusted = trusted.hop(node.strip(b" \t"))
        if not address:
            break
        hops.append(address)
        if not is_trusted:
            break
    return tuple(reversed(hops))


def _node_address(text: str) -> Address | None:
    """An address with or without a port, IPv6 in brackets then (some load balancers add the client's port)."""
    if text[:1] == "[":
        inside, bracket, port = text[1:].partition("]")
        is_well_formed = bracket and ":" in inside and (not port or (port[0] == ":" and port[1:].isdecimal()))
        return parse_address(inside) if is_well_formed else None
    if text.count(":") == 1:
        text, _, port = text.partition(":")
        return parse_address(text) if port.isdecimal() else None
    return parse_address(text)


def _only(values: list[bytes] | None) -> bytes:
    """The value of a field that was sent once. Of several nobody knows which one is meant."""
    return values[0] if values is not None and len(values) == 1 else b""


def _port(text: bytes) -> int:
    """0: it is none."""
    return int(text) if _is_number(text) and int(text) < 65_536 else 0


def _lines(chain: tuple[str, ...], *, scheme: str, port: int, host: bytes) -> bytes:
    hops = [hop.encode("ascii") for hop in chain]
    # RFC 7239 section 4: one element for each proxy, in order. Only of the first one are scheme and host known.
    proxies = b"".join(b", for=" + forwarded_node(hop) for hop in hops[1:])
    prefix = way_prefix(hops, scheme=scheme, port=port)
    return b'%b"%b"%b\r\nX-Forwarded-Host: %b\r\nX-Request-ID: ' % (prefix, host, proxies, host)
