"""Plots that explain a campaign: Optuna's, of the study that the campaign's configurations make."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from trainers.search.campaign import Campaign
from trainers.search.history import Configuration
from trainers.search.proposals import study_of

if TYPE_CHECKING:
    import optuna
    from matplotlib.figure import Figure

LEAST_FOR_IMPORTANCE = 4
WIDTH, HEIGHT = 7.5, 4.6
TILE = 1000
"""Pixels of a plot's width in the picture of all."""


def campaign_plots(campaign: Campaign, configurations: Sequence[Configuration]) -> Iterator[tuple[str, bytes]]:
    """Title and PNG of each plot that can be drawn of what is known."""
    import matplotlib as mpl

    mpl.use("agg")
    from optuna.visualization import matplotlib as drawn

    study = study_of(campaign, configurations)
    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    if not complete:
        return
    if len(campaign.objectives) in (2, 3):
        names = [short(metric) for metric in campaign.metrics]
        yield "Pareto front", _png(drawn.plot_pareto_front, study, target_names=names)
    for i, metric in enumerate(campaign.metrics):
        of_one: dict[str, Any] = {"target_name": short(metric)}
        if len(campaign.objectives) > 1:
            of_one["target"] = lambda trial, i=i: trial.values[i]
        if len(campaign.objectives) == 1:
            yield "Optimisation history", _png(drawn.plot_optimization_history, study, **of_one)
        common = [path for path in campaign.space if all(path in trial.params for trial in complete)]
        varied = [path for path in common if len({str(trial.params[path]) for trial in complete}) > 1]
        if len(complete) >= LEAST_FOR_IMPORTANCE and varied:
            yield (
                f"Importance for {metric} (fANOVA)",
                _png(drawn.plot_param_importances, study, evaluator=_fanova(), params=varied, **of_one),
            )
        if len(varied) > 1:
            yield f"Parallel coordinates, {metric}", _png(drawn.plot_parallel_coordinate, study, params=varied, **of_one)
        if varied:
            yield f"Slices, {metric}", _png(drawn.plot_slice, study, params=varied, wide=len(varied), **of_one)


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


def _png(draw: Callable[..., Any], study: optuna.Study, wide: int = 1, **arguments: Any) -> bytes:
    from matplotlib import pyplot

    with pyplot.style.context("default"):
        draw(study, **arguments)
        figure: Figure = pyplot.gcf()
        figure.set_size_inches(max(WIDTH, 2.6 * wide), HEIGHT)
        for panel in figure.axes:
            panel.set_title("")
            _tame_legend(panel)
        figure.tight_layout()
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, facecolor="white")
        pyplot.close("all")
    return buffer.getvalue()


def _tame_legend(panel: Any) -> None:
    legend = panel.get_legend()
    if legend is not None:
        legend.set_loc("best")
