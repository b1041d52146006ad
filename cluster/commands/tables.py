"""Cells, times and lines that the tables of several commands print."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from unbraid.trainers.runs.events import Event
    from unbraid.trainers.runs.summary import Summary

EVENTS_SHOWN = 8


class StatusCells(NamedTuple):
    """How far a run is, as cells of a table; "-" where nothing is known."""

    update: str = "-"
    images: str = "-"
    left: str = "-"
    checkpoint: str = "-"


STATUS_HEAD = ("UPDATE", "IMAGES/S", "LEFT", "CHECKPOINT")


def status_cells(run: Summary) -> StatusCells:
    """Format a run's update, images a second, time left, and newest checkpoint with its age."""
    checkpoint = "-" if run.checkpoint is None else str(run.checkpoint)
    if run.checkpoint_age is not None:
        checkpoint += f", {duration(run.checkpoint_age)} ago"
    return StatusCells(
        update=f"{run.step}/{run.updates}",
        images=f"{run.images:.0f}" if run.status == "running" and run.images else "-",
        left=duration(run.seconds_left) if run.seconds_left is not None else "-",
        checkpoint=checkpoint,
    )


def status_lines(run: Summary) -> list[str]:
    """Describe a run: where it is, how far, which launch trains it, which of its files are damaged."""
    cells = status_cells(run)
    message = f", {_continued(run.message)}" if run.message else ""
    lines = [
        f"run {run.name} in {run.url}: {run.status}{message}",
        f"update {cells.update}  {cells.images} images/s  left {cells.left}  checkpoint {cells.checkpoint}  "
        f"started {run.starts} times",
    ]
    if run.holder:
        lines.append(f"trained by {run.holder}")
    lines += [f"damaged: {_continued(message)}" for message in run.damaged]
    return lines


def event_lines(events: Iterable[Event]) -> list[str]:
    """Format the newest events of a run, one a line, oldest first, under a heading; no line where nothing happened."""
    entries = [
        f"  {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(event.time))}  {_continued(event.kind)}: "
        f"{_continued(event.message)}"
        for event in events
    ]
    if not entries:
        return []
    return [f"what happened{', the newest' if len(entries) > EVENTS_SHOWN else ''}:", *entries[-EVENTS_SHOWN:]]


def _continued(message: object) -> str:
    """Indent the further lines of a message, so that none looks like a line of ours."""
    return "\n    ".join(str(message).splitlines())


def duration(seconds: float) -> str:
    """Format a duration: ``43 s``, ``12 min``, ``3.5 h``, ``2.1 d``."""
    for limit, unit, size in ((100, "s", 1), (6000, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}" if unit != "h" else f"{seconds / size:.1f} h"
    return f"{seconds / 86_400:.1f} d"


def clock_time(seconds: float) -> str:
    """Format a time, given in seconds since the epoch: ``14:03:20``, with the date unless that is today."""
    then = time.localtime(seconds)
    form = "%H:%M:%S" if time.localtime()[:3] == then[:3] else "%Y-%m-%d %H:%M:%S"
    return time.strftime(form, then)
