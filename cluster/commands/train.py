"""``unbraid train``: train a preset, measure it and draw a report."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from unbraid.cluster.commands.meaning import requested_runs
from unbraid.cluster.commands.options import (
    gpu_option,
    nightly_option,
    overrides_argument,
    price_option,
    ray_address_option,
    require_dry_run,
)
from unbraid.cluster.commands.result import draw_page, print_result
from unbraid.cluster.commands.stopping import StopSignals, newest_checkpoint
from unbraid.cluster.local.services import JOB_VARIABLE, use_local_services
from unbraid.datasets.passwords import without_password

if TYPE_CHECKING:
    from unbraid.datasets.store import Store
    from unbraid.datasets.store.lease import Lease
    from unbraid.trainers.config.schema import SystemConfig


@click.command()
@click.argument("preset", required=False)
@overrides_argument
@click.option("--config", "config_file", metavar="FILE", help="A run's config.yaml, by path or URL, instead of a preset.")
@click.option("--debug", is_flag=True, help="Train in this process, without Ray: breakpoints work.")
@click.option("--from", "start_from", metavar="step-N", help="Go back to a checkpoint, also with other rates; 0 begins again.")
@ray_address_option
@nightly_option
@click.option("--dry-run", is_flag=True, help="Print the resolved configuration and stop; with --gpu, its cost too.")
@gpu_option
@price_option
def train(
    preset: str | None,
    overrides: tuple[str, ...],
    config_file: str | None,
    debug: bool,
    start_from: str | None,
    address: str | None,
    must_learn: bool,
    dry_run: bool,
    gpu: str | None,
    price: float | None,
) -> None:
    """Train a preset. The same command, repeated, goes on with the same run.

    A preset that is a pipeline trains its stages in order, each as a run of its own; STAGE.SECTION.KEY=VALUE is for one stage.
    Ctrl-C saves a checkpoint and ends; a second Ctrl-C ends at once. With --from, a run goes on from an earlier
    checkpoint under its name, after a divergence say, with other optim.*, loss.*, augment.* or run.precision.

    \b
    Examples:
      unbraid train infogan-mnist
      unbraid train infogan-mnist run.seed=1 run.updates=5000 run.workers=2 data.batch=256
      unbraid train infogan-mnist loss.info_continuous=0.1 codes.categorical=[10,10] --debug
      unbraid train dpig-people-small mapping.run.updates=6000
      unbraid train infogan-mnist --dry-run --gpu h100 --price 2.5
      unbraid train --config runs/NAME/config.yaml run.name=again
      unbraid train --config runs/NAME/config.yaml --from step-250 optim.lr_generator=1e-4
    """
    import yaml

    from unbraid.trainers.errors import ConfigError
    from unbraid.trainers.runs.going_back import parse_step

    if config_file is not None and "://" in config_file:
        use_local_services(address)  # it may lie on their S3
    requested = requested_runs(preset, overrides, config_file, debug)
    if start_from is not None and len(requested.configs) > 1:
        raise ConfigError(f"--from: {preset} has several stages; name the run of one by --config and its config.yaml")
    step = None if start_from is None else parse_step(start_from)
    configs = {stage: config.with_absolute_folders() for stage, config in requested.configs.items()}
    require_dry_run(gpu, price, dry_run)
    if dry_run:
        contents = [config.model_dump(mode="json") for config in configs.values()]
        click.echo("---\n".join(yaml.safe_dump(content, sort_keys=False) for content in contents), nl=False)
        if gpu is not None:
            for stage, config in configs.items():
                click.echo(f"# {stage + ': ' if stage else ''}{_cost_text(config, gpu, price)}")
        return
    local_address = use_local_services(address)
    for number, (stage, config) in enumerate(configs.items(), 1):
        if stage:
            click.echo(f"stage {number} of {len(configs)}: {stage}")
        train_run(config, debug, address or os.environ.get("RAY_ADDRESS") or local_address, step, stage)
        if must_learn:
            _require_learnt(config)


def _cost_text(config: SystemConfig, gpu: str, price: float | None) -> str:
    """The hours of a card that a run takes, as a remark below its configuration."""
    from unbraid.trainers.launch.price import cost_text, speed_of, update_flops

    flops = update_flops(config)
    if flops is None:
        return f"{config.run.updates:,} updates; their arithmetic is counted only for images of a known size"
    speed = speed_of(gpu, config.system, [config.with_absolute_folders().run.storage])
    return cost_text(flops * config.run.updates, speed, gpu, price)


def train_run(
    config: SystemConfig,
    debug: bool,
    address: str | None,
    start_from: int | None = None,
    stage: str = "",
    command: str | None = None,
) -> None:
    """Train one run to its end, unless it is finished already, and print its main measure and where its report is.

    Args:
        debug: train in this process, without Ray.
        address: of a Ray cluster; None starts one here.
        start_from: step of the checkpoint that the run goes back to, 0 for its beginning; None goes on from the newest one.
        stage: of a pipeline, whose run it is.
        command: that starts it, for the record; None is this process's.
    """
    from unbraid.datasets.shards.readers import reading
    from unbraid.trainers.launch.building import check_system
    from unbraid.trainers.launch.preflight import check_run, is_finished
    from unbraid.trainers.runs.going_back import FREE, check_going_back, require_nothing_lost
    from unbraid.trainers.runs.open import moved_set, open_run
    from unbraid.trainers.runs.rollback import require_not_diverged

    assert config.run.name is not None
    inputs = check_run(config, () if start_from is None else FREE)
    store = open_run(config.run.storage, config.run.name)
    if note := moved_set(store, config):
        click.echo(note)
    if start_from is not None and not check_going_back(store, config, start_from):
        click.echo(f"run {config.run.name} has gone back to update {start_from} before, and goes on from its newest checkpoint")
        start_from = None
    if start_from is None and is_finished(config, store):
        click.echo(f"run {config.run.name} is finished; {_more_updates(config, store, stage)}, another run.name starts anew")
        print_result(config, store)
        return
    if start_from is None:
        require_nothing_lost(store)
        require_not_diverged(store, config)
    check_system(config, store)
    with (
        _claimed(config, inputs, debug, address, start_from, command) as lease,
        reading(config.data.url, lease.job),
        StopSignals(lease) as signals,
    ):
        click.echo(f"run {config.run.name} → {store.url}")
        _train(config, store, debug, address, lease, signals)
    draw_page(store, click.echo)
    print_result(config, store)
    if signals.interrupted:  # while the last measures were taken: nothing was left to save
        sys.exit(signals.exit_status)


def _train(config: SystemConfig, store: Store, debug: bool, address: str | None, lease: Lease, signals: StopSignals) -> None:
    """Train a run that is claimed; one that is stopped ends the command, which says what is saved."""
    from unbraid.trainers.errors import StoppedError, UnsavedError
    from unbraid.trainers.runs.record import write_end

    try:
        _train_and_roll_back(config, store, debug, address, lease)
    except KeyboardInterrupt:
        click.echo(f"\nended at once; {newest_checkpoint(store)}", err=True)
        sys.exit(130)
    except Exception as error:
        write_end(store, error)
        if isinstance(error.__cause__, StoppedError):
            is_saved = not isinstance(error.__cause__, UnsavedError)
            next_time = "the same command goes on from it" if is_saved else newest_checkpoint(store)
            click.echo(f"{error}; {next_time}", err=True)
            sys.exit(signals.exit_status)
        raise


def _train_and_roll_back(config: SystemConfig, store: Store, debug: bool, address: str | None, lease: Lease) -> None:
    """Train a run to its end; where it diverges and is to go back by itself, again from its last good checkpoint."""
    from unbraid.trainers.errors import DivergenceError, RunError
    from unbraid.trainers.launch.here import train_here
    from unbraid.trainers.launch.ray_train import train_on_ray
    from unbraid.trainers.runs.progress import Progress
    from unbraid.trainers.runs.rollback import may_roll_back, roll_back

    progress, over = Progress(config), False
    while not over:
        if done := roll_back(store, config):
            click.echo(f"run {config.run.name} {done}")
        try:
            if debug:
                train_here(config, progress, lease)
            else:
                train_on_ray(config, address, progress, lease)
            over = True
        except RunError as error:
            if not isinstance(error.__cause__, DivergenceError) or not may_roll_back(store, config):
                raise


def _more_updates(config: SystemConfig, store: Store, stage: str) -> str:
    """How a finished run is trained for longer. A name by default changes with ``run.updates``, so that it has to be given."""
    if not stage:
        return f"the same command with run.name={config.run.name} and a larger run.updates goes on with it"
    return f"`unbraid train --config {store.url}/config.yaml run.updates=N` goes on with it"


@contextmanager
def _claimed(
    config: SystemConfig,
    inputs: Mapping[str, SystemConfig],
    debug: bool,
    address: str | None,
    start_from: int | None,
    command: str | None,
) -> Iterator[Lease]:
    """Hold the right to train a run, and write its configuration; a launch that is refused has written nothing.

    Args:
        inputs: configurations of the runs that it starts from.
        start_from, command: as of :func:`train_run`.

    Raises:
        HeldError: when another launch trains the run.
        ConfigError: when it cannot be trained here or on that cluster, or has another configuration by now.
    """
    from unbraid.datasets.store.lease import HOLDER, Lease
    from unbraid.trainers.launch.here import require_one_worker
    from unbraid.trainers.launch.ray_train import require_cluster
    from unbraid.trainers.runs.going_back import FREE, go_back
    from unbraid.trainers.runs.open import claim_run, open_run

    name = str(config.run.name)
    busy = f"run {name} is being trained by {HOLDER}: follow or stop that one, or give this one another run.name"
    if debug:
        require_one_worker(config)
    store = open_run(config.run.storage, name, create=True)
    with Lease.acquire(store, busy, os.environ.get(JOB_VARIABLE, ""), click.echo) as lease:
        lease.keep = lease.generation > 1  # of a run that is refused now, no trace is left
        if not debug:
            require_cluster(config, address)
        if start_from is not None:
            click.echo(f"run {name} {go_back(store, config, start_from)}")
        words = " ".join(sys.argv[1:]) if command is None else command
        claim_run(config, without_password(words), inputs, () if start_from is None else FREE)
        lease.keep = True
        yield lease


def _require_learnt(config: SystemConfig) -> None:
    """Check that a finished run has learnt something.

    Raises:
        RunError: when its measures say otherwise.
    """
    from unbraid.trainers.errors import RunError
    from unbraid.trainers.runs.open import open_run
    from unbraid.trainers.runs.record import read_run

    if read_run(open_run(config.run.storage, str(config.run.name))).get("nothing_learnt"):
        raise RunError(f"run {config.run.name} has learnt nothing, see above; --fail-if-nothing-learnt calls that a failure")
