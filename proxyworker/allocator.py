"""How this process gets memory from the system.

Laws of this module: glibc only; elsewhere nothing is changed. Called once, before traffic.
"""

import ctypes
import sys

# <malloc.h>
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

# Above this a block is mapped by itself and given back at once. glibc begins with 128 KiB, which is less than one read
# of the loop: every large body would pay for fresh, zeroed pages again and again.
_MAPPED_BYTES = 4 * 1024 * 1024
# As much free memory may stay at the top of the heap.
_KEPT_BYTES = 16 * 1024 * 1024


def keep_large_buffers() -> None:
    """Blocks of the size of a socket's buffer come from the heap, and a part of the heap that is free now stays."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
