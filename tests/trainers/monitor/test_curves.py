"""Whole runs that went well: the judge finds nothing in them, and would if they had gone wrong."""

import pytest

from tests.trainers.monitor.curves import Curve, read_curves
from unbraid.trainers.monitor.judge import Judge

CURVES = [pytest.param(curve, id=curve.name) for curve in read_curves()]


def judged(curve: Curve, lines: list[dict[str, float]]) -> Judge:
    judge = Judge(curve.config.divergence, curve.config.bounded)
    judge.replay(lines)
    return judge


@pytest.mark.parametrize("curve", CURVES)
def test_a_run_that_went_well_is_left_alone(curve: Curve) -> None:
    judge = judged(curve, list(curve.lines))
    assert judge.finding is None, judge.finding
    assert judge.clean == curve.lines[-1]["step"]


@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("curve", CURVES)
def test_the_same_run_gone_wrong_is_seen_within_three_readings(curve: Curve, part: float) -> None:
    """From a part of it on, each error is a million times as large, and each information a hundred nats less."""
    at = int(part * len(curve.lines))
    lines = list(curve.lines[:at])
    for line in curve.lines[at : at + 3]:
        changed = {
            name: value * 1e6 if kind == "error" else value - 100
            for name, value in line.items()
            for prefix, kind in curve.config.bounded.items()
            if name.startswith(prefix)
        }
        lines.append(line | changed)
    finding = judged(curve, lines).finding
    assert finding is not None
    assert finding.since == curve.lines[at]["step"]
