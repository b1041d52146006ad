"""Pictures that show what a CDD has learnt, at fixed images and draws."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from unbraid.models.domains import DOMAINS, OTHER
from unbraid.models.random import RandomSource
from unbraid.trainers.data import EvaluationData
from unbraid.trainers.paired.pairs import SHOWN, Pairs, gather_pairs, held_out, pairs_of
from unbraid.trainers.runs.pictures import value_table
from unbraid.trainers.systems.cdd.config import Config
from unbraid.trainers.systems.cdd.model import Model
from unbraid.trainers.systems.cdd.sheets import (
    interpolation_sheet,
    retrieval_sheet,
    retrieve,
    transfer_sheet,
    translation_sheet,
)

PICTURE_SEED = 7
ROWS, COLUMNS = SHOWN // 2, 8
GALLERY, TOP = 500, 5


def preview(model: Model, data: EvaluationData) -> dict[str, Tensor]:
    """Held-out images translated with draws of E, ``x_to_y`` and back, and with the E of others, ``transfer_to_y`` and back."""
    pairs = shown_pairs(data)
    source = RandomSource(PICTURE_SEED, model.device)
    few, references = pairs[:ROWS], pairs[ROWS:] if len(pairs) > ROWS else pairs
    grids = {f"{d}_to_{OTHER[d]}": translation_sheet(model, few.images[d], d, COLUMNS, source) for d in DOMAINS}
    return grids | {f"transfer_to_{OTHER[d]}": transfer_sheet(model, few, d, references) for d in DOMAINS}


def figures(model: Model, data: EvaluationData, scores: Mapping[str, float]) -> dict[str, Tensor]:
    """``interpolation`` of E and of S, ``retrieval`` by S, and ``knows``: what readers find from each part."""
    pairs = shown_pairs(data)
    grids = {f"interpolate_{part}": interpolation_sheet(model, pairs, "x", part, COLUMNS) for part in ("exclusive", "shared")}
    gallery = gather_pairs([pairs_of(batch) for batch in data.held_out(GALLERY)], data.world)
    for d in DOMAINS:
        found = retrieve(model, gallery, d, ROWS, min(TOP, len(gallery)), "shared")
        grids[f"retrieval_{d}_to_{OTHER[d]}"] = retrieval_sheet(gallery, d, found)
    table = knowledge_picture(scores)
    return grids if table is None else grids | {"knows": table}


def shown_pairs(data: EvaluationData) -> Pairs:
    """The held-out pairs in this run's pictures."""
    assert isinstance(data.config, Config)
    return held_out(data.config, data.device, data.split, SHOWN)


def knowledge_picture(scores: Mapping[str, float]) -> Tensor | None:
    """The table of what is known from S and from E, or None where there is no truth to know."""
    rows = {"label": "class\n(accuracy)", "colour": "own colour\n(R²)"}
    known = [what for what in rows if f"probe/{what}_from_shared" in scores]
    if not known:
        return None
    table = np.array([[scores[f"probe/{what}_from_{part}"] for part in ("shared", "exclusive")] for what in known])
    return value_table(table, [rows[what] for what in known], ("S", "E"), "what readers find, through the noise", "Blues")
