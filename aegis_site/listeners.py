"""Whether the addresses on which an installation listens are free: one clear text instead of a child that fails."""

import contextlib
import errno
import socket
from collections.abc import Iterator

from aegis_site.environment import BindAddress, Environment

# As many as the worker itself allows (proxyworker.net.transport): they may have to wait for its successor.
SHARED_BACKLOG = 1024


class ListenerProblem(Exception):
    """An address cannot be listened on. The text names the variable that sets it."""


def check_listeners_are_free(environment: Environment) -> None:
    """Listen on every address for a moment, on all at the same time so that two equal ones are found too.

    Raises ListenerProblem.
    """
    variables = {
        "AEGIS_WEB_BIND": (environment.web_bind,),
        "AEGIS_PROXY_HTTP": environment.proxy_http,
        "AEGIS_PROXY_HTTPS": environment.proxy_https,
        "AEGIS_PROXY_METRICS": (environment.proxy_metrics,),
    }
    with contextlib.ExitStack() as held:
        for variable, addresses in variables.items():
            for address in addresses:
                with explained(variable, address):
                    held.enter_context(listening_socket(address))


def shared_sockets(variable: str, address: BindAddress, *, count: int) -> list[socket.socket]:
    """`count` sockets that listen on `address` together: the kernel spreads connections over them (SO_REUSEPORT).

    The first one takes the port as if it were alone, and only then lets the others in: set on all from the start, the
    option would silently share the port with another Aegis of the same user. Raises ListenerProblem.
    """
    with contextlib.ExitStack() as opened, explained(variable, address):
        first = opened.enter_context(listening_socket(address, SHARED_BACKLOG))
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sockets = [first]
        for _ in range(count - 1):
            sockets.append(opened.enter_context(socket.socket(first.family)))
            sockets[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sockets[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if first.family == socket.AF_INET6:
                sockets[-1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sockets[-1].bind(first.getsockname())
            sockets[-1].listen(SHARED_BACKLOG)
        opened.pop_all()
    return sockets


@contextlib.contextmanager
def explained(variable: str, address: BindAddress) -> Iterator[None]:
    """What keeps the block from listening on `address` becomes a ListenerProblem."""
    try:
        yield
    except OSError as error:
        raise ListenerProblem(f"{variable}: {_explain(address, error, variable)}") from error


def listening_socket(address: BindAddress, backlog: int = 1) -> socket.socket:
    """A socket that listens on `address`. SO_REUSEADDR overlooks connections that are timing out, not listeners."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server((address.host, address.port), family=family, backlog=backlog)


def _explain(address: BindAddress, error: OSError, variable: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{address} is in use already; stop what listens there, or set {variable} to a free address"
    if error.errno == errno.EACCES:
        return f"no permission to listen on {address}; ports below 1024 need CAP_NET_BIND_SERVICE"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address} is not an address of this machine"
    return f"cannot listen on {address}: {error.strerror}"
