"""``unbraid export``: write a run's model so that it needs neither the run nor its data."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unbraid.cluster.commands.options import runs_storage_option
from unbraid.cluster.local.services import use_local_services

if TYPE_CHECKING:
    from unbraid.trainers.use.export import ProgramFormat


@click.command()
@click.argument("run")
@click.argument("destination", required=False)
@click.option("--format", "programs", multiple=True, type=click.Choice(["pt2", "onnx"]), help="Write each network as this too.")
@click.option("--checkpoint", "step", type=click.IntRange(min=1), help="Step of the checkpoint.  [default: the newest]")
@click.option("--push", metavar="OWNER/NAME", help="Upload it to the Hugging Face hub; needs the extra `hub`.")
@click.option("--private", is_flag=True, help="With --push: a repository that only its owners see.")
@runs_storage_option
def export(
    run: str,
    destination: str | None,
    programs: tuple[ProgramFormat, ...],
    step: int | None,
    push: str | None,
    private: bool,
    storage: str,
) -> None:
    """Write the model of RUN to DESTINATION, a folder or s3:// URL: weights, configuration, and a model card with pictures.

    `unbraid.load(DESTINATION)` gives the same model in Python, and every command of `unbraid generate` takes the place for RUN.
    Weights are safetensors, the averages of training. With --format, each network that is drawn or read with is written as a
    program too, and checked to give the same.

    \b
    Examples:
      unbraid export my-run ./my-model
      unbraid export s3://bucket/runs/my-run s3://bucket/models/my-model --format onnx
      unbraid export my-run --push me/my-model
    """
    from unbraid.datasets.store import open_store
    from unbraid.trainers.errors import ConfigError
    from unbraid.trainers.use.export import export_run
    from unbraid.trainers.use.hub import push_to_hub, require_hub
    from unbraid.trainers.use.run import open_run

    if destination is None and push is None:
        raise click.UsageError("name a DESTINATION, a folder or an s3:// URL, or a repository of the hub by --push")
    if private and push is None:
        raise ConfigError("--private: is for --push")
    use_local_services()
    if push is not None:
        require_hub(push)
    found = open_run(run, storage)
    with tempfile.TemporaryDirectory(prefix="unbraid-export-") as temporary:
        place = destination or temporary
        model = export_run(found, open_store(place, create=True), programs, step)
        if destination is not None:
            click.echo(f"{model!r}\n→ {place}\nunbraid.load({place!r}) loads it")
        if push is not None:
            folder = Path(place)
            if "://" in place:
                raise ConfigError("--push: uploads a folder; leave DESTINATION out, or name a folder")
            click.echo(f"→ {push_to_hub(folder, push, private)}")
