"""Plots of a campaign's results, drawn by Optuna from the study that its configurations form."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration
from unbraid.trainers.search.plan.proposals import study_of

if TYPE_CHECKING:
    import optuna

MIN_FOR_IMPORTANCE = 4
"""Configurations below which importances mean nothing."""
RESAMPLES, FANOVA_TREES = 20, 32
"""Of the trials, for the uncertainty of importances; trees of each."""
WIDTH, HEIGHT = 7.5, 4.6
"""Inches of a plot."""
TILE = 1000
"""Pixels of a plot's width in the picture of all plots."""


def campaign_plots(campaign: Campaign, configurations: Sequence[Configuration]) -> list[tuple[str, bytes]]:
    """Title and PNG of each plot that the known results allow; empty while no configuration was trained to the end."""
    import matplotlib as mpl

    mpl.use("agg")
    from optuna.visualization import matplotlib as plots

    study = study_of(campaign, configurations)
    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    if not complete:
        return []
    found: list[tuple[str, bytes]] = []
    if len(campaign.objectives) in (2, 3):
        names = [short(metric) for metric in campaign.metrics]
        found.append(_drawn("Pareto front", plots.plot_pareto_front, study, target_names=names))
    always_active = [path for path in campaign.space if all(path in trial.params for trial in complete)]
    varied = [path for path in always_active if len({str(trial.params[path]) for trial in complete}) > 1]
    with_importance = len(complete) >= MIN_FOR_IMPORTANCE
    for objective in range(len(campaign.objectives)):
        found += _objective_plots(campaign, objective, study, varied, with_importance)
    return found


def _objective_plots(
    campaign: Campaign, objective: int, study: optuna.Study, varied: list[str], with_importance: bool
) -> list[tuple[str, bytes]]:
    """The plots of one objective.

    Args:
        objective: its number.
        varied: paths whose values differ between configurations.
    """
    from optuna.visualization import matplotlib as plots

    metric = campaign.metrics[objective]
    target: dict[str, Any] = {"target_name": short(metric)}
    found: list[tuple[str, bytes]] = []
    if len(campaign.objectives) > 1:
        target["target"] = partial(_value, objective)
    else:
        found.append(_drawn("Optimisation history", plots.plot_optimization_history, study, **target))
    if with_importance and varied:
        with suppress(RuntimeError):  # fANOVA refuses scores that are all the same
            found.append(_drawn(f"Importance for {metric} (fANOVA)", _importances, study, varied=varied, objective=objective))
    if len(varied) > 1:
        title = f"Parallel coordinates, {metric}"
        found.append(_drawn(title, plots.plot_parallel_coordinate, study, params=varied, **target))
    if varied:
        found.append(_drawn(f"Slices, {metric}", plots.plot_slice, study, len(varied), params=varied, **target))
    return found


def _value(objective: int, trial: optuna.trial.FrozenTrial) -> float:
    return float(trial.values[objective])


def short(metric: str) -> str:
    """The last part of a metric's name, short enough for an axis."""
    return metric.rpartition("/")[2].replace("_", " ")


def tiled_png(pictures: Sequence[bytes]) -> bytes:
    """All plots in one PNG, two in a row."""
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


def importances(study: optuna.Study, varied: Sequence[str], objective: int) -> dict[str, list[float]]:
    """The importance of each path by fANOVA, of resampled trials: how far the values lie apart is their uncertainty.

    Raises:
        RuntimeError: when all scores are the same.
    """
    import optuna
    from optuna.importance import FanovaImportanceEvaluator

    source = random.Random(0)
    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    found: dict[str, list[float]] = {path: [] for path in varied}
    for resample in range(RESAMPLES):
        chosen = source.choices(complete, k=len(complete)) if resample else complete
        if any(len({str(trial.params[path]) for trial in chosen}) < 2 for path in varied):
            continue
        again = optuna.create_study(directions=study.directions)
        again.add_trials(chosen)
        evaluator = FanovaImportanceEvaluator(n_trees=FANOVA_TREES, seed=resample)
        with suppress(RuntimeError) if resample else nullcontext():
            values = evaluator.evaluate(again, params=list(varied), target=partial(_value, objective))
            for path in varied:
                found[path].append(values[path])
    return found


def _importances(study: optuna.Study, varied: Sequence[str], objective: int) -> None:
    """Draw importances as bars, with the middle 80 % of resampled trials as a line."""
    from matplotlib import pyplot

    found = importances(study, varied, objective)
    order = sorted(found, key=lambda path: found[path][0])
    middles = [found[path][0] for path in order]
    ends = [(sorted(found[path])[len(found[path]) // 10], sorted(found[path])[-1 - len(found[path]) // 10]) for path in order]
    errors = [[max(m - low, 0) for m, (low, _) in zip(middles, ends, strict=True)],
              [max(high - m, 0) for m, (_, high) in zip(middles, ends, strict=True)]]  # fmt: skip
    _, panel = pyplot.subplots()
    panel.barh(order, middles, xerr=errors, color="#7aa6c2", ecolor="#333", capsize=4)
    panel.set_xlabel(f"share of the score's variance; lines: middle 80 % of {len(found[order[0]])} resamples of the trials")


def _drawn(title: str, draw: Callable[..., Any], study: optuna.Study, panels: int = 1, **arguments: Any) -> tuple[str, bytes]:
    """A plot's title and PNG.

    Args:
        draw: one of Optuna's plotting functions.
        panels: beside each other in it.
    """
    from matplotlib import pyplot, rc_context

    with rc_context():  # Optuna sets a style for the whole process
        draw(study, **arguments)
        figure = pyplot.gcf()
        figure.set_size_inches(max(WIDTH, 2.6 * panels), HEIGHT)
        for panel in figure.axes:
            for place in ("left", "center"):
                panel.set_title("", loc=place)
            _place_legend(panel)
        figure.suptitle(title, fontsize=12, y=1.0)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, facecolor="white", bbox_inches="tight")
        pyplot.close("all")
        return title, buffer.getvalue()


def _place_legend(panel: Any) -> None:
    legend = panel.get_legend()
    if legend is not None:
        legend.set_loc("best")
