"""Collapse detection from lines of metrics."""

import pytest

from unbraid.trainers.search.campaign.sections import CollapseConfig
from unbraid.trainers.search.trials.collapse import CollapseDetector, CollapseError
from unbraid.trainers.system import DISCRIMINATOR_LOSS, FAKE_DEVIATION, REAL_DEVIATION

CONFIG = CollapseConfig(lines=3, loss_d=0.01, deviation=0.1)


def line(step: int, loss_d: float = 0.5, fake: float = 0.2) -> dict[str, float]:
    return {"step": step, DISCRIMINATOR_LOSS: loss_d, REAL_DEVIATION: 0.3, FAKE_DEVIATION: fake}


def test_a_discriminator_that_has_won_for_long_is_a_collapse() -> None:
    detect = CollapseDetector(CONFIG)
    for step in (1, 2):
        detect(line(step, loss_d=0.001))
    with pytest.raises(CollapseError, match=rf"won: {DISCRIMINATOR_LOSS} was below 0\.01 for 3 lines, up to update 3"):
        detect(line(3, loss_d=0.001))


def test_constant_fake_samples_are_a_collapse() -> None:
    detect = CollapseDetector(CONFIG)
    for step in (1, 2):
        detect(line(step, fake=0.029))
    with pytest.raises(CollapseError, match=rf"the same: {FAKE_DEVIATION} was below 0\.1 of {REAL_DEVIATION} for 3 lines"):
        detect(line(3, fake=0.029))


def test_samples_that_differ_enough_are_none() -> None:
    detect = CollapseDetector(CONFIG)
    for step in range(20):
        detect(line(step, fake=0.031))


def test_what_recovers_is_no_collapse() -> None:
    detect = CollapseDetector(CONFIG)
    for step in range(20):
        detect(line(step, loss_d=0.001 if step % 3 else 0.5, fake=0.01 if step % 3 else 0.2))


def test_a_system_that_logs_none_of_these_metrics_never_collapses() -> None:
    detect = CollapseDetector(CONFIG)
    for step in range(20):
        detect({"step": step, "loss/shared": 0.0})
