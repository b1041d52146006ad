"""Learning rates over a run: what the schedule says is what the optimisers of every system get."""

from pathlib import Path

import pytest
import torch

from tests.trainers.systems.infogan.test_system import TINY
from tests.trainers.systems.pairs import cdd_config, pix2pix_config
from tests.trainers.systems.people import stage_config
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.config.sections import ScheduleConfig
from unbraid.trainers.measures.flops import meta_batch
from unbraid.trainers.step.distributed import World
from unbraid.trainers.step.schedule import halving, linear_decay, rate_factor
from unbraid.trainers.system import build_system

META = torch.device("meta")


@pytest.mark.parametrize(
    ("updates", "expected"), [(0, 1.0), (49, 1.0), (50, 1.0), (60, 0.8), (75, 0.5), (90, 0.2), (99, 0.02), (100, 0.0)]
)
def test_the_rate_falls_linearly_to_zero_from_half_of_the_budget_on(updates: int, expected: float) -> None:
    assert linear_decay(updates, 100, 0.5) == pytest.approx(expected)


def test_a_rate_that_never_decays_stays() -> None:
    assert [linear_decay(updates, 100, 1.0) for updates in (0, 50, 99)] == [1, 1, 1]


def test_the_rate_is_halved_at_every_multiple() -> None:
    assert [halving(updates, 10) for updates in (0, 9, 10, 19, 20, 35)] == [1, 1, 0.5, 0.5, 0.25, 0.125]
    assert halving(10**6, 0) == 1


def test_both_schedules_are_multiplied() -> None:
    schedule = ScheduleConfig(halve_every=30, decay_from=0.5)
    assert rate_factor(schedule, 75, 100) == pytest.approx(0.25 * 0.5)


def systems(url: str, storage: Path) -> list[SystemConfig]:
    schedule = ["optim.halve_every=2", "optim.decay_from=0.5", "run.updates=8"]
    stages = [stage_config(stage, url, storage, *schedule) for stage in ("appearance", "pose", "mapping")]
    translating = [config(url, storage, *schedule) for config in (cdd_config, pix2pix_config)]
    return [resolve("infogan-mnist", [*TINY, *schedule]), *translating, *stages]


def test_every_player_of_every_system_gets_the_scheduled_rate(tmp_path: Path) -> None:
    """The factor that an update is made with: of updates 0, 2 and 5 of 8, halved every 2, falling from the fourth on."""
    for config in systems("nowhere", tmp_path):
        system = build_system(config, META, World())
        first = {name: [group["lr"] for group in optimizer.param_groups] for name, optimizer in system.optimizers.items()}
        for update, factor in ((0, 1), (2, 0.5), (5, 0.25 * 0.75)):
            system.updates = update
            system.step(meta_batch(config))
            for name, optimizer in system.optimizers.items():
                rates = [group["lr"] for group in optimizer.param_groups]
                assert rates == pytest.approx([rate * factor for rate in first[name]]), (config.system, name, system.updates)


def test_players_learn_at_the_rates_of_their_own_keys() -> None:
    config = resolve("infogan-mnist", [*TINY, "optim.lr_generator=0.003", "optim.lr_discriminator=0.0005"])
    optimizers = build_system(config, META, World()).optimizers
    assert optimizers["generator"].param_groups[0]["lr"] == 0.003
    assert optimizers["discriminator"].param_groups[0]["lr"] == 0.0005
