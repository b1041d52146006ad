"""Which floating-point type a device computes fastest in without changing what is learnt."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

import torch

Precision = Literal["auto", "float32", "bfloat16"]


def resolve_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """The compute type: as asked, or for ``auto`` bfloat16 only where the device has instructions for it.

    On a CPU without AVX512-BF16 or AMX, bfloat16 is emulated and was measured fifteen times slower.
    """
    if precision == "float32":
        return torch.float32
    if precision == "bfloat16":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu" and _cpu_flags() & {"avx512_bf16", "amx_bf16"}:
        return torch.bfloat16
    return torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """A context in which forward passes compute in ``dtype``; float32 needs none."""
    if dtype == torch.float32 or device.type == "meta":
        return nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """A context within :func:`autocast` for what must not be rounded to eight bits of mantissa, such as coordinates."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def _cpu_flags() -> set[str]:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return set()
    for line in cpuinfo.read_text().splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()
