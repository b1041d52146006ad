"""Plots that explain a campaign: Optuna's, of the study that the campaign's configurations make."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration
from unbraid.trainers.search.plan.proposals import study_of

if TYPE_CHECKING:
    import optuna

LEAST_FOR_IMPORTANCE = 4
WIDTH, HEIGHT = 7.5, 4.6
TILE = 1000
"""Pixels of a plot's width in the picture of all."""


def campaign_plots(campaign: Campaign, configurations: Sequence[Configuration]) -> list[tuple[str, bytes]]:
    """Title and PNG of each plot that can be drawn of what is known."""
    import matplotlib as mpl

    mpl.use("agg")
    from optuna.visualization import matplotlib as drawn

    study = study_of(campaign, configurations)
    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    if not complete:
        return []
    found: list[tuple[str, bytes]] = []
    many = len(campaign.objectives) > 1
    if len(campaign.objectives) in (2, 3):
        found.append(_drawn("Pareto front", drawn.plot_pareto_front, study, target_names=[short(m) for m in campaign.metrics]))
    common = [path for path in campaign.space if all(path in trial.params for trial in complete)]
    varied = [path for path in common if len({str(trial.params[path]) for trial in complete}) > 1]
    for i, metric in enumerate(campaign.metrics):
        of_one: dict[str, Any] = {"target_name": short(metric)}
        if many:
            of_one["target"] = partial(_value, i)
        else:
            found.append(_drawn("Optimisation history", drawn.plot_optimization_history, study, **of_one))
        if len(complete) >= LEAST_FOR_IMPORTANCE and varied:
            importances = {"evaluator": _fanova(), "params": varied, **of_one}
            with suppress(RuntimeError):  # fANOVA of scores that are all the same
                found.append(_drawn(f"Importance for {metric} (fANOVA)", drawn.plot_param_importances, study, **importances))
        if len(varied) > 1:
            found.append(
                _drawn(f"Parallel coordinates, {metric}", drawn.plot_parallel_coordinate, study, params=varied, **of_one)
            )
        if varied:
            found.append(_drawn(f"Slices, {metric}", drawn.plot_slice, study, len(varied), params=varied, **of_one))
    return found


def _value(objective: int, trial: optuna.trial.FrozenTrial) -> float:
    return float(trial.values[objective])


def short(metric: str) -> str:
    """The last part of a metric's name, which fits beside an axis."""
    return metric.rpartition("/")[2].replace("_", " ")


def tiled(pictures: Sequence[bytes]) -> bytes:
    """Plots in one picture, two a row."""
    from PIL import Image

    images = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
    scaled = [image.resize((TILE, round(TILE * image.height / image.width))) for image in images]
    rows = [scaled[i : i + 2] for i in range(0, len(scaled), 2)]
    heights = [max(image.height for image in row) for row in rows]
    sheet = Image.new("RGB", (2 * TILE, max(sum(heights), 1)), "white")
    top = 0
    for row, height in zip(rows, heights, strict=True):
        for column, image in enumerate(row):
            sheet.paste(image, (column * TILE, top))
        top += height
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _fanova() -> optuna.importance.BaseImportanceEvaluator:
    from optuna.importance import FanovaImportanceEvaluator

    return FanovaImportanceEvaluator(seed=0)


def _drawn(title: str, draw: Callable[..., Any], study: optuna.Study, wide: int = 1, **arguments: Any) -> tuple[str, bytes]:
    from matplotlib import pyplot

    draw(study, **arguments)
    figure = pyplot.gcf()
    figure.set_size_inches(max(WIDTH, 2.6 * wide), HEIGHT)
    for panel in figure.axes:
        for place in ("left", "center"):
            panel.set_title("", loc=place)
        _tame_legend(panel)
    figure.suptitle(title, fontsize=12, y=1.0)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, facecolor="white", bbox_inches="tight")
    pyplot.close("all")
    return title, buffer.getvalue()


def _tame_legend(panel: Any) -> None:
    legend = panel.get_legend()
    if legend is not None:
        legend.set_loc("best")
