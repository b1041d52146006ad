"""``unbraid tune run``: run a campaign, or go on with it; `run` may be left out."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import click

from unbraid.cluster.commands.meaning import requested_campaign
from unbraid.cluster.commands.options import (
    campaign_storage_option,
    gpu_option,
    price_option,
    ray_address_option,
    require_dry_run,
)
from unbraid.cluster.local.services import JOB_VARIABLE, use_local_services
from unbraid.datasets.passwords import without_password
from unbraid.trainers.config.schema import absolute

if TYPE_CHECKING:
    from unbraid.trainers.search.campaign.command_line import Wishes
    from unbraid.trainers.search.campaign.file import Campaign

SAMPLES = 5
"""Configurations that a dry run shows."""


@click.command()
@click.argument("first", required=False, metavar="FILE|PRESET")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--trials", type=click.IntRange(min=1), help="With a preset: trainings, seeds included.")
@click.option("--seeds", type=click.IntRange(min=1), help="With a preset: seeds of each configuration; medians are compared.")
@click.option("--minutes", type=float, help="With a preset: of wall time.")
@click.option(
    "--objective",
    "objectives",
    multiple=True,
    metavar="METRIC[:min]",
    help="With a preset: what is best. Default: the system's.",
)
@click.option("--name", help="With a preset: of the campaign. Default: the preset's, and a digest of what is searched.")
@click.option(
    "--start-from", multiple=True, metavar="RUN|CAMPAIGN|preset", help="With a preset: configurations that are tried first."
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="With a preset: any key of a campaign's file.")
@click.option("--resume", metavar="NAME", help="Go on with a campaign as it is in the storage.")
@click.option("--dry-run", is_flag=True, help="Check everything, print samples and the cost, start nothing.")
@gpu_option
@price_option
@ray_address_option
@campaign_storage_option
def run(
    first: str | None,
    overrides: tuple[str, ...],
    resume: str | None,
    dry_run: bool,
    gpu: str | None,
    price: float | None,
    address: str | None,
    storage: str | None,
    **options: Any,
) -> None:
    """Run a campaign, or go on with it.

    FILE is its file, or the name of one that comes with unbraid. With a PRESET, values may be ranges and choices: log(0.03,3),
    uniform(0.4,1), 0..4 (whole numbers), a|b|c. The campaign is named after what is searched; the same command goes on with it.

    \b
    Examples:
      unbraid tune my-campaign.yaml budget.minutes=60 concurrency=4
      unbraid tune infogan-mnist-weights fixed.data.url=s3://bucket/mnist --storage s3://bucket/campaigns
      unbraid tune infogan-mnist-codes-small --dry-run
      unbraid tune infogan-mnist run.seed=0..4
      unbraid tune infogan-mnist 'loss.info_continuous=log(0.03,3)' 'codes.categorical=[10]|[20]|[5,5]' --trials 30
      unbraid tune infogan-mnist 'loss.info_categorical=log(0.1,3)' --trials 50 --set 'scheduler={kind: asha, grace: 500}'
      unbraid tune infogan-mnist-weights --dry-run --gpu h100 --price 2.5
      unbraid tune --resume infogan-mnist-codes-small
    """
    from unbraid.trainers.search.campaign.checks import check_campaign
    from unbraid.trainers.search.campaign.journal import Journal

    local_address = use_local_services(address)  # runs to start from may lie on their S3
    requested = requested_campaign(first, overrides, resume, storage, wishes_of(options))
    campaign = requested.content
    if campaign is None:
        campaign = Journal.open(requested.storage, requested.name).campaign()
        check_campaign(campaign)  # it may have been begun by another version
    require_dry_run(gpu, price, dry_run)
    if dry_run:
        click.echo(dry_run_text(campaign, gpu, price))
        return
    run_to_end(campaign, address or os.environ.get("RAY_ADDRESS") or local_address)


def wishes_of(options: Mapping[str, Any]) -> Wishes:
    """The options of ``tune run`` that make a campaign of a preset."""
    from unbraid.trainers.search.campaign.command_line import Wishes

    return Wishes(
        **{name: options[name] for name in ("trials", "seeds", "minutes", "objectives", "name", "start_from", "settings")}
    )


def run_to_end(campaign: Campaign, address: str | None) -> None:
    """Run a campaign until it is over or interrupted, showing its table, and write its report; exits 130 after Ctrl-C."""
    from unbraid.datasets.shards.readers import reading
    from unbraid.datasets.store import open_below
    from unbraid.datasets.store.lease import HOLDER, Lease
    from unbraid.trainers.errors import RunError
    from unbraid.trainers.launch.preflight import check_inputs
    from unbraid.trainers.search.campaign.checks import check_trials, corner_config
    from unbraid.trainers.search.campaign.journal import Journal
    from unbraid.trainers.search.campaign.starts import starting_points
    from unbraid.trainers.search.report.page import PAGE_KEY, write_report
    from unbraid.trainers.search.report.table import LiveTable
    from unbraid.trainers.search.trials.driver import run_campaign

    corner = corner_config(campaign)
    check_inputs(corner)
    check_trials(campaign)
    starts = [] if Journal.check(campaign).exists else starting_points(campaign)
    busy = f"campaign {campaign.name} is being run by {HOLDER}: stop that one, or give this one another name"
    store = open_below(campaign.storage, campaign.name, create=True)
    with Lease.acquire(store, busy, os.environ.get(JOB_VARIABLE, ""), click.echo) as lease:
        journal = Journal.claim(campaign, without_password(" ".join(sys.argv[1:])), starts)
        journal.lease = lease
        campaign = journal.campaign()
        click.echo(f"{campaign_text(campaign)}\n→ {journal.store.url}/campaign.yaml")
        started, earlier = time.monotonic(), float(journal.status().get("seconds", 0.0))
        table = LiveTable(lambda: earlier + time.monotonic() - started, sys.stdout)
        try:
            with reading(corner.data.url, lease.job):
                plan, stop = run_campaign(journal, campaign, address, lambda plan: table(plan.campaign, plan.configurations))
        except KeyboardInterrupt:  # before trials run, or a second time while they are stopped
            _exit_interrupted()
        table(plan.campaign, plan.configurations, last=True)
        if stop.shared_trouble:
            raise RunError(f"the campaign has stopped: {stop.shared_trouble}\nOnce that is repaired, the same command goes on.")
        write_report(journal, plan.campaign)
    click.echo(f"report: {journal.store.url}/{PAGE_KEY}")
    if stop.interrupted:
        _exit_interrupted()
    if stop.out_of_time:
        click.echo("budget.minutes are used up: a larger budget goes on with what was running")


def _exit_interrupted() -> NoReturn:
    click.echo("interrupted: the same command goes on, running trials from their checkpoints", err=True)
    sys.exit(130)


def dry_run_text(campaign: Campaign, gpu: str | None, price: float | None) -> str:
    """Describe what a campaign would do: some configurations; the most trials, updates, arithmetic, and hours of a card."""
    import yaml

    from unbraid.trainers.launch.price import CPU_SPEED, speed_of
    from unbraid.trainers.search.campaign.checks import corner_config
    from unbraid.trainers.search.campaign.cost import campaign_cost
    from unbraid.trainers.search.campaign.history import Configuration
    from unbraid.trainers.search.campaign.starts import starting_points
    from unbraid.trainers.search.plan.proposals import propose

    starts = starting_points(campaign)
    known = [Configuration(number, point) for number, point in enumerate(starts)]
    while len(known) < SAMPLES and (params := propose(campaign, len(known), known)) is not None:
        known.append(Configuration(len(known), params))
    lines = [campaign_text(campaign), "", "configurations such as"]
    lines += [
        yaml.safe_dump(params, default_flow_style=True, width=120).strip() for params in [c.params for c in known[:SAMPLES]]
    ]
    corner = corner_config(campaign)
    storages = (campaign.trials_storage, absolute("runs"))
    speed = CPU_SPEED if gpu is None else speed_of(gpu, corner.system, storages)
    return "\n".join([*lines, "", *campaign_cost(campaign, gpu or "", speed, price)])


def campaign_text(campaign: Campaign) -> str:
    """What a campaign searches, how, and what is best, in a few lines."""
    seeds = f", {campaign.seeds.count} seeds each" if campaign.seeds.count > 1 else ""
    scheduler = "" if campaign.scheduler.kind == "none" else f", scheduler {campaign.scheduler.kind}"
    lines = [f"campaign {campaign.name}: {campaign.preset}, {campaign.searcher.kind}{scheduler}{seeds}"]
    lines += [f"searched: {path} {dimension.text}" for path, dimension in campaign.space.items()]
    lines += [f"fixed: {path} = {json.dumps(value)}" for path, value in campaign.fixed.items()]
    return "\n".join(lines + [f"objective: {o.metric} ({o.mode})" for o in campaign.objectives])
