"""``unbraid tune export``: the best configuration as a preset, or all trials for optuna-dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from unbraid.cluster.commands.options import campaigns_storage_option
from unbraid.cluster.commands.tune.asking import journal_of

if TYPE_CHECKING:
    from unbraid.trainers.search.campaign.journal import Journal


@click.command()
@click.argument("name")
@click.option("--best", is_flag=True, help="The best configuration; the default.")
@click.option("--configuration", type=click.IntRange(min=0), help="This one instead, by its number in the table.")
@click.option("--optuna", type=click.Path(path_type=Path), help="Write all trials to this SQLite file, for optuna-dashboard.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write. Default: NAME-best.yaml.")
@click.option("--force", is_flag=True, help="Write over a file of another content.")
@campaigns_storage_option
def export(
    name: str, best: bool, configuration: int | None, optuna: Path | None, output: Path | None, force: bool, storage: str
) -> None:
    """Write a configuration as a preset. Training it gives the score that the campaign found.

    \b
    Examples:
      unbraid tune export infogan-mnist-weights-small --best
      unbraid train --config infogan-mnist-weights-small-best.yaml --debug
      unbraid tune export infogan-mnist-weights-small --optuna study.db   # optuna-dashboard sqlite:///study.db
    """
    from unbraid.datasets.store import FolderStore
    from unbraid.trainers.errors import ConfigError
    from unbraid.trainers.search.report.export import export_preset

    if best and configuration is not None:
        raise ConfigError("--best and --configuration: name one of them")
    journal = journal_of(storage, name)
    if optuna is not None:
        if best or configuration is not None or output is not None:
            raise ConfigError("--optuna: writes all trials; leave --best, --configuration and --output out")
        _export_study(journal, optuna, force)
        return
    trial, text = export_preset(journal, journal.campaign(), configuration)
    path = output or Path(f"{name}-{'best' if configuration is None else f'{configuration:04d}'}.yaml")
    if path.exists() and path.read_bytes() != text.encode() and not force:
        raise ConfigError(f"{path}: is there already, with other content; --force writes over it, --output names another file")
    FolderStore(path.parent).put(path.name, text.encode())
    click.echo(f"trial {trial} → {path}; unbraid train --config {path} trains it again")


def _export_study(journal: Journal, file: Path, force: bool) -> None:
    from unbraid.trainers.errors import ConfigError
    from unbraid.trainers.search.report.export import export_study

    if file.exists() and not force:
        raise ConfigError(f"{file}: is there already; --force writes over it")
    trials = export_study(journal, journal.campaign(), file)
    click.echo(f"{trials} configurations → {file}; `optuna-dashboard sqlite:///{file}` shows them")
