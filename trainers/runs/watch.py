"""Rank 0's watch over a run: its judge, and which checkpoints outlive the newest ones.

Both follow from the lines of metrics and the steps of the checkpoints: nothing of it is stored, and a run that goes on, or
``unbraid runs show``, comes to the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.monitor.judge import Finding, Judge


@dataclass(frozen=True)
class Kept:
    """Steps of checkpoints that are kept for their own sake; None where there is none.

    Attributes:
        best: by the primary metric of the validation split.
        good: the newest from before the first sign of trouble; of a run without trouble, the newest that was judged.
    """

    best: int | None
    good: int | None

    @property
    def steps(self) -> set[int]:
        """Of both."""
        return {step for step in (self.best, self.good) if step is not None}

    def label(self, step: int) -> str:
        """``step-N``, and what it is: ``step-250 (best, good)``."""
        words = [word for word, of_word in vars(self).items() if of_word == step]
        return f"step-{step} ({', '.join(words)})" if words else f"step-{step}"


class Watch:
    """Judges a run by its lines of metrics.

    Args:
        lines: that the run has recorded so far.
        judged_from: step before which the run learnt by another configuration; earlier lines are not compared with.
    """

    def __init__(self, config: SystemConfig, lines: Iterable[Mapping[str, Any]], judged_from: int = 0) -> None:
        self.judge = Judge(config.divergence, config.bounded)
        self._metric = config.primary_metric
        self.judge.clean = judged_from
        self._values: dict[int, float] = {}
        for line in lines:
            if line["step"] > judged_from:
                self.judge.read(line)
            self.add_measures(line)

    @property
    def finding(self) -> Finding | None:
        """Why the run has to end; None while it need not."""
        return self.judge.finding

    def add_measures(self, line: Mapping[str, Any]) -> bool:
        """Note the measures of a line of metrics; whether they are the best so far, so that their checkpoint is to be kept."""
        if self._metric is None or (value := line.get(f"evaluation/{self._metric.name}")) is None:
            return False
        self._values[int(line["step"])] = value
        return self._metric.best(self._values) == int(line["step"])

    def kept(self, steps: Sequence[int]) -> Kept:
        """Choose, of a run's complete checkpoints, those that are kept for their own sake. Any thread may call it."""
        measured = {step: value for step, value in dict(self._values).items() if step in steps}
        best = None if self._metric is None else self._metric.best(measured)
        clean = self.judge.clean
        return Kept(best, max((step for step in steps if step <= clean), default=None))
