"""The reports of a trial: what its process sends to Ray Tune, and the campaign's driver and Tune's schedulers read."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from ray import tune

from unbraid.datasets.untrusted.documents import parse_json

UPDATES = "updates"
"""The key by which Tune's schedulers know how far a trial is."""
OBJECTIVE = "objective"
"""The key of the value that Tune's schedulers compare; larger is better."""
LAST_REPORT_KEYS = frozenset({"outcome", "shared_trouble"})
"""Keys of which only a trial's last report has one."""
STATE_FILE = "state.json"

Outcome = Literal["finished", "failed", "compared"]


@dataclass(frozen=True)
class Report:
    """One report of a trial.

    Attributes:
        updates: made when it was evaluated.
        scores: of that evaluation; None where there was none.
        objective: the scheduler's objective, larger is better; None without a scheduler.
        seconds: of training so far, all launches together.
        outcome: how the trial ended; None while it trains.
        cause: why it failed.
        centrality: of each seed's model, where the models of a configuration were compared.
        shared_trouble: an error that all trials would meet, such as a full disk, which stops the campaign.
    """

    updates: int = 0
    scores: Mapping[str, float] | None = None
    objective: float | None = None
    seconds: float = 0.0
    outcome: Outcome | None = None
    cause: str = ""
    centrality: Mapping[int, float] | None = None
    shared_trouble: str = ""

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


@dataclass(frozen=True)
class MemberState:
    """A state of a population's member, which another member may copy: its trial's name, and the updates of the checkpoint."""

    trial: str
    updates: int


def send(report: Report, state: MemberState | None = None) -> None:
    """Send a report to Tune, which may end the process's trial in this call.

    Args:
        state: of a population's member, which Tune gives to the members that exploit it.
    """
    if state is None:
        tune.report(report.as_result())
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / STATE_FILE).write_text(json.dumps(vars(state)))
        tune.report(report.as_result(), checkpoint=tune.Checkpoint.from_directory(folder))


def state_to_start_from() -> MemberState | None:
    """The state that Tune starts this trial from: its own newest, or a donor's; None outside a population, and at first."""
    checkpoint = tune.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        return parse_json((Path(folder) / STATE_FILE).read_bytes(), MemberState, STATE_FILE)
