"""Pictures that show what each code does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from unbraid.models.infogan.codes import CodeSample, latent_vector, sample_codes
from unbraid.models.random import RandomSource
from unbraid.trainers.data import EvaluationData
from unbraid.trainers.measures.clustering import Clustering
from unbraid.trainers.runs.pictures import image_grid, rendered
from unbraid.trainers.system import Measures
from unbraid.trainers.systems.infogan.measures import code_clusterings, read_codes
from unbraid.trainers.systems.infogan.model import Model

PICTURE_SEED = 7
ROWS = 10
CONTINUOUS_RANGE = 2.0
"""Traversals of continuous codes go beyond their prior's [-1, 1], as in the paper's figure 2."""
CONTINUOUS_STEPS = 11
SORTED_COLUMNS = 20
SORTED_IMAGES = 10_000
"""Held-out images that are sorted by a code."""


def preview(model: Model, data: EvaluationData) -> dict[str, Tensor]:
    """``samples``, and for each code a grid that varies it along the columns and holds the rest of each row fixed."""
    spec = model.codes
    source = RandomSource(PICTURE_SEED, model.device)
    base = sample_codes(spec, source, ROWS)
    grids = {"samples": _draw(model, sample_codes(spec, source, ROWS * ROWS), ROWS)}
    limits = (-CONTINUOUS_RANGE, CONTINUOUS_RANGE)
    for name in spec.names:
        held = base if name.startswith("categorical") else _one_class_a_row(base, spec.categorical)
        grids[f"traversal_{name}"] = image_grid(*traversal(model, held, name, CONTINUOUS_STEPS, limits))
    return grids


def traversal(model: Model, base: CodeSample, code: str, columns: int, limits: tuple[float, float]) -> tuple[Tensor, int]:
    """Images (N, C, H, W) in [0, 1] in which one code varies along each row of the grid, and the number of its columns.

    Args:
        base: what each row holds.
        columns: equal steps of a continuous code between ``limits``; a categorical code has a column for each value.
    """
    spec, rows = model.codes, len(base.noise)
    kind, _, number = code.rpartition("_")
    i = int(number)
    steps = spec.categorical[i] if kind == "categorical" else columns
    varied = _repeated(base, steps)
    categorical, continuous = varied.categorical.clone(), varied.continuous.clone()
    if kind == "categorical":
        categorical[:, i] = torch.arange(steps, device=model.device).repeat(rows)
    else:
        continuous[:, i] = torch.linspace(*limits, steps, device=model.device).repeat(rows)
    sample = CodeSample(varied.noise, categorical, continuous)
    return model.unit_range(model.draw(latent_vector(spec, sample))), steps


def figures(model: Model, data: EvaluationData, scores: Measures) -> dict[str, Tensor]:
    """``real_and_fake``, and for each categorical code real images sorted by it and its table against the labels."""
    read = read_codes(model, data, SORTED_IMAGES)
    spec = model.codes
    half = ROWS // 2 * ROWS
    fake = model.unit_range(model.sample(half, RandomSource(PICTURE_SEED + 1, model.device)))
    grids = {"real_and_fake": image_grid(torch.cat([model.unit_range(model.normalise(read.images[:half])), fake]), ROWS)}
    clusterings = code_clusterings(spec, read)
    for i, classes in enumerate(spec.categorical):
        name = f"categorical_{i}"
        grids[f"sorted_{name}"] = _sorted_images(read.images, read.assigned[: len(read.images), i], classes)
        if name in clusterings:
            grids[f"matrix_{name}"] = matrix_picture(clusterings[name], name)
    return grids


def _draw(model: Model, sample: CodeSample, columns: int) -> Tensor:
    return image_grid(model.unit_range(model.draw(latent_vector(model.codes, sample))), columns)


def _repeated(sample: CodeSample, times: int) -> CodeSample:
    """Repeat each row ``times`` times in succession."""
    return CodeSample(*(part.repeat_interleave(times, 0) for part in (sample.noise, sample.categorical, sample.continuous)))


def _one_class_a_row(sample: CodeSample, categorical: tuple[int, ...]) -> CodeSample:
    if not categorical:
        return sample
    classes = sample.categorical.clone()
    classes[:, 0] = torch.arange(len(classes), device=classes.device) % categorical[0]
    return replace(sample, categorical=classes)


def _sorted_images(images: Tensor, assigned: np.ndarray[tuple[int], np.dtype[np.int64]], classes: int) -> Tensor:
    chosen = [torch.from_numpy(np.flatnonzero(assigned == value)) for value in range(classes)]
    return image_grid(in_rows(images, chosen), SORTED_COLUMNS)


def in_rows(images: Tensor, chosen: Sequence[Tensor]) -> Tensor:
    """The first images of each choice in a row of :data:`SORTED_COLUMNS`, filled with white: (N, C, H, W) in [0, 1].

    Args:
        images: (N, C, H, W) uint8.
        chosen: their indices, for each row.
    """
    rows = []
    for indices in chosen:
        first = images[indices[:SORTED_COLUMNS]].cpu().float() / 255
        rows += [first, torch.ones(SORTED_COLUMNS - len(first), *images.shape[1:])]
    return torch.cat(rows)


def matrix_picture(result: Clustering, name: str) -> Tensor:
    """The table of a code's values against true classes, rows in the matched order, as a picture."""
    from matplotlib.figure import Figure

    counts = result.counts[result.order]
    figure = Figure(figsize=(5.2, 5.0), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts / np.maximum(counts.sum(0, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(counts.shape[1]))
    axes.set_yticks(range(len(counts)), [str(code) for code in result.order])
    axes.set_xlabel("true class")
    axes.set_ylabel(f"value of {name}, matched order")
    axes.set_title(f"accuracy {result.accuracy:.3f}   NMI {result.nmi:.3f}   ARI {result.ari:.3f}", fontsize=10)
    if counts.size <= 400:
        for (row, column), count in np.ndenumerate(counts):
            dark = count > 0.6 * max(counts[:, column].sum(), 1)
            axes.text(column, row, str(count), ha="center", va="center", fontsize=7, color="white" if dark else "black")
    return rendered(figure)
