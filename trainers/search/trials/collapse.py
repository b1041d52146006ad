"""Adversaries that have stopped learning from each other, noticed from the metrics that they log anyway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unbraid.trainers.errors import TrainingError
from unbraid.trainers.search.campaign.sections import CollapseConfig


class CollapseError(TrainingError):
    """Training that will not recover; the message says what was seen for how long."""


class CollapseWatch:
    """Looks at each line of metrics of one run; what a system does not log is not looked at."""

    def __init__(self, config: CollapseConfig) -> None:
        self._config = config
        self._won = 0
        self._constant = 0

    def __call__(self, line: Mapping[str, Any]) -> None:
        """See one more line.

        Raises:
            CollapseError: when it is one too many.
        """
        config = self._config
        if "loss/d" in line:
            self._won = self._won + 1 if line["loss/d"] < config.loss_d else 0
        if "samples/fake_deviation" in line:
            real, made = line["samples/real_deviation"], line["samples/fake_deviation"]
            self._constant = self._constant + 1 if made < config.deviation * real else 0
        if self._won >= config.lines:
            raise CollapseError(f"D has won: loss/d below {config.loss_d:g} for {self._won} lines, up to update {line['step']}")
        if self._constant >= config.lines:
            raise CollapseError(
                f"samples are all the same: their deviation is below {config.deviation:g} of real ones' for {self._constant} "
                f"lines, up to update {line['step']}"
            )
