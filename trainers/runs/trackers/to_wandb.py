"""Weights & Biases: a run of its own id in ``run.project``, in the group of its campaign."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from unbraid.trainers.runs.recorder import Line
from unbraid.trainers.runs.trackers.tracking import Ending, Identity


class RunTracker:
    """See :class:`unbraid.trainers.runs.trackers.tracking.Tracker`; WANDB_MODE=offline keeps everything in WANDB_DIR."""

    def __init__(self, identity: Identity) -> None:
        import wandb

        if os.environ.get("WANDB_MODE") not in ("offline", "disabled") and wandb.api.api_key is None:
            raise RuntimeError("has no key: set WANDB_API_KEY, or WANDB_MODE=offline")
        self._run: Any = wandb.init(
            project=identity.project,
            id=re.sub(r"[^A-Za-z0-9_-]", "-", identity.name)[:64],
            name=identity.name,
            group=identity.group or None,
            tags=list(identity.tags),
            config=dict(identity.settings),
            resume="allow",
            dir=os.environ.get("WANDB_DIR") or tempfile.mkdtemp(prefix="unbraid-wandb-"),
            settings=wandb.Settings(silent=True, console="off", x_disable_meta=True),
        )

    def scalars(self, lines: Sequence[Line]) -> None:
        """Log metrics."""
        for line in lines:
            self._run.log({name: value for name, value in line.items() if name != "step"}, step=int(line["step"]))

    def picture(self, step: int, name: str, picture: Tensor) -> None:
        """Log a picture."""
        import wandb

        self._run.log({name: wandb.Image(picture.permute(1, 2, 0).numpy())}, step=step)

    def end(self, ending: Ending) -> None:
        """End the run."""
        self._run.finish(exit_code=0 if ending == "finished" else 1)
