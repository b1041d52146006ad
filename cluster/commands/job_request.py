"""Checks a command here before it runs as a job elsewhere, and completes it: absolute folders, a name, its metadata."""

from __future__ import annotations

import getpass
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unbraid.cluster.commands.data import data
from unbraid.cluster.commands.eval import evaluate
from unbraid.cluster.commands.meaning import requested_campaign, requested_runs
from unbraid.cluster.commands.train import train
from unbraid.cluster.commands.tune import tune
from unbraid.cluster.commands.tune.run import run as tune_run
from unbraid.cluster.commands.tune.run import wishes_of
from unbraid.cluster.jobs.listing import list_tree
from unbraid.cluster.jobs.request import KINDS, JobRequest, submission_id
from unbraid.cluster.jobs.server import require_no_password
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.record import provenance

if TYPE_CHECKING:
    from unbraid.trainers.config.schema import SystemConfig

COMMANDS: dict[str, click.Command] = {"train": train, "tune": tune, "data": data, "eval": evaluate}


def job_request(command: Sequence[str], tree: Path | None, same_machine: bool, uploaded: bool) -> JobRequest:
    """Check a command as it would be checked where it runs, and complete it.

    Args:
        tree: the working tree that it will run in; None: the package ``unbraid`` alone.
        same_machine: the cluster shares this machine's files.
        uploaded: whether the tree is uploaded; otherwise the cluster has presets and commands of its own, and only the
            command's name is checked.

    Raises:
        ConfigError, click.UsageError: naming what is wrong.
    """
    if not command:
        raise click.UsageError("name what to run: train, tune, data or eval, with its arguments")
    kind, *arguments = command
    if kind not in KINDS:
        raise click.UsageError(f"{kind!r} does not run on a cluster; train, tune, data and eval do")
    require_no_password(shlex.join(command))
    if not uploaded:
        return _request(kind, submission_id(kind, arguments[0] if arguments else "command", *arguments), tuple(command), {})
    parameters = COMMANDS[kind].make_context(kind, list(arguments)).params
    if kind == "train":
        return _train_request(parameters, tuple(command), tree, same_machine)
    if kind == "tune":
        return _tune_request(tuple(arguments), tree, same_machine)
    return _request(kind, submission_id(kind, "-".join(arguments[:2]), *arguments), tuple(command), {})


def _train_request(parameters: dict[str, Any], command: tuple[str, ...], tree: Path | None, same_machine: bool) -> JobRequest:
    if parameters["debug"] or parameters["dry_run"] or parameters["address"]:
        raise ConfigError(
            "--debug, --dry-run and --address are for `unbraid train`; a job trains on the cluster that it runs on"
        )
    config_file = parameters["config_file"]
    if config_file is not None and "://" not in config_file:
        name = _name_in_tree(Path(config_file), tree, "--config")
        command = tuple(name if argument == config_file else argument for argument in command)
    requested = requested_runs(parameters["preset"], parameters["overrides"], config_file)
    config = requested.last
    if config_file is not None and not any(word.startswith("run.name=") for word in command):
        command = (*command, f"run.name={config.run.name}")  # of the folder that the file lies in here
    folders = (f"{key}={value}" for key, value in _absolute_folders(config, same_machine).items())
    command = (*command, *(setting for setting in folders if setting not in command))
    storage = config.with_absolute_folders().run.storage
    name = str(config.run.name)
    metadata = {"run": name, "storage": storage, "preset": requested.source, "digest": config.digest()}
    return _request("train", submission_id("train", name, storage), command, metadata, requested.workers)


def _tune_request(arguments: tuple[str, ...], tree: Path | None, same_machine: bool) -> JobRequest:
    first = arguments[0] if arguments else ""
    if first in tune.short_helps and first != "run":
        raise click.UsageError(f"tune {first} reads the storage and needs no cluster: leave `submit` out")
    parameters = tune_run.make_context("tune", list(arguments[1:] if first == "run" else arguments)).params
    if parameters["dry_run"] or parameters["address"]:
        raise ConfigError("--dry-run and --address are for `unbraid tune`; a job runs on the cluster that it is sent to")
    file, storage = parameters["first"], parameters["storage"]
    requested = requested_campaign(file, parameters["overrides"], parameters["resume"], storage, wishes_of(parameters))
    if "://" not in requested.storage and not same_machine:
        raise ConfigError(
            f"--storage {requested.storage}: is a folder of this machine, which the cluster does not see; use s3://bucket/prefix"
        )
    if file is not None and Path(file).exists():
        name = _name_in_tree(Path(file), tree, "campaign")
        arguments = tuple(name if argument == file else argument for argument in arguments)
    complete = () if requested.storage == storage else ("--storage", requested.storage)
    metadata = {"campaign": requested.name, "storage": requested.storage}
    base = submission_id("tune", requested.name, requested.storage)
    return _request("tune", base, ("tune", *arguments, *complete), metadata)


def _name_in_tree(file: Path, tree: Path | None, what: str) -> str:
    """Return the path of a file of this machine in the uploaded tree.

    Raises:
        ConfigError: when it is not uploaded.
    """
    if tree is None:
        raise ConfigError(
            f"{what} {file}: is not uploaded, because unbraid is installed without its checkout and only the package is. "
            "Put the file into a folder and name that with --working-dir"
        )
    path, root = file.resolve(), tree.resolve()
    if not path.is_relative_to(root) or path.relative_to(root) not in list_tree(tree).taken:
        raise ConfigError(
            f"{what} {file}: does not go to the cluster, which sees only what git would keep of {tree}: copy it there, "
            "outside of what .gitignore names"
        )
    return str(path.relative_to(root))


def _absolute_folders(config: SystemConfig, same_machine: bool) -> dict[str, str]:
    """Return the settings that name folders of this machine, with absolute paths.

    Raises:
        ConfigError: when the cluster is another machine, which has other folders.
    """
    absolute = config.with_absolute_folders()
    folders = {"run.storage": absolute.run.storage, "data.url": absolute.data.url}
    folders = {key: value for key, value in folders.items() if "://" not in value}
    if folders and not same_machine:
        key, value = next(iter(folders.items()))
        raise ConfigError(f"{key}={value}: is a folder of this machine, which the cluster does not see; use s3://bucket/prefix")
    return folders


def _request(kind: str, base: str, arguments: tuple[str, ...], metadata: dict[str, str], workers: int = 0) -> JobRequest:
    source = provenance()
    common = {
        "kind": kind,
        "base": base,
        "user": getpass.getuser(),
        "git_commit": str(source["git_commit"] or ""),
        "git_dirty": str(source["git_dirty"]).lower(),
    }
    return JobRequest(base, arguments, common | metadata, workers)
