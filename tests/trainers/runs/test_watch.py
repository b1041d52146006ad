"""Which checkpoints are kept for their own sake."""

import pytest

from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.runs.watch import Kept, Watch

POSE = resolve("dpig-people-small-pose")


def line(step: int, loss: float = 1e-4) -> dict[str, float]:
    return {"step": step, "loss/pose": loss}


def measured(step: int, error: float) -> dict[str, float]:
    return {"step": step, "evaluation/keypoint/error_percent": error}


def test_the_good_one_is_the_newest_that_was_judged_and_had_no_sign_of_trouble() -> None:
    watch = Watch(POSE, [line(step) for step in range(50, 1001, 50)])
    assert watch.kept([400, 600, 1000, 1020]) == Kept(None, 1000)
    watch.judge.read(line(1050, 1.0))
    assert watch.kept([400, 600, 1000, 1050]) == Kept(None, 1000)
    assert watch.kept([1020, 1050]) == Kept(None, None)
    watch.judge.read(line(1100))
    assert watch.kept([1000, 1050, 1100]) == Kept(None, 1100), "the sign has passed"


@pytest.mark.parametrize(
    ("preset", "name", "best"),
    [("dpig-people-small-pose", "keypoint/error_percent", 200), ("infogan-mnist", "code/accuracy", 300)],
)
def test_the_best_one_is_by_the_primary_metric_whichever_way_it_is_good(preset: str, name: str, best: int) -> None:
    watch = Watch(resolve(preset), [])
    news = [
        watch.add_measures({"step": step, f"evaluation/{name}": value})
        for step, value in ((100, 3.0), (200, 2.0), (300, 4.0), (400, 3.0))
    ]
    assert news == [True, best == 200, best == 300, False]
    assert watch.kept([100, 200, 300, 400]).best == best
    assert watch.kept([100, 400]).best == 100, "of those that are there; of equal ones the first"


def test_measures_of_the_test_split_choose_nothing() -> None:
    watch = Watch(POSE, [measured(100, 3.0), {"step": 200, "test/keypoint/error_percent": 0.1}])
    assert watch.kept([100, 200]).best == 100
    assert not watch.add_measures({"step": 300, "test/keypoint/error_percent": 0.0})


def test_without_a_primary_metric_none_is_best() -> None:
    assert (
        Watch(resolve("infogan-mnist", ["run.labels=false"]), [{"step": 100, "evaluation/info/share": 1.0}]).kept([100]).best
        is None
    )
