"""Pictures that show what stage II draws."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from unbraid.models.dpig.specs import FACTORS
from unbraid.models.random import RandomSource
from unbraid.trainers.runs.pictures import rendered
from unbraid.trainers.system import Batch
from unbraid.trainers.systems.dpig.mapping.measures import embed_batch
from unbraid.trainers.systems.dpig.people import sitters
from unbraid.trainers.systems.dpig.pictures import interpolation_sheet, sampled_sheet, sheet_of_samples

if TYPE_CHECKING:
    from unbraid.trainers.systems.dpig.mapping.system import Mapping

PICTURE_SEED = 7
ROWS, COLUMNS = 5, 10
SCATTERED = 600


def preview_grids(system: Mapping) -> dict[str, Tensor]:
    """``samples`` where all factors are learnt, and ``sampled_FACTOR``: held-out people, each with that factor drawn anew."""
    people, model = sitters(system.config, system.device, ROWS), system.model
    source = RandomSource(PICTURE_SEED, system.device)
    grids = {}
    if set(system.widths) == set(FACTORS):
        grids["samples"] = sheet_of_samples(model, source, ROWS * COLUMNS, COLUMNS)
    for factor in system.widths:
        grids[f"sampled_{factor}"] = sampled_sheet(model, people, factor, COLUMNS, source)
    return grids


def explanation_grids(system: Mapping, batches: Iterable[Batch]) -> dict[str, Tensor]:
    """``interpolation`` between drawn people, and ``embeddings``: drawn among real ones on the real ones' main axes."""
    figures = {}
    if set(system.widths) == set(FACTORS):
        model = system.model
        source = RandomSource(PICTURE_SEED + 1, system.device)
        noises = {factor: model.noise(factor, 2 * ROWS, source) for factor in FACTORS}
        figures["interpolation"] = interpolation_sheet(model, noises, FACTORS, COLUMNS)
    figures["embeddings"] = _scatter(system, batches)
    return figures


def _scatter(system: Mapping, batches: Iterable[Batch]) -> Tensor:
    from matplotlib.figure import Figure

    real = embed_batch(system, next(iter(batches)))
    source, model = RandomSource(PICTURE_SEED + 2, system.device), system.model
    figure = Figure(figsize=(4.2 * len(real), 4.2), dpi=100, layout="constrained")
    for axes, (factor, values) in zip(figure.subplots(1, len(real), squeeze=False).flat, real.items(), strict=True):
        with torch.no_grad():
            drawn = model.mapping(factor).draw(model.noise(factor, SCATTERED, source))
        centre = values.mean(0)
        _, _, directions = torch.linalg.svd(values - centre, full_matrices=False)
        for name, points in (("real", values), ("drawn", drawn)):
            x, y = np.asarray(((points - centre) @ directions[:2].T).cpu()).T
            axes.scatter(x, y, s=5, alpha=0.5, label=name)
        axes.set_title(factor)
        axes.legend(fontsize=8)
    return rendered(figure)
