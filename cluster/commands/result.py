"""What a finished run is told of in a terminal: its measures in words, where everything lies, and what to do next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

from unbraid.datasets.errors import DataError
from unbraid.datasets.untrusted.text import in_one_line
from unbraid.trainers.errors import TrainingError

if TYPE_CHECKING:
    from unbraid.datasets.store import Store
    from unbraid.trainers.config.schema import SystemConfig


def draw_page(store: Store, report: Callable[[str], object]) -> None:
    """Draw the page of a run that has ended; one that cannot be drawn is a line, and the run is what it was."""
    from unbraid.trainers.use.page.page import PAGE_KEY, write_page
    from unbraid.trainers.use.run import Run

    try:
        write_page(Run(store))
    except (TrainingError, DataError, OSError, ValueError, RuntimeError, ImportError) as error:
        report(f"{PAGE_KEY} could not be drawn ({in_one_line(error, 200)}); `unbraid runs report` tries again")


def print_result(config: SystemConfig, store: Store) -> None:
    """Print what a finished run scored, where its report and its model are, and the commands that come next."""
    from unbraid.trainers.runs.checkpoint import complete_steps, folder_of
    from unbraid.trainers.runs.progress import aligned
    from unbraid.trainers.runs.record import REPORT_KEY, read_run
    from unbraid.trainers.use.page.page import PAGE_KEY

    record = read_run(store)
    scores = record.get("evaluation", {})
    if scores:
        click.echo(aligned(_rows(config, scores)))
    steps = complete_steps(store)
    places = [("report", f"{store.url}/{PAGE_KEY if store.exists(PAGE_KEY) else REPORT_KEY}")]
    places += [("model", f"{store.url}/{folder_of(steps[-1])}")] if steps else []
    click.echo("\n".join(f"{name}: {place}" for name, place in places))
    if why := record.get("nothing_learnt"):
        click.echo(f"nothing was learnt: {why}", err=True)
    elif steps:
        click.echo("next:\n" + "\n".join(f"  {line}" for line in _next(config, store)))


def _rows(config: SystemConfig, scores: Mapping[str, float]) -> list[tuple[str, str]]:
    """The main measure in words, then all that explain it."""
    from unbraid.trainers.use.measures import readable

    metric = config.primary_metric
    rows = [(name, value) for name, value in readable(scores) if metric is None or name != metric.name]
    if metric is not None and metric.name in scores:
        rows.insert(0, (f"{metric.words}:", f"{scores[metric.name]:.4f}"))
    return rows


def _next(config: SystemConfig, store: Store) -> list[str]:
    """The commands that are most worth typing after a run."""
    from unbraid.cluster.commands.generate import generate
    from unbraid.trainers.use.trained import has_inference

    lines, group = [f"unbraid runs open {store.url}"], config.system.partition(".")[0]
    if has_inference(config.system):
        lines += [f"unbraid generate {group} --help"] if group in generate.short_helps else []
        lines += [f"unbraid export {store.url} ./{config.run.name}"]
    return lines
