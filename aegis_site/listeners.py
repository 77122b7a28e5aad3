"""Whether the addresses on which an installation listens are free: one clear text instead of a child that fails."""

import contextlib
import errno
import socket

from aegis_site.environment import BindAddress, Environment


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
                try:
                    held.enter_context(listening_socket(address))
                except OSError as error:
                    raise ListenerProblem(f"{variable}: {_explain(address, error, variable)}") from error


def listening_socket(address: BindAddress) -> socket.socket:
    """A socket that listens on `address`. SO_REUSEADDR overlooks connections that are timing out, not listeners."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server((address.host, address.port), family=family, backlog=1)


def _explain(address: BindAddress, error: OSError, variable: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{address} is in use already; stop what listens there, or set {variable} to a free address"
    if error.errno == errno.EACCES:
        return f"no permission to listen on {address}; ports below 1024 need CAP_NET_BIND_SERVICE"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address} is not an address of this machine"
    return f"cannot listen on {address}: {error.strerror}"
