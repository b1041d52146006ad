"""A run of stage I beside its controls: what each lets leak from one factor to the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unbraid.models.dpig.specs import FACTORS
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.open import find_run
from unbraid.trainers.runs.pictures import rendered
from unbraid.trainers.runs.record import read_config, read_run
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import build_system

OTHER_SIZE = 0.2
"""Share by which a control's parameters may differ: with more, a difference of leakage may be one of capacity."""
NEEDED = ("leakage/off_diagonal", *(f"leakage/{row}_on_{column}" for row in FACTORS for column in FACTORS))


@dataclass(frozen=True)
class Measured:
    """A finished run of stage I.

    Attributes:
        name: as the command calls it.
        parameters: of its generator.
        scores: at its last update.
        data: digest of its set, and the split that it was measured on.
    """

    name: str
    parameters: int
    scores: Mapping[str, float]
    data: tuple[str, str]


def compare(run: str, controls: Sequence[str], storage: str) -> tuple[Tensor, list[str]]:
    """Leakage of a run and of controls, each in a table of its own: a picture (3, H, W) uint8, and a line for each run.

    Args:
        run, controls: names in ``storage``, folders or URLs of finished runs of stage I.

    Raises:
        ConfigError: when one is of another system, has no leakage measured, or cannot be compared: a control of another
            data set, or whose generator is larger or smaller by more than a fifth.
        DataError: when there is no such run.
    """
    ours, *others = [_measured(name, storage) for name in (run, *controls)]
    for control in others:
        _require_alike(ours, control)
    own = ours.scores["leakage/off_diagonal"]
    lines = [f"{ours.name}: mean leak {own:.3f}, {ours.parameters:,} parameters"]
    for control in others:
        leak = control.scores["leakage/off_diagonal"]
        ratio = f"{ours.name} has {own / leak:.3f} times as much" if leak else "no share of it can be said"
        lines.append(f"{control.name}: mean leak {leak:.3f}, {control.parameters:,} parameters; {ratio}")
    return _tables((ours, *others)), lines


def _measured(name: str, storage: str) -> Measured:
    store = find_run(name, storage)
    config, record = read_config(store), read_run(store)
    if config.system != "dpig.appearance":
        raise ConfigError(f"{name}: is a run of {config.system}; leakage is measured in runs of dpig.appearance")
    scores = record.get("evaluation") or {}
    if missing := [measure for measure in NEEDED if measure not in scores]:
        status = record.get("status")
        why = (
            "its set has no known truth, or it has no background: `unbraid data make people` makes one that has"
            if status == "finished"
            else f"it is {status}, and measured when it is finished"
        )
        raise ConfigError(f"{name}: has no {missing[0]}: {why}")
    data = (record.get("data_digest", ""), record.get("evaluation_split", ""))
    return Measured(name, _parameters(config), scores, data)


def _parameters(config: SystemConfig) -> int:
    generator = build_system(config, torch.device("meta"), World()).networks["generator"]
    return sum(parameter.numel() for parameter in generator.parameters())


def _require_alike(ours: Measured, control: Measured) -> None:
    if control.data != ours.data:
        raise ConfigError(
            f"{control.name}: was measured on {_place(control)}, {ours.name} on {_place(ours)}; "
            "train the control on the same set"
        )
    if abs(control.parameters / ours.parameters - 1) > OTHER_SIZE:
        raise ConfigError(
            f"{control.name}: a control of other size: {control.parameters:,} parameters, {ours.name} has {ours.parameters:,}; "
            f"give its networks widths that bring it within {OTHER_SIZE:.0%}"
        )


def _place(run: Measured) -> str:
    digest, split = run.data
    return f"split {split} of the set {digest[:12]}"


def _tables(runs: Sequence[Measured]) -> Tensor:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.9 * len(runs) + 0.6, 3.9), dpi=110, layout="constrained")
    for axes, run in zip(figure.subplots(1, len(runs), squeeze=False)[0], runs, strict=True):
        values = np.array([[run.scores[f"leakage/{row}_on_{column}"] for column in FACTORS] for row in FACTORS])
        axes.imshow(values, cmap="Reds", vmin=0, vmax=1)
        axes.set_xticks(range(len(FACTORS)), FACTORS)
        axes.set_yticks(range(len(FACTORS)), FACTORS if run is runs[0] else [])
        axes.set_xlabel("pixels of")
        axes.set_title(f"{run.name}\nmean leak off the diagonal {run.scores['leakage/off_diagonal']:.3f}", fontsize=9)
        for (row, column), value in np.ndenumerate(values):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.6 else "black")
        if run is runs[0]:
            axes.set_ylabel("changed factor")
    return rendered(figure)
