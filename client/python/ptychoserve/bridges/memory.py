"""What the C library does with memory that was freed."""

from __future__ import annotations

import ctypes

# Of glibc's mallopt.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_TRIM_BYTES = 256 << 20
_MMAP_BYTES = 32 << 20  # The most that it takes.


def keep_freed() -> None:
    """Has the process keep freed memory, up to a few 100 MB, for what it allocates next.

    Messages of some MB come and go many times a second. Otherwise each goes back to the kernel and
    comes again page by page; gRPC then copies while it holds the interpreter's lock, and everything
    else waits. Does nothing where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
