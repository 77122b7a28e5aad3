"""What a host that wants HTTPS tells its clients.

Laws of this module: RFC 6797. Strict-Transport-Security is for HTTPS answers only (section 7.2), and one of them is all
that a client looks at (section 8.1), so the host's own replaces the upstream's.
"""

from proxyworker.policy.routing import domain_of
from proxyworker.snapshot import default_port

HSTS_FIELD = frozenset((b"strict-transport-security",))


def hsts_line(max_age_s: int) -> bytes:
    """The field line, or nothing for 0: a max-age of zero would make clients forget what the upstream told them."""
    return b"Strict-Transport-Security: max-age=%d" % max_age_s if max_age_s else b""


def https_location(authority: bytes, target: bytes, port: int) -> bytes:
    """The Location line for a request that came by plain HTTP; `port` is the HTTPS listener's."""
    name = domain_of(authority).encode("latin-1")
    if port != default_port("https"):
        name += b":%d" % port
    # RFC 9112 section 3.2.4: the asterisk of OPTIONS stands for the server, which as a URI has no path.
    return b"Location: https://" + name + (b"" if target == b"*" else target)
