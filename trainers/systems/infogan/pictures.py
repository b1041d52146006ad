"""Pictures that show what each code does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from unbraid.models.infogan.codes import CodeSample, latent_vector, sample_codes
from unbraid.models.random import RandomSource
from unbraid.trainers.measures.clustering import Agreement, agreement
from unbraid.trainers.runs.pictures import image_grid, rendered
from unbraid.trainers.system import Batch
from unbraid.trainers.systems.infogan.measures import read_codes

if TYPE_CHECKING:
    from unbraid.trainers.systems.infogan.system import InfoGAN

PICTURE_SEED = 7
ROWS = 10
CONTINUOUS_RANGE = 2.0
"""Traversals of continuous codes go beyond their prior's [-1, 1], as in the paper's figure 2."""
CONTINUOUS_STEPS = 11
SORTED_COLUMNS = 20


def traversal_grids(system: InfoGAN) -> dict[str, Tensor]:
    """``samples``, and for each code a grid that varies it along the columns and holds the rest of each row fixed."""
    spec = system.codes
    source = RandomSource(PICTURE_SEED, system.device)
    base = sample_codes(spec, source, ROWS)
    grids = {"samples": _draw(system, sample_codes(spec, source, ROWS * ROWS), ROWS)}
    for i, classes in enumerate(spec.categorical):
        varied = _repeated(base, classes)
        categorical = varied.categorical.clone()
        categorical[:, i] = torch.arange(classes, device=system.device).repeat(ROWS)
        grids[f"traversal_categorical_{i}"] = _draw(system, replace(varied, categorical=categorical), classes)
    for i in range(spec.continuous):
        varied = _repeated(_one_class_a_row(base, spec.categorical), CONTINUOUS_STEPS)
        continuous = varied.continuous.clone()
        steps = torch.linspace(-CONTINUOUS_RANGE, CONTINUOUS_RANGE, CONTINUOUS_STEPS, device=system.device)
        continuous[:, i] = steps.repeat(ROWS)
        grids[f"traversal_continuous_{i}"] = _draw(system, replace(varied, continuous=continuous), CONTINUOUS_STEPS)
    return grids


def explanation_grids(system: InfoGAN, batches: Iterable[Batch]) -> dict[str, Tensor]:
    """``real_and_made``, and for each categorical code real images sorted by it and its table against the labels."""
    kept = list(batches)
    images = torch.cat([batch["image"] for batch in kept])
    spec = system.codes
    half = ROWS // 2 * ROWS
    made = system.draw(latent_vector(spec, sample_codes(spec, RandomSource(PICTURE_SEED + 1, system.device), half)))
    real = system.unit_range(system.normalise(images[:half]))
    figures = {"real_and_made": image_grid(torch.cat([real, system.unit_range(made)]), ROWS)}
    assigned, labels = read_codes(system, kept)
    for i, classes in enumerate(spec.categorical):
        figures[f"sorted_categorical_{i}"] = _sorted_images(images, assigned[:, i], classes)
        if labels is not None:
            figures[f"matrix_categorical_{i}"] = matrix_picture(agreement(assigned[:, i], labels, classes), f"categorical_{i}")
    return figures


def _draw(system: InfoGAN, sample: CodeSample, columns: int) -> Tensor:
    return image_grid(system.unit_range(system.draw(latent_vector(system.codes, sample))), columns)


def _repeated(sample: CodeSample, times: int) -> CodeSample:
    """Each row ``times`` times in succession."""
    return CodeSample(*(part.repeat_interleave(times, 0) for part in (sample.noise, sample.categorical, sample.continuous)))


def _one_class_a_row(sample: CodeSample, categorical: tuple[int, ...]) -> CodeSample:
    if not categorical:
        return sample
    classes = sample.categorical.clone()
    classes[:, 0] = torch.arange(len(classes), device=classes.device) % categorical[0]
    return replace(sample, categorical=classes)


def _sorted_images(images: Tensor, assigned: np.ndarray[tuple[int], np.dtype[np.int64]], classes: int) -> Tensor:
    rows = []
    for value in range(classes):
        chosen = images[torch.from_numpy(np.flatnonzero(assigned == value)[:SORTED_COLUMNS])].cpu().float() / 255
        blank = torch.ones(SORTED_COLUMNS - len(chosen), *images.shape[1:])
        rows.append(torch.cat([chosen, blank]))
    return image_grid(torch.cat(rows), SORTED_COLUMNS)


def matrix_picture(result: Agreement, name: str) -> Tensor:
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
