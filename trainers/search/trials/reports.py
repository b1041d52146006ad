"""The reports of a trial: what its process sends to Ray Tune, and the campaign's driver reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from ray import tune

from unbraid.datasets.untrusted.documents import parse_json

Outcome = Literal["finished", "failed", "compared"]


@dataclass(frozen=True)
class Report:
    """One report of a trial.

    Attributes:
        updates: made when it was evaluated.
        scores: of that evaluation; None where there was none.
        seconds: of training so far, all launches together.
        outcome: how the trial ended; None while it trains.
        cause: why it failed.
        centrality: of each seed's model, where the models of a configuration were compared.
        shared_trouble: an error that all trials would meet, such as a full disk, which stops the campaign.
    """

    updates: int = 0
    scores: Mapping[str, float] | None = None
    seconds: float = 0.0
    outcome: Outcome | None = None
    cause: str = ""
    centrality: Mapping[int, float] | None = None
    shared_trouble: str = ""

    @property
    def is_last(self) -> bool:
        """Whether the trial has nothing more to report."""
        return self.outcome is not None or bool(self.shared_trouble)

    def as_result(self) -> dict[str, Any]:
        """A flat mapping for Tune, which flattens nested ones: mappings become JSON; None and empty fields are left out."""
        fields = {name: value for name, value in vars(self).items() if value is not None and value != ""}
        return {name: json.dumps(value) if isinstance(value, Mapping) else value for name, value in fields.items()}

    @classmethod
    def of_result(cls, result: Mapping[str, Any] | None) -> Self:
        """The report in what Tune passes on, which holds keys of Tune's too; an empty report where there is none."""
        fields = {name: value for name, value in (result or {}).items() if name in cls.__dataclass_fields__}
        if "scores" in fields:
            fields["scores"] = parse_json(fields["scores"].encode(), dict[str, float], "scores")
        if "centrality" in fields:
            fields["centrality"] = parse_json(fields["centrality"].encode(), dict[int, float], "centrality")
        return cls(**fields)


def send(report: Report) -> None:
    """Send a report to Tune, which may end the process's trial in this call."""
    tune.report(report.as_result())
