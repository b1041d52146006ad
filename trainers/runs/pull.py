"""Copies a run from its storage into a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from unbraid.datasets.errors import DataError
from unbraid.datasets.store import FolderStore, Store
from unbraid.datasets.store.lease import FOLDER as LEASE
from unbraid.datasets.untrusted.keys import relative_key
from unbraid.trainers.config.words import nearest
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.aside import ASIDE
from unbraid.trainers.runs.checkpoint import complete_steps, folder_of
from unbraid.trainers.runs.record import CHECKPOINTS, CONFIG_KEY, INPUTS, METRICS_KEY, REPORT_KEY, RUN_KEY

COPIERS = 8
ALWAYS = (CONFIG_KEY, RUN_KEY, INPUTS)
PARTS = {
    "report": (REPORT_KEY, "report"),
    "pictures": ("preview/", "figures/"),
    "metrics": (METRICS_KEY, "events/"),
    "checkpoint": (),
    "tensorboard": ("tensorboard/",),
}
"""Beginnings of the keys of each part; a checkpoint is the newest whole one."""


@dataclass
class Copied:
    """What was copied.

    Attributes:
        objects, bytes: that were copied.
        known: objects that were there already.
    """

    objects: int = 0
    bytes: int = 0
    known: int = 0


def pull_run(store: Store, folder: Path, only: Sequence[str] | None, report: Callable[[str], None]) -> Copied:
    """Copy a run into a folder.

    Objects that never change are not copied again where one of the same size is there; the files of the record always are.

    Args:
        only: parts, see :data:`PARTS`; None is all of the run but older checkpoints and leases.
        report: called with a line now and then.

    Raises:
        ConfigError: when there is no such part, or the folder holds another run.
        DataError: when the run cannot be read, or the folder not be written.
    """
    for part in only or ():
        if part not in PARTS:
            raise ConfigError(f"--only {part}: no part of a run{nearest(part, PARTS)}; expected {', '.join(PARTS)}")
    target = FolderStore(folder, create=True)
    if target.exists(CONFIG_KEY) and target.get(CONFIG_KEY) != store.get(CONFIG_KEY):
        raise ConfigError(f"{folder}: holds another run; name another folder")
    sizes, there = store.sizes(), target.sizes()
    steps = complete_steps(store)
    wanted = [key for key in sizes if _is_wanted(key, only, steps)]
    copied, total = Copied(), sum(sizes[key] for key in wanted)

    def copy(key: str) -> int | None:
        try:
            relative_key(key)
        except ValueError as error:
            raise DataError(f"{store.url}: {error}; left out") from None
        if there.get(key) == sizes[key] and "/" in key:
            return None
        content = store.get(key)
        target.put(key, content)
        return len(content)

    with ThreadPoolExecutor(COPIERS) as pool:
        for number, size in enumerate(pool.map(copy, wanted), 1):
            copied.known += size is None
            copied.objects += size is not None
            copied.bytes += size or 0
            if number % 200 == 0:
                report(f"{number:,} of {len(wanted):,} objects, {copied.bytes / 1e6:,.1f} of {total / 1e6:,.1f} MB")
    return copied


def _is_wanted(key: str, only: Sequence[str] | None, steps: Sequence[int]) -> bool:
    if key.startswith((f"{LEASE}/", f"{ASIDE}/")):
        return False
    if key.startswith(f"{CHECKPOINTS}/"):
        is_newest = bool(steps) and key.startswith(f"{folder_of(steps[-1])}/")
        return is_newest and (only is None or "checkpoint" in only)
    if only is None or key.startswith(ALWAYS):
        return True
    return any(key.startswith(beginning) for part in only for beginning in PARTS[part])
