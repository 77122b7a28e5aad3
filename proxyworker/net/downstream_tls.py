"""TLS towards clients: which certificate a handshake shows.

Laws of this module:
- The server name that the client asks for is routed as a Host field is: exact domain first, then the closest wildcard.
  A name of no host, of a host without certificate, or no name at all gets the default certificate.
- The configuration is looked at once per handshake, so a new certificate is shown from the next handshake on.
- A host whose certificate cannot be used refuses handshakes for its names: never another certificate in its place.
"""

import datetime
from collections.abc import Callable

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from proxyworker.net.deadlines import NEVER
from proxyworker.net.downstream import DownstreamConnection
from proxyworker.net.downstream_factory import DownstreamFactory
from proxyworker.net.records import is_resumed
from proxyworker.net.route import ServerName
from proxyworker.net.server_certificate import default_context, empty_context
from proxyworker.net.tls import TLSLayer


class HandshakeRefused(Exception):
    """The name is of a host that has no usable certificate."""


class _Handshake:
    """A handshake with a client, which has a deadline. When it is over, neither session nor layer refer to it."""

    __slots__ = (
        "_connection",
        "_empty_context",
        "_handshake_s",
        "_holder",
        "_is_refused",
        "_sweep",
        "_telemetry",
        "abort",
        "deadline",
    )

    abort: Callable[[], None]

    def __init__(self, factory: "TLSFactory", connection: DownstreamConnection) -> None:
        self._holder = factory.above.holder
        self._telemetry = factory.above.telemetry
        self._sweep = factory.above.sweep
        self._handshake_s = factory.above.limits.handshake_s
        self._empty_context = factory.empty_context
        self._connection = connection
        self._is_refused = False
        self.deadline = NEVER

    def connected(self) -> None:
        """The client is there."""
        self.deadline = self._sweep.now + self._handshake_s
        self._sweep.add(self)

    def choose_certificate(self, session: SSL.Connection) -> None:
        """The client has said which server it wants. Must not raise: OpenSSL would go on with the default one."""
        name = session.get_servername()
        if not name:
            return
        route = self._holder.current.find(name)
        self._connection.server_name = ServerName(name, route)
        if route is None:
            return
        if route.https_rejected:
            self._is_refused = True
            session.set_context(self._empty_context)
        elif route.certificate is not None:
            session.set_context(route.certificate.context)

    def established(self, session: SSL.Connection) -> None:
        """Finished. A resumed session needs no certificate, so the refusal has to be looked at again."""
        self._over(session)
        if self._is_refused:
            raise HandshakeRefused
        self._telemetry.client_handshake("resumed" if is_resumed(session) else "full")

    def failed(self, layer: TLSLayer) -> None:
        """The client is gone, or the two do not agree."""
        self._over(layer.session)
        self._telemetry.client_handshake("failed")

    def deadline_passed(self) -> None:
        """The client took too long."""
        self.abort()

    def _over(self, session: SSL.Connection) -> None:
        self._sweep.discard(self)
        session.set_app_data(None)  # a ring of references otherwise; nothing is renegotiated, so nobody asks for it


class TLSFactory(Factory):
    """The connections of a TLS listener: a TLS layer below what `above` builds.

    All of them begin with the context of a default certificate that is made here, which also has their protocol
    versions and options; another one brings its certificate only.
    """

    noisy = False

    def __init__(self, above: DownstreamFactory, now: datetime.datetime) -> None:
        self.above = above
        self.empty_context = empty_context()
        self._context = default_context(now)
        self._context.set_tlsext_servername_callback(_choose_certificate)

    def buildProtocol(self, addr: IAddress | None) -> TLSLayer:
        session = SSL.Connection(self._context, None)
        session.set_accept_state()
        connection = self.above.buildProtocol(addr)
        handshake = _Handshake(self, connection)
        session.set_app_data(handshake)
        layer = TLSLayer(
            session,
            connection,
            connected=handshake.connected,
            established=lambda: handshake.established(session),
            failed=handshake.failed,
        )
        handshake.abort = layer.abortConnection
        return layer


def _choose_certificate(session: SSL.Connection) -> None:
    """RFC 6066 section 3. OpenSSL calls this in the midst of a handshake, also of one that resumes a session."""
    handshake: _Handshake = session.get_app_data()
    handshake.choose_certificate(session)
