"""Pictures of trained InfoGANs that a command asks for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unbraid.models.infogan.codes import sample_codes
from unbraid.models.random import RandomSource
from unbraid.trainers.config.words import nearest
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.open import find_run
from unbraid.trainers.runs.pictures import rendered, sheet
from unbraid.trainers.runs.record import read_config, read_metrics
from unbraid.trainers.systems.infogan.config import Config
from unbraid.trainers.systems.infogan.model import Model
from unbraid.trainers.systems.infogan.pictures import traversal

FEW = 20
"""Points of a curve that are drawn as points too: a single one is no line."""


def traverse(
    model: Model, codes: Sequence[str], rows: int, columns: int, limits: tuple[float, float], source: RandomSource
) -> Tensor:
    """Images whose rows vary one code, several codes below each other: (3, H, W) uint8.

    Args:
        codes: names; empty means all.
        rows: draws of noise and of the other codes, the same for all codes.
        columns: equal steps of a continuous code between ``limits``; a categorical code has a column for each value.

    Raises:
        ConfigError: when the run has no such code.
    """
    spec = model.codes
    for name in codes:
        if name not in spec.names:
            raise ConfigError(f"--code {name}: the run's codes are {', '.join(spec.names)}{nearest(name, spec.names)}")
    base = sample_codes(spec, source, rows)
    grids = [sheet(*traversal(model, base, name, columns, limits)) for name in codes or spec.names]
    return below_each_other(grids)


def below_each_other(pictures: Sequence[Tensor], gap: int = 8) -> Tensor:
    """Join pictures (3, H, W) uint8 of any widths to one, on white."""
    width = max(picture.shape[2] for picture in pictures)
    joined = torch.full((3, sum(picture.shape[1] + gap for picture in pictures) - gap, width), 255, dtype=torch.uint8)
    top = 0
    for picture in pictures:
        joined[:, top : top + picture.shape[1], : picture.shape[2]] = picture
        top += picture.shape[1] + gap
    return joined


def information_curves(runs: Sequence[str], storage: str, code: str) -> Tensor:
    """L_I of one code over the updates of several runs, in one plot with its ceiling: (3, H, W) uint8.

    Args:
        runs: names in ``storage``, folders or URLs.

    Raises:
        ConfigError: when one is no run of InfoGAN, has no such code, or has recorded nothing yet.
        DataError: when there is no such run.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.6), dpi=120, layout="constrained")
    axes = figure.subplots()
    ceilings: set[float] = set()
    for run in runs:
        store = find_run(run, storage)
        config = read_config(store)
        if not isinstance(config, Config):
            raise ConfigError(f"{run}: is a run of {config.system}; name runs of infogan")
        if code not in config.codes.names:
            raise ConfigError(f"--code {code}: the codes of {run} are {', '.join(config.codes.names)}")
        points = [(line["step"], line[key]) for line in read_metrics(store) if (key := f"info/{code}_nats") in line]
        if not points:
            raise ConfigError(f"{run}: has recorded no update yet; train it first")
        weight = "" if config.loss.info_generator else ", no L_I in G's loss"
        axes.plot(
            *zip(*points, strict=True),
            label=f"{config.run.name}{weight}",
            linewidth=1.2,
            marker="." if len(points) < FEW else "",
        )
        ceilings.add(config.codes.ceilings[code])
    for ceiling in sorted(ceilings):
        axes.axhline(ceiling, color="0.3", linestyle="--", linewidth=0.9, label=f"ceiling, {ceiling:.3f} nats")
    axes.set_xlabel("update")
    axes.set_ylabel(f"L_I of {code}, nats")
    axes.grid(alpha=0.3)
    axes.legend()
    return rendered(figure)
