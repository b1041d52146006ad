"""The judge: what it calls a divergence or a collapse, since when, and what it passes over."""

import math
from collections.abc import Callable, Iterable, Sequence

import pytest

from unbraid.trainers.config.sections import DivergenceConfig
from unbraid.trainers.monitor.judge import DISCRIMINATOR_LOSS, FAKE_DEVIATION, REAL_DEVIATION, Finding, Judge

ERROR, INFORMATION, NORM = "loss/pose", "info/categorical_0_nats", "gradient_norm/generator"
BOUNDED = {"loss/pose": "error", "info/": "information"}


def judge(**settings: float) -> Judge:
    return Judge(DivergenceConfig.model_validate(settings), BOUNDED)  # type: ignore[arg-type]


def lines(name: str, values: Iterable[float], every: int = 10) -> list[dict[str, float]]:
    return [{"step": every * i, name: value} for i, value in enumerate(values, 1)]


def found(name: str, values: Sequence[float], **settings: float) -> Finding | None:
    mine = judge(**settings)
    mine.replay(lines(name, values))
    return mine.finding


def falling(count: int, to: float = 5e-5) -> list[float]:
    """As a loss falls: a decade in each quarter, with noise that is the same each time."""
    return [to * 10 ** (4 * (1 - i / count)) * (1 + 0.3 * math.sin(7.0 * i)) for i in range(count)]


def test_a_loss_that_was_tiny_and_explodes_has_diverged() -> None:
    """As it was seen: 5e-5, then 0.036, then 3,458,392,320."""
    mine = judge()
    mine.replay(lines(ERROR, [5e-5 * (1 + i % 3) for i in range(86)], every=50))
    assert mine.clean == 4300
    assert mine.read({"step": 4350, ERROR: 0.036}) is None
    assert mine.clean == 4300, "the first sign is in doubt, and no state after it is called good"
    finding = mine.read({"step": 4400, ERROR: 3.4e9})
    assert finding == mine.finding == Finding("diverged", finding.what if finding else "", 4350, 4400)
    assert finding is not None
    assert finding.what == "loss/pose rose from 0.0001 to 3.4e+09, since update 4350"


def test_one_reading_however_wild_is_no_divergence() -> None:
    mine = judge()
    mine.replay(lines(ERROR, [*falling(40), 1e30, *falling(40)[-5:]]))
    assert mine.finding is None
    assert mine.clean == 460


def test_enough_readings_in_a_row_are_needed_and_a_break_begins_anew() -> None:
    usual, beyond = [1.0] * 30, 11.0
    assert found(ERROR, [*usual, beyond, beyond]) is None
    assert found(ERROR, [*usual, beyond, beyond, 1.0, beyond, beyond]) is None
    finding = found(ERROR, [*usual, beyond, beyond, beyond])
    assert finding is not None
    assert (finding.since, finding.step) == (310, 330)


def test_what_is_beyond_does_not_become_the_usual() -> None:
    """Else a run that jumps every other reading would teach the judge to expect it."""
    assert found(ERROR, [*[1.0] * 30, *[11.0, 1.0] * 60, 11.0, 11.0, 11.0]) is not None


@pytest.mark.parametrize(
    ("name", "usual", "within", "beyond"),
    [(ERROR, 1.0, 9.0, 11.0), (NORM, 1.0, 28.0, 31.0), (INFORMATION, 2.3, 0.4, 0.2), ("update_norm/d", 1e-3, 0.0055, 0.0062)],
)
def test_the_limits_of_each_kind(name: str, usual: float, within: float, beyond: float) -> None:
    steady = [usual * (1 + 0.01 * (i % 5)) for i in range(30)]
    assert found(name, [*steady, *[within] * 20]) is None
    assert found(name, [*steady, *[beyond * 1.05 if name != INFORMATION else beyond] * 3]) is not None


def test_what_varies_much_may_vary_much() -> None:
    """An oscillation over three decades, as of gradients behind a reversal, is its own usual."""
    values = [10 ** (1.5 * math.sin(i)) for i in range(300)]
    assert found(ERROR, values) is None
    assert found(ERROR, [*values, *[10**15.0] * 3]) is not None


@pytest.mark.parametrize("other", [0.29, 0.14])
def test_data_that_become_others_are_seen_either_way(other: float) -> None:
    """Garbage instead of pixels: D and G go on as if nothing had happened."""
    assert found(REAL_DEVIATION, [*[0.20, 0.21] * 15, *[0.235, 0.17] * 15]) is None
    finding = found(REAL_DEVIATION, [*[0.20, 0.21] * 15, *[other] * 3])
    assert finding is not None
    assert finding.what.startswith(f"samples/real_deviation {'rose' if other > 0.2 else 'fell'} from 0.2")


