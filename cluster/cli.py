"""The command line. Nothing heavy is imported before a command needs it, so that help and mistakes answer at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unbraid.cluster.commands.data import data
from unbraid.cluster.commands.doctor import doctor
from unbraid.cluster.commands.drain import drain
from unbraid.cluster.commands.generate.cdd import cdd
from unbraid.cluster.commands.generate.dpig import dpig
from unbraid.cluster.commands.generate.group import generate
from unbraid.cluster.commands.jobs import jobs
from unbraid.cluster.commands.runs import runs
from unbraid.cluster.commands.submit import submit
from unbraid.cluster.commands.tune import tune
from unbraid.cluster.local.services import JOB_VARIABLE, use_local_services
from unbraid.datasets.errors import DataError
from unbraid.trainers.errors import TrainingError

if TYPE_CHECKING:
    from types import FrameType

    from unbraid.trainers.config.schema import SystemConfig
    from unbraid.trainers.runs.lease import Lease


class ErrorReporting(click.Group):
    """Turns a user's mistake into one message and exit status 1, and Ctrl-C into 130; a bug keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        from unbraid.cluster.local.services import ServiceError

        try:
            return super().invoke(ctx)
        except (TrainingError, DataError, ServiceError) as error:
            raise click.ClickException(str(error)) from None
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(130)


@click.group(cls=ErrorReporting, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="unbraid")
def main() -> None:
    """Train disentangled image generators on a Ray cluster, from shards on S3.

    \b
    Examples:
      unbraid local up                                    an S3 server and Ray on this machine
      unbraid data fetch mnist && unbraid data pack mnist
      unbraid train infogan-mnist-small                   train, measure, draw a report
      unbraid train infogan-mnist --debug                 the same in this process, without Ray
      unbraid submit train infogan-mnist                  the same as a job on a cluster
    """


@main.command()
@click.argument("preset", required=False)
@click.argument("overrides", nargs=-1, metavar="[SECTION.KEY=VALUE]...")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="A run's config.yaml, instead of a preset.")
@click.option("--debug", is_flag=True, help="Train in this process, without Ray: breakpoints work.")
@click.option(
    "--address", help="Ray cluster to train on. Default: RAY_ADDRESS, else the local services, else one started here."
)
@click.option("--dry-run", is_flag=True, help="Print the resolved configuration and stop.")
def train(
    preset: str | None, overrides: tuple[str, ...], config_file: Path | None, debug: bool, address: str | None, dry_run: bool
) -> None:
    """Train a preset; repeated, the same command goes on with the same run.

    A preset that is a pipeline trains its stages in order, each as a run of its own; STAGE.SECTION.KEY=VALUE is for one stage.

    \b
    Examples:
      unbraid train infogan-mnist
      unbraid train infogan-mnist run.seed=1 run.updates=5000 run.workers=2 data.batch=256
      unbraid train infogan-mnist loss.info_continuous=0.1 codes.categorical=[10,10] --debug
      unbraid train dpig-people-small mapping.run.updates=6000
      unbraid train --config runs/NAME/config.yaml run.name=again
    """
    import yaml

    from unbraid.trainers.config.overrides import resolve
    from unbraid.trainers.config.pipeline import is_pipeline, resolve_pipeline

    if config_file is not None and preset is not None:
        overrides = (preset, *overrides)
        preset = None
    if debug and not any(override.startswith("run.workers=") for override in overrides):
        overrides = (*overrides, "run.workers=1")
    if preset is not None and is_pipeline(preset):
        stages = resolve_pipeline(preset, overrides)
        configs = {name: config.with_absolute_folders() for name, config in stages.items()}
    else:
        configs = {"": resolve(preset, overrides, config_file).with_absolute_folders()}
    if dry_run:
        contents = [config.model_dump(mode="json") for config in configs.values()]
        click.echo("---\n".join(yaml.safe_dump(content, sort_keys=False) for content in contents), nl=False)
        return
    local_address = use_local_services()
    for number, (stage, config) in enumerate(configs.items(), 1):
        if stage:
            click.echo(f"stage {number} of {len(configs)}: {stage}")
        train_run(config, debug, address or os.environ.get("RAY_ADDRESS") or local_address)


