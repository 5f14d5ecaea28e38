"""How the C library keeps the memory of frames: that of large ones is given back when they are done with."""

from __future__ import annotations

import sys
from functools import cache

LARGE_BYTES = 4 << 20
"""Above a frame of 1080p and below one of 4K, both at 8 bits and 4:2:0."""
_KEPT_BYTES = 16 << 20
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


@cache
def give_back_large_blocks() -> bool:
    """Let blocks of `LARGE_BYTES` and more be mapped by themselves, in this process, from now on. False where that
    cannot be asked for.

    Left alone, glibc raises that threshold to 32 MB as soon as such blocks are freed. The frames of a 4K video then lie
    in the heaps of the threads that made them, between each other's holes, which stay in memory: at 4K 100 MB and more.
    """
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl has none, and keeps no such heaps
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)) and bool(mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES))
