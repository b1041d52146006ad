"""``unbraid runs``: list, show, compare and delete the runs of a storage."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from unbraid.cluster.commands.options import json_option, runs_storage_option
from unbraid.cluster.commands.tables import STATUS_HEAD, event_lines, status_cells, status_lines
from unbraid.cluster.local.services import use_local_services
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.progress import aligned

if TYPE_CHECKING:
    from unbraid.trainers.runs.summary import Summary


@click.group()
def runs() -> None:
    """Runs in a storage: list, show, compare, delete. Needs no cluster.

    \b
    Examples:
      unbraid runs list --storage s3://bucket/runs
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
    from unbraid.trainers.runs.summary import Summary, Unreadable, run_names, summaries

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
            if isinstance(run, Unreadable):
                click.echo(f"{run.name}: {run.message}", err=True)


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
    from unbraid.trainers.runs.events import read_events
    from unbraid.trainers.runs.record import REPORT_KEY
    from unbraid.trainers.runs.summary import store_of

    summary = _summary(storage, run)
    if as_json:
        click.echo(json.dumps(summary.as_dict(), indent=2))
        return
    store = store_of(summary)
    lines = status_lines(summary)
    lines += [f"  {name} {value:.4f}" for name, value in summary.evaluation.items()]
    lines += event_lines(read_events(store))
    if store.exists(REPORT_KEY):
        lines.append(f"report: {summary.url}/{REPORT_KEY}")
    click.echo("\n".join(lines))


@runs.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN RUN...")
@runs_storage_option
def compare(names: tuple[str, ...], storage: str) -> None:
    """Compare runs. Prints what differs between their configurations, and what each measured.

    \b
    Example:
      unbraid runs compare mine yours --storage s3://bucket/runs
    """
    use_local_services()
    from unbraid.trainers.config.schema import differences

    if len(names) < 2:
        raise ConfigError("compare: name two runs at least; `unbraid runs list` lists them")
    found = [_summary(storage, name) for name in names]
    changed = {key for run in found[1:] for key in differences(found[0].config, run.config)}
    settings = {key: [_setting(run, key) for run in found] for key in sorted(changed - {"run.name"})}
    measures = list(dict.fromkeys(name for run in found for name in run.evaluation))
    rows = [("", *names), ("status", *(run.status for run in found)), ("updates", *(str(run.step) for run in found))]
    rows += [(key, *values) for key, values in settings.items()]
    rows += [(name, *(f"{run.evaluation[name]:.4f}" if name in run.evaluation else "-" for run in found)) for name in measures]
    click.echo(aligned(rows))


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
    from unbraid.trainers.runs.open import delete_run
    from unbraid.trainers.runs.summary import store_of

    summary = _summary(storage, run)
    if summary.holder:
        raise ConfigError(f"run {run} is being trained by {summary.holder}: stop that first")
    if not yes:
        click.confirm(f"delete {summary.url} ({summary.status}, update {summary.step} of {summary.updates})?", abort=True)
    click.echo(f"{delete_run(store_of(summary))} objects deleted")


def _summary(storage: str, name: str) -> Summary:
    """Read how far a run is.

    Raises:
        ConfigError: when there is no such run, naming the nearest.
    """
    from unbraid.datasets.errors import DataError
    from unbraid.trainers.config.words import nearest
    from unbraid.trainers.runs.open import open_run
    from unbraid.trainers.runs.summary import run_names, summarise

    try:
        return summarise(open_run(storage, name), name)
    except DataError as error:
        if "no such" not in str(error):
            raise
        raise ConfigError(f"{storage} holds no run {name!r}{nearest(name, run_names(storage))}") from None


def _cells(run: Summary) -> tuple[str, ...]:
    """Format one run as a row."""
    return (run.name, run.status, run.config.system, *status_cells(run), _primary_metric(run))


def _primary_metric(run: Summary) -> str:
    """Format what the run scored on its main measure; "" before it was evaluated."""
    primary_metric = run.config.primary_metric
    return (
        f"{primary_metric[1]} {run.evaluation[primary_metric[0]]:.4f}"
        if primary_metric and primary_metric[0] in run.evaluation
        else ""
    )


def _setting(run: Summary, key: str) -> str:
    """Format the value of a dotted key of the run's configuration; "-" where it has none."""
    value: object = run.config.model_dump(mode="json")
    for part in key.split("."):
        value = value.get(part, "-") if isinstance(value, dict) else "-"
    return str(value)
