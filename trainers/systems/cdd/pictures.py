"""Pictures that show what a CDD has learnt, at fixed images and draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from unbraid.models.cdd.specs import DOMAINS, OTHER
from unbraid.models.random import RandomSource
from unbraid.trainers.runs.pictures import value_table
from unbraid.trainers.system import Batch
from unbraid.trainers.systems.cdd.pairs import SHOWN, joined, pairs_of
from unbraid.trainers.systems.cdd.sheets import (
    interpolation_sheet,
    retrieval_sheet,
    retrieve,
    transfer_sheet,
    translation_sheet,
)

if TYPE_CHECKING:
    from unbraid.trainers.systems.cdd.system import CDD

PICTURE_SEED = 7
ROWS, COLUMNS = SHOWN // 2, 8
GALLERY, TOP = 500, 5


def preview_grids(system: CDD) -> dict[str, Tensor]:
    """Held-out images translated with draws of E, ``x_to_y`` and back, and with the E of others, ``transfer_to_y`` and back."""
    pairs, model = system.shown, system.model
    source = RandomSource(PICTURE_SEED, system.device)
    few, references = pairs[:ROWS], pairs[ROWS:] if len(pairs) > ROWS else pairs
    grids = {f"{d}_to_{OTHER[d]}": translation_sheet(model, few.images[d], d, COLUMNS, source) for d in DOMAINS}
    return grids | {f"transfer_to_{OTHER[d]}": transfer_sheet(model, few, d, references) for d in DOMAINS}


def explanation_grids(system: CDD, batches: Iterable[Batch], scores: Mapping[str, float]) -> dict[str, Tensor]:
    """``interpolation`` of E and of S, ``retrieval`` by S, and ``knows``: what linear readers find in each part."""
    pairs, model = system.shown, system.model
    figures = {f"interpolate_{part}": interpolation_sheet(model, pairs, "x", part, COLUMNS) for part in ("exclusive", "shared")}
    kept = []
    for batch in batches:
        kept.append(pairs_of(batch))
        if sum(map(len, kept)) >= GALLERY:
            break
    gallery = joined(kept)[:GALLERY]
    for d in DOMAINS:
        found = retrieve(model, gallery, d, ROWS, min(TOP, len(gallery)), "shared")
        figures[f"retrieval_{d}_to_{OTHER[d]}"] = retrieval_sheet(gallery, d, found)
    table = knowledge_picture(scores)
    return figures if table is None else figures | {"knows": table}


def knowledge_picture(scores: Mapping[str, float]) -> Tensor | None:
    """The table of what is known from S and from E, or None where there is no truth to know."""
    rows = {"label": "class\n(accuracy)", "colour": "own colour\n(R²)"}
    known = [what for what in rows if f"probe/{what}_from_shared" in scores]
    if not known:
        return None
    table = np.array([[scores[f"probe/{what}_from_{part}"] for part in ("shared", "exclusive")] for what in known])
    return value_table(table, [rows[what] for what in known], ("S", "E"), "what a linear reader finds", "Blues")
