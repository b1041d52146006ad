"""Leaving nothing of a trial in a process that the next one will use."""

from __future__ import annotations

import ctypes
import gc
from functools import cache

M_ARENA_MAX = -8
"""glibc's number of that parameter of mallopt."""
ARENAS = 2


@cache
def limit_arenas() -> None:
    """Let malloc keep few heaps: else each of a trial's many short threads may get its own, and none is given back whole."""
    libc = _glibc()
    if libc is not None:
        libc.mallopt(M_ARENA_MAX, ARENAS)


def free_memory() -> None:
    """Give back what a trial has left, on the host and on the device."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """None where C's library is another one."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        return libc if hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt") else None
    except OSError:
        return None
