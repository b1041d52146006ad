"""A collapse is noticed from lines of metrics, and what recovers is left alone."""

import pytest

from trainers.search.campaign import CollapseConfig
from trainers.search.health import CollapseError, CollapseWatch

CONFIG = CollapseConfig(lines=3, loss_d=0.01, deviation=0.1)


def line(step: int, loss_d: float = 0.5, made: float = 0.2) -> dict[str, float]:
    return {"step": step, "loss/d": loss_d, "samples/real_deviation": 0.3, "samples/made_deviation": made}


def test_a_discriminator_that_wins_for_long_is_a_collapse() -> None:
    watch = CollapseWatch(CONFIG)
    for step in (1, 2):
        watch(line(step, loss_d=0.001))
    with pytest.raises(CollapseError, match=r"D has won: loss/d below 0\.01 for 3 lines, up to update 3"):
        watch(line(3, loss_d=0.001))


def test_constant_samples_are_a_collapse() -> None:
    watch = CollapseWatch(CONFIG)
    with pytest.raises(CollapseError, match="samples are all the same"):
        for step in range(5):
            watch(line(step, made=0.01))


def test_what_recovers_is_none() -> None:
    watch = CollapseWatch(CONFIG)
    for step in range(20):
        watch(line(step, loss_d=0.001 if step % 3 else 0.5, made=0.01 if step % 3 else 0.2))


def test_what_a_system_does_not_log_is_not_looked_at() -> None:
    watch = CollapseWatch(CONFIG)
    for step in range(20):
        watch({"step": step, "loss/shared": 0.0})
