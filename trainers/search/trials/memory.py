"""Returning memory between trials, since Ray Tune runs several one after the other in the same process."""

from __future__ import annotations

import ctypes
import gc
from functools import cache

import torch

M_ARENA_MAX = -8
"""glibc's number of this parameter of mallopt."""
ARENAS = 2


@cache
def limit_arenas() -> None:
    """Limit malloc to a few heaps; otherwise many of a trial's short threads get their own, which are never freed whole."""
    libc = _glibc()
    if libc is not None:
        libc.mallopt(M_ARENA_MAX, ARENAS)


def free_memory() -> None:
    """Collect garbage, and return freed memory to the device and to the operating system."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library; None where it is not glibc."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        return libc if hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt") else None
    except OSError:
        return None
