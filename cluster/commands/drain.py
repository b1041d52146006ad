"""``unbraid drain``: this node is about to go. Pods run it before they end (``preStop`` in ``k8s/base/cluster.yaml``)."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from unbraid.cluster.jobs.ray import KINDS, require_answer
from unbraid.cluster.local.ports import LOOPBACK
from unbraid.trainers.errors import TrainingError, in_one_line

POLL_SECONDS = 0.5
IDLE = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""What Ray runs on a node that nobody uses."""


class DrainError(TrainingError):
    """A node that cannot be announced as going; the message says why."""


@click.command()
@click.option("--seconds", default=45.0, show_default=True, type=click.FloatRange(min=0), help="Until this node goes.")
def drain(seconds: float) -> None:
    """Leave a Ray cluster in order: what runs on this node saves a checkpoint before it goes.

    Drivers here are asked to save and end. Ray is told that the node goes, whereupon runs save at once and go on without it.
    Returns when nothing is at work here any more, or when the time is up.

    \b
    Example:
      unbraid drain --seconds 45
    """
    until = time.monotonic() + seconds
    drivers = list(processes(is_driver))
    for pid in drivers:
        click.echo(f"driver {pid}: asked for a checkpoint and an end")
        os.kill(pid, signal.SIGTERM)
    announced, trouble = False, None
    try:
        announced = announce(seconds)
        click.echo("Ray knows that this node goes" if announced else "the head cannot be drained: its drivers end, that is all")
    except DrainError as error:  # what drivers save does not depend on it
        trouble = error
    while time.monotonic() < until:
        busy = [pid for pid in drivers if Path(f"/proc/{pid}").exists()]
        if announced:
            busy += list(processes(is_at_work))
        if not busy:
            click.echo("nothing is at work here any more")
            break
        time.sleep(POLL_SECONDS)
    else:
        click.echo("the time is up")
    if trouble is not None:
        raise trouble


def announce(seconds: float) -> bool:
    """Tell Ray that this node goes in so many seconds; the head itself cannot be drained.

    Raises:
        DrainError: when Ray is not there, or refuses.
    """
    from ray import NodeID
    from ray._private import services
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.core.generated import autoscaler_pb2, gcs_pb2

    try:
        address = services.canonicalize_bootstrap_address_or_die(os.environ.get("RAY_ADDRESS", "auto"))
        require_answer(address)
        store = GcsClient(address=address)
        nodes = store.get_all_node_info(timeout=10)
    except Exception as error:  # of gRPC, and of Ray's own
        raise DrainError(f"Ray's control store does not answer ({in_one_line(error)}): set RAY_ADDRESS to HOST:6379") from None
    alive = gcs_pb2.GcsNodeInfo.ALIVE  # type: ignore[attr-defined]
    own = {socket.gethostname(), LOOPBACK}
    here = [i for i in nodes.values() if i.state == alive and own & {i.node_manager_hostname, i.node_manager_address}]
    if not here:
        raise DrainError(f"no living node of this cluster is on {socket.gethostname()}: run this where `ray start` ran")
    announced = False
    for info in here:
        if info.is_head_node:
            continue
        reason = autoscaler_pb2.DRAIN_NODE_REASON_PREEMPTION  # type: ignore[attr-defined]
        deadline = time.time_ns() // 1_000_000 + round(1000 * seconds)
        accepted, why = store.drain_node(NodeID(info.node_id).hex(), reason, "this pod ends", deadline)
        if not accepted:
            raise DrainError(f"Ray does not let this node go: {why}")
        announced = True
    return announced


def processes(wanted: Callable[[list[str]], bool]) -> Iterator[int]:
    """Other processes of this machine, or container, whose arguments are wanted."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                arguments = folder.joinpath("cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue  # it has ended, or is another user's
            if wanted(arguments):
                yield int(folder.name)


def is_driver(arguments: list[str]) -> bool:
    """Whether these are the arguments of a command of ours that trains or searches."""
    for name, kind in itertools.pairwise(arguments):
        if (Path(name).name == "unbraid" or name == "unbraid.cluster.cli") and kind in KINDS:
            return True
    return False


def is_at_work(arguments: list[str]) -> bool:
    """Whether Ray runs somebody's code in a process with these arguments."""
    title = arguments[0]
    return title.startswith("ray::") and not title.startswith(IDLE)
