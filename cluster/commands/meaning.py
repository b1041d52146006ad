"""What a command would do, told before it is sent away: mistakes are found here, and the same work gets the same name."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unbraid.cluster.jobs.ray import KINDS, submission_id
from unbraid.cluster.jobs.tree import files_of
from unbraid.trainers.config.schema import absolute
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.record import provenance

if TYPE_CHECKING:
    from unbraid.trainers.config.schema import SystemConfig


@dataclass(frozen=True)
class Work:
    """A command for a cluster.

    Attributes:
        base: its name among jobs, the same for the same work.
        arguments: of ``unbraid``, complete: folders are absolute.
        metadata: what is kept with the job.
        workers: the most that it trains on; 0 where that is not what decides.
    """

    base: str
    arguments: tuple[str, ...]
    metadata: dict[str, str]
    workers: int = 0


def work_of(command: Sequence[str], folder: Path, here: bool, uploaded: bool) -> Work:
    """Check a command as it would be checked there.

    Args:
        folder: the tree that it will run in.
        here: the cluster shares this machine's files.
        uploaded: whether that tree goes along; else the cluster's own decides what is right.

    Raises:
        ConfigError, click.UsageError: naming what is wrong.
    """
    from unbraid.cluster.cli import main

    if not command:
        raise click.UsageError("name what to run: train, tune, data or eval, with its arguments")
    kind, *arguments = command
    if kind not in KINDS:
        raise click.UsageError(f"{kind!r} does not run on a cluster; train, tune, data and eval do")
    if not uploaded:
        return _named(kind, submission_id(kind, arguments[0] if arguments else "command", *arguments), tuple(command), {})
    context = main.commands[kind].make_context(kind, list(arguments))
    if kind == "train":
        return _training(context.params, tuple(command), folder, here)
    if kind == "tune":
        return _campaign(tuple(arguments), folder, here)
    return _named(kind, submission_id(kind, "-".join(arguments[:2]), *arguments), tuple(command), {})


def _training(params: dict[str, object], command: tuple[str, ...], folder: Path, here: bool) -> Work:
    from unbraid.trainers.config.overrides import resolve
    from unbraid.trainers.config.pipeline import is_pipeline, resolve_pipeline

    if params["debug"] or params["dry_run"] or params["address"]:
        raise ConfigError(
            "--debug, --dry-run and --address are for `unbraid train`; a job trains on the cluster that it runs on"
        )
    preset, overrides = params["preset"], params["overrides"]
    config_file = params["config_file"]
    assert isinstance(overrides, tuple)
    if config_file is not None:
        assert isinstance(config_file, Path)
        if preset is not None:
            overrides = (preset, *overrides)
        sent = _sent(config_file, folder, "--config")
        command = tuple(sent if argument == str(config_file) else argument for argument in command)
        configs = [resolve(None, overrides, config_file)]
    elif preset is not None and is_pipeline(str(preset)):
        configs = list(resolve_pipeline(str(preset), overrides).values())
    else:
        configs = [resolve(None if preset is None else str(preset), overrides)]
    config = configs[-1]
    folders = (f"{key}={value}" for key, value in _folders(config, here).items())
    complete = tuple(folder for folder in folders if folder not in command)
    storage = config.with_absolute_folders().run.storage
    name = str(config.run.name)
    metadata = {"run": name, "storage": storage, "preset": str(preset or config_file), "digest": config.digest()}
    named = _named("train", submission_id("train", name, storage), (*command, *complete), metadata)
    return replace(named, workers=max(each.run.workers for each in configs))


def _sent(file: Path, folder: Path, what: str) -> str:
    """Where a file of this machine lies in the tree that goes along.

    Raises:
        ConfigError: when it does not go along.
    """
    whole, root = file.resolve(), folder.resolve()
    if not whole.is_relative_to(root) or whole.relative_to(root) not in files_of(folder):
        raise ConfigError(
            f"{what} {file}: does not go to the cluster, which sees only what git would keep of {folder}: copy it there, "
            "outside of what .gitignore names"
        )
    return str(whole.relative_to(root))


def _folders(config: SystemConfig, here: bool) -> dict[str, str]:
    """Settings that name folders of this machine, made absolute.

    Raises:
        ConfigError: when the cluster is another machine, which has other folders.
    """
    whole = config.with_absolute_folders()
    folders = {"run.storage": whole.run.storage, "data.url": whole.data.url}
    folders = {key: value for key, value in folders.items() if "://" not in value}
    if folders and not here:
        key, value = next(iter(folders.items()))
        raise ConfigError(f"{key}={value}: is a folder of this machine, which the cluster does not see; use s3://bucket/prefix")
    return folders


def _campaign(arguments: tuple[str, ...], folder: Path, here: bool) -> Work:
    from unbraid.cluster.commands.tune import run as tune_run
    from unbraid.cluster.commands.tune import tune
    from unbraid.trainers.search.campaign.reading import read_campaign

    first = arguments[0] if arguments else ""
    if first in tune.commands and first != "run":
        raise click.UsageError(f"tune {first} reads the storage and needs no cluster: leave `submit` out")
    params = tune_run.make_context("tune", list(arguments[1:] if first == "run" else arguments)).params
    if params["dry_run"] or params["address"]:
        raise ConfigError("--dry-run and --address are for `unbraid tune`; a job runs on the cluster that it is sent to")
    file, given = params["file"], params["storage"]
    if params["resume"]:
        name, storage = params["resume"], absolute(given or "campaigns")
    elif file is None:
        raise ConfigError("name a campaign's file, or --resume NAME; `unbraid tune campaigns` lists those that are there")
    else:
        campaign = read_campaign(file, params["overrides"])
        name, storage = campaign.name, absolute(given or campaign.storage)
    if "://" not in storage and not here:
        raise ConfigError(
            f"--storage {storage}: is a folder of this machine, which the cluster does not see; use s3://bucket/prefix"
        )
    if file is not None and Path(file).exists():
        sent = _sent(Path(file), folder, "campaign")
        arguments = tuple(sent if argument == file else argument for argument in arguments)
    complete = () if storage == given else ("--storage", storage)
    metadata = {"campaign": name, "storage": storage}
    return _named("tune", submission_id("tune", name, storage), ("tune", *arguments, *complete), metadata)


def _named(kind: str, base: str, arguments: tuple[str, ...], metadata: dict[str, str]) -> Work:
    made = provenance()
    shared = {
        "kind": kind,
        "base": base,
        "user": getpass.getuser(),
        "git_commit": str(made["git_commit"] or ""),
        "git_dirty": str(made["git_dirty"]).lower(),
    }
    return Work(base, arguments, shared | metadata)
