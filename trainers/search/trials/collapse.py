"""Collapse detection: adversaries that no longer learn from each other, found in the metrics that a system logs.

A system that logs none of these metrics, such as one without a discriminator, is never found collapsed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unbraid.trainers.errors import TrainingError
from unbraid.trainers.search.campaign.sections import CollapseConfig
from unbraid.trainers.system import DISCRIMINATOR_LOSS, FAKE_DEVIATION, REAL_DEVIATION


class CollapseError(TrainingError):
    """Training that will not recover; the message says which metric showed it, and for how long."""


class CollapseDetector:
    """Checks each line of one run's metrics."""

    def __init__(self, config: CollapseConfig) -> None:
        self._config = config
        self._won = 0
        self._constant = 0

    def __call__(self, line: Mapping[str, Any]) -> None:
        """Check one more line.

        Raises:
            CollapseError: when a condition has held for ``collapse.lines`` consecutive lines.
        """
        config = self._config
        if DISCRIMINATOR_LOSS in line:
            self._won = self._won + 1 if line[DISCRIMINATOR_LOSS] < config.loss_d else 0
        if FAKE_DEVIATION in line:
            is_constant = line[FAKE_DEVIATION] < config.deviation * line[REAL_DEVIATION]
            self._constant = self._constant + 1 if is_constant else 0
        if self._won >= config.lines:
            raise CollapseError(
                f"the discriminator has won: {DISCRIMINATOR_LOSS} was below {config.loss_d:g} for {self._won} lines, up to "
                f"update {line['step']}"
            )
        if self._constant >= config.lines:
            raise CollapseError(
                f"fake samples are all the same: {FAKE_DEVIATION} was below {config.deviation:g} of {REAL_DEVIATION} for "
                f"{self._constant} lines, up to update {line['step']}"
            )
