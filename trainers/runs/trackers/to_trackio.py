"""Trackio: a run of its own name in ``run.project``, on this machine or on a Space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from unbraid.trainers.runs.recorder import Line
from unbraid.trainers.runs.trackers.tracking import Ending, Identity


class RunTracker:
    """See :class:`unbraid.trainers.runs.trackers.tracking.Tracker`; TRACKIO_DIR names the folder."""

    def __init__(self, identity: Identity) -> None:
        import trackio

        self._run: Any = trackio.init(
            project=identity.project,
            name=identity.name,
            group=identity.group or None,
            config={key: value for key, value in identity.settings.items() if not key.startswith("_")},
            resume="allow",
            embed=False,
        )

    def scalars(self, lines: Sequence[Line]) -> None:
        """Log metrics."""
        for line in lines:
            self._run.log({name: value for name, value in line.items() if name != "step"}, step=int(line["step"]))

    def picture(self, step: int, name: str, picture: Tensor) -> None:
        """Log a picture."""
        import trackio

        self._run.log({name: trackio.Image(picture.permute(1, 2, 0).numpy())}, step=step)

    def end(self, ending: Ending) -> None:
        """End the run."""
        self._run.finish()
