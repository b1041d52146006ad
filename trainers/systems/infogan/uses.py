"""Pictures of trained InfoGANs that a command asks for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.config.words import nearest
from unbraid.trainers.data import EvaluationData
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.open import find_run
from unbraid.trainers.runs.pictures import rendered, sheet
from unbraid.trainers.runs.record import read_config, read_metrics
from unbraid.trainers.systems.infogan.config import Config
from unbraid.trainers.systems.infogan.inference import InfoGAN, Reading
from unbraid.trainers.systems.infogan.pictures import SORTED_COLUMNS, in_rows
from unbraid.trainers.use.images import Images

DRAWN_BESIDE = 8
"""Images that are drawn with the codes that were read from one."""
FEW = 20
"""Points of a curve that are drawn as points too: a single one is no line."""


def sorted_by(model: InfoGAN, config: SystemConfig, code: str, count: int) -> Tensor:
    """Held-out images by the class that Q reads, a row for each class, the surest first: (3, H, W) uint8.

    Args:
        config: names the set.
        code: a categorical one.
        count: of images that are read.

    Raises:
        ConfigError: when the model has no such code.
    """
    spec = model.networks.codes
    classes = {f"categorical_{i}": classes for i, classes in enumerate(spec.categorical)}
    if code not in classes:
        raise ConfigError(
            f"--code {code}: the run's categorical codes are {', '.join(classes) or 'none'}{nearest(code, classes)}"
        )
    data = EvaluationData(config, model.device, config.data.reported_split)
    images = torch.cat([batch["image"].cpu() for batch in data.held_out(count)])
    sure = torch.from_numpy(model.read(images).probabilities[code])
    surest = []
    for value in range(classes[code]):
        mine = (sure.argmax(1) == value).nonzero()[:, 0]
        surest.append(mine[sure[mine, value].argsort(descending=True)])
    return sheet(in_rows(images, surest).expand(-1, 3, -1, -1), SORTED_COLUMNS)


def reading_picture(model: InfoGAN, images: Images, reading: Reading) -> Tensor:
    """Each row: an image, then draws with the codes that were read from it and other noise: (3, H, W) uint8."""
    rows = []
    for row in range(len(images)):
        drawn = model.sample(DRAWN_BESIDE, seed=0, **reading.codes(row))
        rows.append(torch.cat([images.tensor[row : row + 1], drawn.tensor]))
    return Images(torch.cat(rows), 1 + DRAWN_BESIDE).picture()


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
