"""``unbraid drain``: let what runs on this node save a checkpoint before the node goes.

Pods run it before they end (``preStop`` in ``k8s/base/cluster.yaml``).
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from unbraid.cluster.jobs.ray import require_listener
from unbraid.cluster.jobs.request import KINDS
from unbraid.cluster.local.ports import LOOPBACK
from unbraid.datasets.untrusted.text import in_one_line
from unbraid.trainers.errors import TrainingError

POLL_SECONDS = 0.5
IDLE = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Processes that Ray runs on a node that nobody uses."""


class DrainError(TrainingError):
    """Ray cannot be told that this node goes; the message says why."""


@click.command()
@click.option("--seconds", default=45.0, show_default=True, type=click.FloatRange(min=0), help="Time until this node goes.")
def drain(seconds: float) -> None:
    """Leave a Ray cluster in order: what runs on this node saves a checkpoint before it goes.

    Drivers on this node save a checkpoint and end. Ray is told that the node goes; runs then save at once and go on without it.
    Returns when nothing runs here any more, or when the time is up.

    \b
    Example:
      unbraid drain --seconds 45
    """
    until = time.monotonic() + seconds
    drivers = list(processes(is_driver))
    for pid in drivers:
        click.echo(f"driver {pid}: asked for a checkpoint and an end")
        os.kill(pid, signal.SIGTERM)
    announced, failure = False, None
    try:
        announced = announce(seconds)
        click.echo("Ray knows that this node goes" if announced else "a head cannot be drained: only its drivers end")
    except DrainError as error:  # drivers save whether Ray knows or not
        failure = error
    while time.monotonic() < until:
        busy = [pid for pid in drivers if Path(f"/proc/{pid}").exists()]
        if announced:
            busy += list(processes(is_at_work))
        if not busy:
            click.echo("nothing runs here any more")
            break
        time.sleep(POLL_SECONDS)
    else:
        click.echo("the time is up")
    if failure is not None:
        raise failure


def announce(seconds: float) -> bool:
    """Tell Ray that this node goes in so many seconds.

    Returns:
        Whether it has: Ray does not drain a head.

    Raises:
        DrainError: when Ray is not there, or refuses.
    """
    from unbraid.trainers.launch.ray_internals import ControlStore, control_store_address

    try:
        address = control_store_address(os.environ.get("RAY_ADDRESS", "auto"))
        require_listener(address)
        store = ControlStore(address)
        nodes = store.living_nodes()
    except Exception as error:  # of gRPC, and of Ray's own
        raise DrainError(f"Ray's control store does not answer ({in_one_line(error)}): set RAY_ADDRESS to HOST:6379") from None
    own = {socket.gethostname(), LOOPBACK}
    here = [node for node in nodes if own & {node.hostname, node.address}]
    if not here:
        raise DrainError(f"no living node of this cluster is on {socket.gethostname()}: run this where `ray start` ran")
    workers = [node for node in here if not node.is_head]
    for node in workers:
        refusal = store.drain(node, seconds, "this pod ends")
        if refusal:
            raise DrainError(f"Ray does not let this node go: {refusal}")
    return bool(workers)


def processes(wanted: Callable[[list[str]], bool]) -> Iterator[int]:
    """Find the other processes of this machine, or container, whose arguments fulfil a condition."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                arguments = folder.joinpath("cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue  # it has ended, or is another user's
            if wanted(arguments):
                yield int(folder.name)


def is_driver(arguments: list[str]) -> bool:
    """Tell whether these are the arguments of an `unbraid` command that runs as a job."""
    for name, kind in itertools.pairwise(arguments):
        if (Path(name).name == "unbraid" or name == "unbraid.cluster.cli") and kind in KINDS:
            return True
    return False


def is_at_work(arguments: list[str]) -> bool:
    """Tell whether Ray runs a user's code in a process with these arguments."""
    title = arguments[0]
    return title.startswith("ray::") and not title.startswith(IDLE)
