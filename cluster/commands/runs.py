"""``unbraid runs``: list, show, compare and delete the runs of a storage."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unbraid.cluster.commands.options import json_option, runs_storage_option
from unbraid.cluster.commands.tables import STATUS_HEAD, event_lines, status_cells, status_lines
from unbraid.cluster.local.services import use_local_services
from unbraid.datasets.untrusted.documents import DocumentError
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.progress import aligned

if TYPE_CHECKING:
    from unbraid.trainers.runs.summary import Summary, Unreadable


@click.group()
def runs() -> None:
    """Runs in a storage: list, show, compare, report, open, pull, delete. Needs no cluster.

    \b
    Examples:
      unbraid runs list --storage s3://bucket/runs
      unbraid runs pull s3://bucket/runs/mine
      unbraid runs compare mine yours
    """


@runs.command("list")
@runs_storage_option
@json_option
def list_runs(storage: str, as_json: bool) -> None:
    """List all runs, with their status and how far they are.

    \b
    Example:
      unbraid runs list --storage s3://bucket/runs
    """
    use_local_services()
    from unbraid.trainers.runs.open import run_names
    from unbraid.trainers.runs.summary import Summary, Unreadable, summaries

    found = sorted(summaries(storage, run_names(storage)), key=lambda run: -run.started)
    if as_json:
        click.echo(json.dumps([run.as_dict() for run in found], indent=2))
    elif not found:
        click.echo(f"no runs in {storage}")
    else:
        head = ("RUN", "STATUS", "SYSTEM", *STATUS_HEAD, "MEASURE")
        rows = [_cells(run) for run in found if isinstance(run, Summary)]
        rows += [(run.name, run.status, *[""] * (len(head) - 2)) for run in found if isinstance(run, Unreadable)]
        click.echo(aligned([head, *rows]))
        for run in found:
            _name_damage(run)


@runs.command()
@click.argument("run")
@runs_storage_option
@json_option
def show(run: str, storage: str, as_json: bool) -> None:
    """Show one run. That is how far it is, what it measured, what happened to it, where its report is.

    \b
    Example:
      unbraid runs show mine
    """
    use_local_services()
    from unbraid.trainers.runs.checkpoint import complete_steps
    from unbraid.trainers.runs.events import read_events
    from unbraid.trainers.runs.record import REPORT_KEY, read_metrics, read_run_or_none
    from unbraid.trainers.runs.summary import store_of
    from unbraid.trainers.runs.watch import Watch

    summary = _summary(storage, run)
    if as_json:
        click.echo(json.dumps(summary.as_dict(), indent=2))
        return
    store = store_of(summary)
    lines = status_lines(summary)
    lines += [f"  {name} {value:.4f}" for name, value in summary.evaluation.items()]
    lines += [f"nothing was learnt: {summary.nothing_learnt}"] if summary.nothing_learnt else []
    if steps := complete_steps(store):
        judged_from = (read_run_or_none(store) or {}).get("judged_from", 0)
        kept = Watch(summary.config, read_metrics(store), judged_from).kept(steps)
        lines.append(f"checkpoints: {' '.join(kept.label(step) for step in steps)}")
    lines += event_lines(read_events(store))
    if store.exists(REPORT_KEY):
        lines.append(f"report: {summary.url}/{REPORT_KEY}")
    click.echo("\n".join(lines))


@runs.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN RUN...")
@runs_storage_option
def compare(names: tuple[str, ...], storage: str) -> None:
    """Compare runs. Prints which of the settings that all have differ, and what each measured.

    On a terminal, cells are cut to its width; a pipe gets them whole.

    \b
    Example:
      unbraid runs compare mine yours --storage s3://bucket/runs
    """
    use_local_services()
    from unbraid.trainers.config.schema import differences, keys_of
    from unbraid.trainers.runs.summary import Summary

    if len(names) < 2:
        raise ConfigError("compare: name two runs at least; `unbraid runs list` lists them")
    found = [_summary_or_unreadable(storage, name) for name in names]
    known = [run for run in found if isinstance(run, Summary)]
    changed = {key for run in known[1:] for key in differences(known[0].config, run.config)}
    shared = set.intersection(*(keys_of(run.config) for run in known)) if known else set()
    measures = list(dict.fromkeys(name for run in known for name in run.evaluation))
    rows = [
        ("", *names),
        ("status", *map(_status, found)),
        ("updates", *(_of(run, lambda run: str(run.step)) for run in found)),
    ]
    rows += [
        (key, *(_of(run, partial(_setting, key=key)) for run in found)) for key in sorted((changed & shared) - {"run.name"})
    ]
    rows += [(name, *(_of(run, partial(_measure, name=name)) for run in found)) for name in measures]
    click.echo(aligned(_cut(rows) if sys.stdout.isatty() else rows))
    if alone := changed - shared:
        click.echo(f"and {len(alone)} settings that only some of them have; the config.yaml of each has them all")
    for run in found:
        _name_damage(run)


@runs.command()
@click.argument("run")
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--only",
    metavar="PART[,PART...]",
    help="Of report, pictures, metrics, checkpoint (the newest), tensorboard.  [default: all but older checkpoints]",
)
@runs_storage_option
def pull(run: str, folder: Path | None, only: str | None, storage: str) -> None:
    """Copy RUN from its storage into FOLDER, by default one of its name here. What is there already is not copied again.

    The copy is a run like any other: show, eval, generate, export and train take it.

    \b
    Examples:
      unbraid runs pull s3://bucket/runs/mine
      unbraid runs pull mine ./looks --only report,pictures --storage s3://bucket/runs
    """
    use_local_services()
    from unbraid.trainers.runs.open import find_run
    from unbraid.trainers.runs.pull import pull_run

    store = find_run(run, storage)
    place = folder or Path(store.url.rstrip("/").rpartition("/")[2])
    copied = pull_run(store, place, None if only is None else only.split(","), click.echo)
    click.echo(f"{place}: {copied.objects:,} objects, {copied.bytes / 1e6:,.1f} MB; {copied.known:,} were there already")


@runs.command()
@click.argument("run")
@runs_storage_option
def report(run: str, storage: str) -> None:
    """Draw the page of RUN, finished or not: measures, curves, pictures by update, and an explorer of its model.

    \b
    Example:
      unbraid runs report mine --storage s3://bucket/runs
    """
    use_local_services()
    from unbraid.trainers.use.page.page import PAGE_KEY, write_page
    from unbraid.trainers.use.run import open_run

    found = open_run(run, storage)
    size = write_page(found)
    click.echo(f"{found.url}/{PAGE_KEY}: {size / 1e6:.1f} MB")


@runs.command("open")
@click.argument("run")
@runs_storage_option
def open_report(run: str, storage: str) -> None:
    """Show the page of RUN in the desktop's browser, wherever the run lies; print where it is. It is drawn where there is none.

    \b
    Example:
      unbraid runs open mine --storage s3://bucket/runs
    """
    use_local_services()
    from unbraid.datasets.store import FolderStore
    from unbraid.trainers.runs.open import find_run
    from unbraid.trainers.use.page.page import PAGE_KEY, write_page
    from unbraid.trainers.use.run import Run

    store = find_run(run, storage)
    if not store.exists(PAGE_KEY):
        write_page(Run(store))
    if isinstance(store, FolderStore):
        path = store.root / PAGE_KEY
    else:
        path = Path(tempfile.mkdtemp(prefix="unbraid-report-")) / PAGE_KEY
        path.write_bytes(store.get(PAGE_KEY))
    click.echo(str(path.absolute()))
    click.launch(str(path.absolute()))


def _cut(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """The rows with cells that fit the terminal's width together; what is cut ends in an ellipsis."""
    gap, least = 2, 8
    columns = shutil.get_terminal_size().columns
    first = min(max(len(row[0]) for row in rows), columns // 2)
    each = max((columns - first) // (len(rows[0]) - 1) - gap, least)
    return [[_shortened(row[0], first), *(_shortened(cell, each) for cell in row[1:])] for row in rows]


def _shortened(cell: str, width: int) -> str:
    return cell if len(cell) <= width else f"{cell[: width - 1]}…"


@runs.command()
@click.argument("run")
@runs_storage_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(run: str, storage: str, yes: bool) -> None:
    """Delete a run and everything in it.

    \b
    Example:
      unbraid runs delete mine --yes
    """
    use_local_services()
    from unbraid.trainers.runs.open import delete_run, find_run
    from unbraid.trainers.runs.summary import Summary, holder_of

    summary, store = _summary_or_unreadable(storage, run), find_run(run, storage)
    with suppress(DocumentError):  # a damaged entry: whoever holds a run writes it again every few seconds
        if holder := holder_of(store):
            raise ConfigError(f"run {run} is being trained by {holder}: stop that first")
    if not yes:
        what = f"update {summary.step} of {summary.updates}" if isinstance(summary, Summary) else summary.message
        click.confirm(f"delete {store.url} ({summary.status}, {what})?", abort=True)
    click.echo(f"{delete_run(store)} objects deleted")


def _summary(storage: str, name: str) -> Summary:
    """Read how far a run is.

    Raises:
        ConfigError: when there is no such run, naming the nearest.
    """
    from unbraid.trainers.runs.open import find_run
    from unbraid.trainers.runs.summary import summarise

    return summarise(find_run(name, storage), name)


def _summary_or_unreadable(storage: str, name: str) -> Summary | Unreadable:
    """Read how far a run is, or what of it cannot be read.

    Raises:
        ConfigError: when there is no such run, naming the nearest.
    """
    from unbraid.datasets.store import AbsentError
    from unbraid.trainers.runs.open import find_run
    from unbraid.trainers.runs.summary import Unreadable, summarise

    store = find_run(name, storage)
    try:
        return summarise(store, name)
    except (ConfigError, AbsentError) as error:
        return Unreadable(name, str(error))


def _name_damage(run: Summary | Unreadable) -> None:
    """Print one line for each file of a run that could not be read."""
    for message in run.damaged:
        click.echo(f"{run.name}: {message}", err=True)


def _status(run: Summary | Unreadable) -> str:
    """Format the status, and whether files of the run are damaged."""
    return f"{run.status}, damaged" if run.damaged and run.status != "unreadable" else run.status


def _of(run: Summary | Unreadable, cell: Callable[[Summary], str]) -> str:
    """A cell of a table of runs; "-" for one that cannot be read."""
    from unbraid.trainers.runs.summary import Summary

    return cell(run) if isinstance(run, Summary) else "-"


def _measure(run: Summary, name: str) -> str:
    """Format a measure of a run; "-" where it has none."""
    return f"{run.evaluation[name]:.4f}" if name in run.evaluation else "-"


def _cells(run: Summary) -> tuple[str, ...]:
    """Format one run as a row."""
    return (run.name, _status(run), run.config.system, *status_cells(run), _primary_metric(run))


def _primary_metric(run: Summary) -> str:
    """Format what the run scored on its main measure; "" before it was evaluated."""
    metric = run.config.primary_metric
    measured = f"{metric.words} {run.evaluation[metric.name]:.4f}" if metric and metric.name in run.evaluation else ""
    return f"{measured}, nothing learnt" if run.nothing_learnt else measured


def _setting(run: Summary, key: str) -> str:
    """Format the value of a dotted key of the run's configuration; "-" where it has none."""
    value: object = run.config.model_dump(mode="json")
    for part in key.split("."):
        value = value.get(part, "-") if isinstance(value, dict) else "-"
    return str(value)
