"""Stopping a run by a signal: the first asks for a checkpoint and an end, Ctrl-C after it ends the run at once.

A terminal that is closed is no wish to stop.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Self

import click

if TYPE_CHECKING:
    from types import FrameType

    from unbraid.datasets.store import Store
    from unbraid.datasets.store.lease import Lease


class StopSignals:
    """Handles Ctrl-C and SIGTERM, and passes over a terminal's end, within the context.

    Args:
        lease: of the run, through which its workers are asked to stop.

    Attributes:
        received: the signal that came last; None before the first.
    """

    def __init__(self, lease: Lease) -> None:
        self.received: signal.Signals | None = None
        self._lease = lease
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # in Ray's processes too
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def interrupted(self) -> bool:
        """Whether the last signal was Ctrl-C."""
        return self.received == signal.SIGINT

    @property
    def exit_status(self) -> int:
        """Of a command that was stopped; without a signal it was stopped from outside, as by SIGTERM."""
        return 128 + (self.received or signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        is_first, self.received = self.received is None, signal.Signals(number)
        if self.interrupted and not is_first:
            raise KeyboardInterrupt
        if self.interrupted:
            click.echo("\nCtrl-C: asking for a checkpoint; Ctrl-C once more ends at once, without one", err=True)
        else:
            click.echo("SIGTERM: asking for a checkpoint", err=True)
        self._lease.request_stop(hurried=not self.interrupted)  # only a person may wait for as long as it takes


def newest_checkpoint(store: Store) -> str:
    """Describe what the same command would go on from."""
    from unbraid.datasets.errors import DataError
    from unbraid.trainers.runs.checkpoint import complete_steps

    try:
        steps = complete_steps(store)
    except DataError as error:
        return f"which checkpoint is the newest cannot be read now ({error})"
    if not steps:
        return "there is no checkpoint yet: the same command begins at update 0"
    return f"the newest checkpoint is of update {steps[-1]}: the same command goes on from it"
