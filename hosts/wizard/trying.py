"""The line with which a person asks a host through the proxy for the first time.

Laws of this module: what stands in it may be pasted into a shell: domains are A-labels, and addresses are ours.
"""

from collections.abc import Sequence

_WILDCARD_LABEL = "www"
# The addresses that a listener may be bound to and that nobody can call.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 (names the wildcard, binds nothing)
_PROXY_PROTOCOL = "--haproxy-protocol "


def curl_line(domain: str, *, http: Sequence[str], https: Sequence[str], has_certificate: bool) -> str:
    """Asks for `domain` on the machine of the proxy, whose listeners are as the settings have them; empty: it has none.

    By HTTP when that is listened to and no certificate sends clients to HTTPS.
    """
    name = domain.replace("*", _WILDCARD_LABEL, 1)
    if http and not (has_certificate and https):
        address, _, option = _parts(http[0])
        return f"curl -i {option}-H 'Host: {name}' http://{address}/"
    if not https:
        return ""
    address, port, option = _parts(https[0])
    return f"curl -ik {option}--connect-to '{name}:{port}:{address}' https://{name}:{port}/"


def _parts(listener: str) -> tuple[str, str, str]:
    """Address with its port, the port alone, and curl's option for a listener that expects the PROXY protocol."""
    address, _, proxy_protocol = listener.partition(" ")
    host, _, port = address.rpartition(":")
    return f"{_LOOPBACK.get(host, host)}:{port}", port, _PROXY_PROTOCOL if proxy_protocol else ""
