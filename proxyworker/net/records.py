"""The TLS record layer of an established session (RFC 8446 section 5): application data to records and back.

Laws of this module:
- It calls OpenSSL through the bindings that pyOpenSSL is made of, past pyOpenSSL's methods, which cost several times
  what OpenSSL does for a small record (docs/adr/0018). Contexts, handshakes and everything that is decided in them
  are pyOpenSSL's.
- OpenSSL's error queue is empty when a call returns: SSL_get_error(3) would take what is left for the next session's.
- What goes in and out is cut into slices of a record: a memory BIO never shrinks, so it must not grow.
- One thread: the scratch memory is shared by all sessions, and nothing in it outlives a call.
"""

from enum import Enum, auto
from typing import Any

from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL

MAX_PLAINTEXT_BYTES = 16_384  # RFC 8446 section 5.1

# As much as one read of the loop brings; beyond that, room for what one more slice may complete: the record that began
# before it and itself, with what encryption adds.
_FULL_BYTES = 262_144
_SCRATCH_BYTES = _FULL_BYTES + 4 * MAX_PLAINTEXT_BYTES

RECEIVED_BYTES = 65_536

_binding = Binding()
_ffi, _lib = _binding.ffi, _binding.lib
# Bound once: these are called for every piece of traffic.
_ssl_read, _ssl_write, _ssl_get_error = _lib.SSL_read, _lib.SSL_write, _lib.SSL_get_error
_bio_read, _bio_write = _lib.BIO_read, _lib.BIO_write
_WANT_READ, _ZERO_RETURN = _lib.SSL_ERROR_WANT_READ, _lib.SSL_ERROR_ZERO_RETURN

_scratch = _ffi.new("char[]", _SCRATCH_BYTES)
_scratch_bytes = _ffi.buffer(_scratch)

_received = _ffi.new("char[]", RECEIVED_BYTES)

# Where a stream puts what it reads for a session, which is opened before the next one reads. One memory for all: what
# every read uses stays in the cache, and a read needs no object of its own.
RECEIVED = memoryview(_ffi.buffer(_received))


def _taken(size: int) -> bytes:
    """The first bytes of the scratch memory."""
    taken: bytes = _scratch_bytes[:size]
    return taken


def is_resumed(session: SSL.Connection) -> bool:
    """Whether a handshake went on with an earlier session: SSL_session_reused(3), for which pyOpenSSL has no method."""
    return bool(_lib.SSL_session_reused(session._ssl))


class End(Enum):
    """How the peer's half ended: in order with close_notify, or by an alert or bytes that are not TLS."""

    CLOSED = auto()
    BROKEN = auto()


class Records:
    """The records of one session over memory BIOs, whose handshake is finished.

    `end` is None while the peer may go on.
    """

    __slots__ = ("_from_ssl", "_into_ssl", "_session", "_ssl", "end")

    def __init__(self, session: SSL.Connection) -> None:
        self._session = session  # owns what the others point to
        self._ssl = session._ssl
        self._into_ssl = session._into_ssl
        self._from_ssl = session._from_ssl
        self.end: End | None = None

    def open(self, data: bytes) -> bytes:
        """The application data in the records that `data` completes; empty: none. Sets `end` when there is no more."""
        size = len(data)
        if size <= MAX_PLAINTEXT_BYTES:
            _bio_write(self._into_ssl, data, size)
            return _taken(self._read(0))
        return self._open_slices(_ffi.from_buffer(data), size)

    def open_received(self, size: int) -> bytes:
        """As `open`, of the first `size` bytes of RECEIVED."""
        if size <= MAX_PLAINTEXT_BYTES:
            _bio_write(self._into_ssl, _received, size)
            return _taken(self._read(0))
        return self._open_slices(_received, size)

    def _open_slices(self, view: Any, size: int) -> bytes:
        parts = []
        filled = 0
        for start in range(0, size, MAX_PLAINTEXT_BYTES):
            _bio_write(self._into_ssl, view + start, min(size - start, MAX_PLAINTEXT_BYTES))
            filled = self._read(filled)
            if self.end is not None:
                break
            if filled > _FULL_BYTES:
                parts.append(_taken(filled))
                filled = 0
        parts.append(_taken(filled))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def seal(self, data: bytes) -> bytes:
        """`data` in records, behind what OpenSSL had to say before. Sets `end` when the session takes no more."""
        size = len(data)
        if size <= MAX_PLAINTEXT_BYTES:
            if _ssl_write(self._ssl, data, size) != size:
                self._break()
            return self.pending()
        parts = []
        filled = 0
        view = _ffi.from_buffer(data)
        for start in range(0, size, MAX_PLAINTEXT_BYTES):
            piece = min(size - start, MAX_PLAINTEXT_BYTES)
            if _ssl_write(self._ssl, view + start, piece) != piece:
                self._break()
                break
            filled += max(0, _bio_read(self._from_ssl, _scratch + filled, _SCRATCH_BYTES - filled))
            if filled > _FULL_BYTES:
                parts.append(_taken(filled))
                filled = 0
        parts.append(_taken(filled))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def pending(self) -> bytes:
        """What OpenSSL wants to send by itself, or has left from before: records, alerts, key updates."""
        size = _bio_read(self._from_ssl, _scratch, _SCRATCH_BYTES)
        return _taken(size) if size > 0 else b""

    def _read(self, filled: int) -> int:
        """Puts all application data there is behind the first `filled` bytes of the scratch memory; how many then."""
        size = _ssl_read(self._ssl, _scratch + filled if filled else _scratch, _SCRATCH_BYTES - filled)
        while size > 0:
            filled += size
            size = _ssl_read(self._ssl, _scratch + filled, _SCRATCH_BYTES - filled)
        error = _ssl_get_error(self._ssl, size)
        if error != _WANT_READ:
            self.end = End.CLOSED if error == _ZERO_RETURN else End.BROKEN
            _lib.ERR_clear_error()
        return filled

    def _break(self) -> None:
        self.end = End.BROKEN
        _lib.ERR_clear_error()
