"""What supervising processes show to a person at a terminal.

Laws of this module: a terminal or a pipe that is gone stops nothing; the children go on without.
"""

from typing import Any


def prefixed(name: str, line: bytes) -> bytes:
    """One line of a child, with its name before it."""
    return b"%-8s | %s\n" % (name.encode(), line)


def show(data: bytes, stream: Any) -> None:
    """Writes to a text stream such as sys.stderr, at once."""
    try:
        stream.buffer.write(data)
        stream.buffer.flush()
    except OSError:
        pass
