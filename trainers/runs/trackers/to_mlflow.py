"""MLflow: a run of its own name in the experiment ``run.project``, below a parent for its campaign."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from unbraid.trainers.runs.recorder import Line
from unbraid.trainers.runs.trackers.tracking import Ending, Identity

NAME_TAG = "unbraid.run"
LONGEST_VALUE = 500
"""Characters of a setting."""
AT_ONCE = 90
"""Settings, and metrics, of one request; MLflow takes 100 and 1,000."""


class RunTracker:
    """See :class:`unbraid.trainers.runs.trackers.tracking.Tracker`; MLFLOW_TRACKING_URI names the server."""

    def __init__(self, identity: Identity) -> None:
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self._client: Any = MlflowClient()
        experiment = self._client.get_experiment_by_name(identity.project)
        self._experiment = experiment.experiment_id if experiment else self._client.create_experiment(identity.project)
        parent = self._run_of(f"campaign {identity.group}", {}) if identity.group else None
        tags = {"mlflow.parentRunId": parent} if parent else {}
        self._run = self._run_of(identity.name, tags | {f"tag.{tag}": "" for tag in identity.tags})
        self._client.update_run(self._run, status="RUNNING")
        known = set(self._client.get_run(self._run).data.params)  # a setting that was logged cannot be changed
        settings = [Param(k, str(v)[:LONGEST_VALUE]) for k, v in identity.settings.items() if k not in known]
        for first in range(0, len(settings), AT_ONCE):
            self._client.log_batch(self._run, params=settings[first : first + AT_ONCE])

    def scalars(self, lines: Sequence[Line]) -> None:
        """Log metrics."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(name, float(value), now, int(line["step"]))
            for line in lines
            for name, value in line.items()
            if name != "step"
        ]
        for first in range(0, len(metrics), 10 * AT_ONCE):
            self._client.log_batch(self._run, metrics=metrics[first : first + 10 * AT_ONCE])

    def picture(self, step: int, name: str, picture: Tensor) -> None:
        """Log a picture as an artifact."""
        self._client.log_image(self._run, picture.permute(1, 2, 0).numpy(), f"{name}/{step:08d}.png")

    def end(self, ending: Ending) -> None:
        """End the run."""
        self._client.set_terminated(self._run, "FINISHED" if ending == "finished" else "FAILED")

    def _run_of(self, name: str, tags: dict[str, str]) -> str:
        """The id of the run of a name, which is made where there is none."""
        found = self._client.search_runs([self._experiment], f"tags.`{NAME_TAG}` = '{name}'", max_results=1)
        if found:
            return str(found[0].info.run_id)
        return str(self._client.create_run(self._experiment, run_name=name, tags=tags | {NAME_TAG: name}).info.run_id)
