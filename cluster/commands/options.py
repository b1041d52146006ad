"""The options and arguments that several commands share, each defined once."""

from __future__ import annotations

import click

overrides_argument = click.argument("overrides", nargs=-1, metavar="[SECTION.KEY=VALUE]...")

ray_address_option = click.option(
    "--address", help="Ray cluster to run on. Default: RAY_ADDRESS, else the local services, else one started here."
)
"""For commands that start Ray in this process where no cluster is named."""

cluster_address_option = click.option(
    "--address", help="http://HOST:8265, or HOST:PORT of a cluster's head. Default: RAY_ADDRESS, else the local services."
)
"""For commands that need a cluster that is running."""

kube_option = click.option("--kube", is_flag=True, help="On Kubernetes: RayJobs, each with a Ray cluster of its own.")
detach_option = click.option("--detach", is_flag=True, help="Print the job's name and return, without following the job.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")

nightly_option = click.option(
    "--fail-if-nothing-learnt",
    "must_learn",
    is_flag=True,
    help="Exit 1 where the measures say so: for jobs that nobody watches.",
)

runs_storage_option = click.option(
    "--storage", default="runs", show_default=True, help="Folder or s3:// prefix that holds runs."
)
campaigns_storage_option = click.option(
    "--storage", default="campaigns", show_default=True, help="Folder or s3:// prefix that holds campaigns."
)
campaign_storage_option = click.option(
    "--storage", help="Folder or s3:// prefix that holds campaigns. Default: the one that the file names, else campaigns."
)
"""For commands that read a campaign's file, which may name its storage."""

gpu_option = click.option("--gpu", metavar="CARD", help="With --dry-run: hours of this card, such as h100.")
price_option = click.option(
    "--price", type=click.FloatRange(min=0, min_open=True), help="With --gpu: of one of it for an hour."
)


def require_dry_run(gpu: str | None, price: float | None, dry_run: bool) -> None:
    """Check that a card and its price are given where a cost is printed.

    Raises:
        ConfigError: naming the option that is missing.
    """
    from unbraid.trainers.errors import ConfigError

    if price is not None and gpu is None:
        raise ConfigError(f"--price {price:g}: of which card? Add --gpu, such as --gpu h100")
    if gpu is not None and not dry_run:
        raise ConfigError(f"--gpu {gpu}: says what --dry-run counts hours of; a run takes the GPUs of its cluster")
