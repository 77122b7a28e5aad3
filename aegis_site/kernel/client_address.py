"""Who asks the admin or the API: the address that limits count by and the audit log names.

Laws of this module: X-Forwarded-For is what any client may write. It is believed only as far as proxies named in
AEGIS_WEB_TRUSTED_PROXIES wrote it, which is from its end.
"""

import ipaddress
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def client_address(request: HttpRequest) -> str | None:
    """The address of the client; None when the server knows none.

    From the peer backwards through X-Forwarded-For: the first that is not a trusted proxy. What cannot be read ends the
    search, so a client gains nothing by writing nonsense there.
    """
    nearest = _parsed(request.META.get("REMOTE_ADDR", ""))
    if nearest is None:
        return None
    trusted = _networks(tuple(settings.AEGIS_WEB_TRUSTED_PROXIES))
    hops = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if trusted else []
    while hops and _is_in(nearest, trusted):
        before = _parsed(hops.pop().strip())
        if before is None:
            break
        nearest = before
    return str(nearest)


@lru_cache(maxsize=4)
def _networks(words: tuple[str, ...]) -> tuple[_Network, ...]:
    return tuple(ipaddress.ip_network(word) for word in words)


def _is_in(address: _Address, networks: tuple[_Network, ...]) -> bool:
    return any(address in network for network in networks)


def _parsed(text: str) -> _Address | None:
    try:
        # A scope would make one client look like many.
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