def train_run(config: SystemConfig, debug: bool, address: str | None) -> None:
    """Train one run to its end, unless it has got there already, and say what came out.

    Args:
        address: of a Ray cluster; None starts one here.
    """
    from unbraid.trainers.errors import StoppedError
    from unbraid.trainers.launch.ray_train import is_finished, preflight, run_ended, train_here, train_on_ray
    from unbraid.trainers.runs.lease import Lease
    from unbraid.trainers.runs.progress import Progress

    assert config.run.name is not None
    store = preflight(config, " ".join(sys.argv[1:]))
    if is_finished(config, store):
        click.echo(f"run {config.run.name} is finished; a larger run.updates goes on with it, another run.name starts anew")
    else:
        click.echo(f"run {config.run.name} → {store.url}")
        progress = Progress(config)
        lease = Lease.acquire(store, config.run.name, os.environ.get(JOB_VARIABLE, ""), click.echo)
        with lease, _stopped_by_sigterm(lease):
            try:
                if debug:
                    train_here(config, progress, lease)
                else:
                    train_on_ray(config, address, progress, lease)
            except KeyboardInterrupt:
                click.echo("\ninterrupted: the newest checkpoint is safe, the same command goes on from it", err=True)
                sys.exit(130)
            except Exception as error:
                run_ended(store, error)
                if isinstance(error.__cause__, StoppedError):
                    click.echo(f"{error}; the same command goes on from it", err=True)
                    sys.exit(143)
                raise
    summarise(config, store)


@contextmanager
def _stopped_by_sigterm(lease: Lease) -> Iterator[None]:
    """Within, SIGTERM is a wish for a checkpoint and an end."""

    def stop(number: int, frame: FrameType | None) -> None:
        click.echo("SIGTERM: asking for a checkpoint", err=True)
        lease.request_stop()

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@main.command("eval")
@click.argument("run")
@click.option("--storage", default="runs", show_default=True, help="Folder or s3:// prefix that holds runs.")
@click.option("--step", type=int, help="Checkpoint to measure. Default: the newest.")
def evaluate(run: str, storage: str, step: int | None) -> None:
    """Measure a checkpoint of RUN on its evaluation split and print JSON.

    \b
    Examples:
      unbraid eval infogan-mnist-small-1a2b3c4d
      unbraid eval mine --storage s3://bucket/runs --step 2000
    """
    import json

    use_local_services()
    from unbraid.trainers.evaluate import evaluate_run

    click.echo(json.dumps(evaluate_run(storage, run, step), indent=2))


@main.command()
def presets() -> None:
    """List the presets: those that unbraid ships, and those of the folder that UNBRAID_PRESETS names.

    \b
    Examples:
      unbraid presets
      UNBRAID_PRESETS=my-presets unbraid presets
    """
    from unbraid.trainers.config.presets import all_presets

    for name, preset in all_presets().items():
        mark = " [yours, in place of the shipped one]" if preset.replaces else " [yours]" if preset.own else ""
        click.echo(f"{name:28} {preset.summary()}{mark}")


main.add_command(data)
main.add_command(generate)
main.add_command(tune)
main.add_command(doctor)
main.add_command(drain)
main.add_command(submit)
main.add_command(jobs)
main.add_command(runs)
generate.add_command(dpig)
generate.add_command(cdd)


@main.group()
def local() -> None:
    """The embedded S3 server and Ray of this folder (in .unbraid, or where UNBRAID_LOCAL_DIR says).

    \b
    Example:
      unbraid local up && unbraid local status && unbraid local down
    """


@local.command()
@click.option("--s3-port", default=0, help="0 takes any free port.")
@click.option("--ray-port", default=0, help="0 takes any free port.")
def up(s3_port: int, ray_port: int) -> None:
    """Start what is not running.

    \b
    Example:
      unbraid local up --s3-port 8333
    """
    from unbraid.cluster.local.services import LocalServices

    LocalServices().up(s3_port, ray_port, click.echo)


@local.command()
@click.option("--env", "as_environment", is_flag=True, help="Print shell exports for other programs; holds the secret key.")
def status(as_environment: bool) -> None:
    """Say what is running; exits 1 when something has died.

    \b
    Examples:
      unbraid local status
      eval "$(unbraid local status --env)"
    """
    import shlex

    from unbraid.cluster.local.services import LocalServices

    services = LocalServices()
    if as_environment:
        for name, value in services.environment().items():
            click.echo(f"export {name}={shlex.quote(value)}")
        return
    running = services.status()
    for name, service in running.items():
        click.echo(f"{name:4} up   127.0.0.1:{service.port}  pid {service.pid}")
    if not running:
        click.echo("nothing is running; `unbraid local up` starts S3 and Ray")


@local.command()
def down() -> None:
    """Stop everything; data and keys stay.

    \b
    Example:
      unbraid local down
    """
    from unbraid.cluster.local.services import LocalServices

    LocalServices().down(click.echo)


def summarise(config: SystemConfig, store: Any) -> None:
    """The last words of a finished run: where the picture is, and what it scored."""
    from unbraid.trainers.runs.record import REPORT_KEY, read_run

    scores = read_run(store).get("evaluation", {})
    if config.primary_metric is not None and config.primary_metric[0] in scores:
        measure, words = config.primary_metric
        click.echo(f"{words}: {scores[measure]:.4f}")
    click.echo(f"report: {store.url}/{REPORT_KEY}")


if __name__ == "__main__":
    main()
