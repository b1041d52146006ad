"""Pictures that show what stage II draws."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unbraid.models.random import RandomSource
from unbraid.trainers.data import EVALUATION_BATCH, EvaluationData
from unbraid.trainers.runs.pictures import rendered
from unbraid.trainers.system import Measures
from unbraid.trainers.systems.dpig.mapping.measures import embed
from unbraid.trainers.systems.dpig.model import Model
from unbraid.trainers.systems.dpig.people import shown_people
from unbraid.trainers.systems.dpig.pictures import interpolation_sheet, sampled_sheet, sheet_of_samples

PICTURE_SEED = 7
ROWS, COLUMNS = 5, 10
SCATTERED = 600


def preview(model: Model, data: EvaluationData) -> dict[str, Tensor]:
    """``samples`` where all factors are learnt, and ``sampled_FACTOR``: held-out people, each with that factor drawn anew."""
    people = shown_people(data, ROWS)
    source = RandomSource(PICTURE_SEED, model.device)
    grids = {}
    if set(model.mappings) == set(model.factors):
        grids["samples"] = sheet_of_samples(model, source, ROWS * COLUMNS, COLUMNS)
    for factor in model.mappings:
        grids[f"sampled_{factor}"] = sampled_sheet(model, people, factor, COLUMNS, source)
    return grids


def figures(model: Model, data: EvaluationData, scores: Measures) -> dict[str, Tensor]:
    """``interpolation`` between drawn people, and ``embeddings``: drawn among real ones on the real ones' main axes."""
    grids = {}
    if set(model.mappings) == set(model.factors):
        source = RandomSource(PICTURE_SEED + 1, model.device)
        noises = {factor: model.noise(factor, 2 * ROWS, source) for factor in model.factors}
        grids["interpolation"] = interpolation_sheet(model, noises, model.factors, COLUMNS)
    grids["embeddings"] = _scatter(model, data)
    return grids


def _scatter(model: Model, data: EvaluationData) -> Tensor:
    from matplotlib.figure import Figure

    real = embed(model, data.held_out(EVALUATION_BATCH), data.world).embeddings
    source = RandomSource(PICTURE_SEED + 2, model.device)
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