@pytest.mark.parametrize("better", [(ERROR, 1e-9), (INFORMATION, 50.0), (NORM, 1e-9)])
def test_a_sudden_improvement_is_none_of_its_business(better: tuple[str, float]) -> None:
    assert found(better[0], [*[1.0] * 30, *[better[1]] * 30]) is None


@pytest.mark.parametrize(
    "name", ["loss/g", "wasserstein/image", "logit/real", "speed/updates_per_second", "evaluation/loss/pose"]
)
def test_what_wanders_is_not_judged(name: str) -> None:
    assert found(name, [*[1.0] * 30, *[1e9] * 30]) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", [ERROR, "loss/g", "logit/real"])
def test_a_number_that_is_not_finite_ends_at_once(name: str, value: float) -> None:
    assert found(name, [1.0, value]) == Finding("diverged", f"{name} is not finite", 20, 20)


def test_many_that_are_not_finite_are_named_in_few_words() -> None:
    mine = judge()
    finding = mine.read({"step": 1, **{f"loss/{letter}": math.nan for letter in "abcde"}})
    assert finding is not None
    assert finding.what == "loss/a, loss/b, loss/c and 2 more are not finite"


def test_nothing_is_judged_before_there_is_a_usual() -> None:
    """The first updates of a system are like nothing that follows."""
    assert found(ERROR, [1e-6, *[10.0] * 300]) is None


def test_a_loss_of_exactly_nothing_is_passed_over() -> None:
    assert found(ERROR, [*[0.0] * 30, *[1.0] * 30]) is None


def test_the_first_finding_stays() -> None:
    mine = judge()
    mine.replay(lines(ERROR, [*[1.0] * 30, *[1e3] * 30]))
    assert mine.finding is not None
    assert mine.finding.step == 320


Won = Callable[[int], dict[str, float]]
WON: list[tuple[Won, str]] = [
    (lambda i: {DISCRIMINATOR_LOSS: 0.004}, "the discriminator has won: loss/d below 0.005 since update 10"),
    (
        lambda i: {FAKE_DEVIATION: 0.04, REAL_DEVIATION: 1.0},
        "generated samples are all the same: samples/fake_deviation below 0.05 of samples/real_deviation since update 10",
    ),
]


@pytest.mark.parametrize(("collapsed", "words"), WON)
def test_a_collapse_is_a_state_that_lasts(collapsed: Won, words: str) -> None:
    mine = judge()
    mine.replay([{"step": 10 * i, **collapsed(i)} for i in range(1, 11)])
    assert mine.finding is None
    assert mine.clean == 0
    mine.read({"step": 110, **collapsed(11)})
    assert mine.finding == Finding("collapsed", words, 10, 110)


def test_a_collapse_that_is_interrupted_begins_anew() -> None:
    values = [0.004] * 10 + [0.006] + [0.004] * 10
    assert found(DISCRIMINATOR_LOSS, values) is None
    assert found(DISCRIMINATOR_LOSS, [*values, 0.004]) is not None


def test_a_threshold_of_nothing_judges_no_discriminator() -> None:
    assert found(DISCRIMINATOR_LOSS, [0.0] * 100, loss_d=0) is None


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        ({"error_factor": 1e3}, [1.0] * 30 + [100.0] * 3),
        ({"readings": 5}, [1.0] * 30 + [11.0] * 3),
        ({"spread": 80}, [1.0, 1.2] * 15 + [15.0] * 3),
        ({"window": 200}, [1.0] * 60 + [11.0] * 3),
    ],
)
def test_every_threshold_is_a_setting(settings: dict[str, float], values: list[float]) -> None:
    assert found(ERROR, values) is not None
    assert found(ERROR, values, **settings) is None


@pytest.mark.parametrize("at", range(0, 60, 7))
def test_a_run_that_goes_on_is_judged_as_one_that_was_never_interrupted(at: int) -> None:
    every = lines(ERROR, [*falling(40), 1e2, *falling(40)[-8:], *[1e3] * 4])
    whole, resumed = judge(), judge()
    whole.replay(every)
    resumed.replay(every[:at])
    resumed.replay(every[at:])
    assert whole.finding == resumed.finding is not None
    assert whole.clean == resumed.clean
