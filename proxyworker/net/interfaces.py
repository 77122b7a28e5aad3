"""What protocols of the data plane expect of their transport: Twisted's ITransport and producer, with types.

zope's interfaces carry no types for mypy; this is what `LoopTransport` and `TLSLayer` both offer.
"""

from typing import Protocol

from twisted.internet.address import HostnameAddress, IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress

Address = IPv4Address | IPv6Address | HostnameAddress


def host_of(address: IAddress | Address) -> str:
    """The IP address in it, or a word for none."""
    return str(getattr(address, "host", "unknown"))


class Producer(Protocol):
    """A push producer."""

    def pauseProducing(self) -> None:
        """Stop until told otherwise."""

    def resumeProducing(self) -> None:
        """Go on."""


class Transport(Producer, Protocol):
    """One connection, as the protocol on it sees it; as a producer it produces what the peer sends."""

    disconnecting: bool

    def write(self, data: bytes, /) -> None:
        """Send `data`; what cannot be sent at once is buffered."""

    def loseConnection(self) -> None:
        """Close when everything written is sent."""

    def loseWriteConnection(self) -> None:
        """Send what is written, then the end of this half. The peer may go on sending, but need not be heard."""

    def abortConnection(self) -> None:
        """Close at once; the peer sees that it was not a clean end."""

    def registerProducer(self, producer: Producer, streaming: bool) -> None:
        """Pause `producer` while too much waits to be sent."""

    def unregisterProducer(self) -> None:
        """Forget the producer."""

    def getPeer(self) -> Address:
        """The other end."""

    def getHost(self) -> Address:
        """This end."""
