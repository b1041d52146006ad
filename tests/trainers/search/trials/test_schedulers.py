"""Ray Tune's own schedulers with the scores of earlier launches: a resumed campaign decides as an uninterrupted one."""

from typing import Any

from ray.tune.schedulers import TrialScheduler

from tests.trainers.search.campaigns import parsed
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Trial
from unbraid.trainers.search.trials.reports import OBJECTIVE
from unbraid.trainers.search.trials.schedulers import scheduler_for


class Live:
    """The new trial, and a controller without other trials, with the attributes that schedulers read."""

    trial_id = "new"

    def get_live_trials(self) -> list[Any]:
        return []


def decision(planned: Campaign, earlier: list[Trial], updates: int, score: float) -> str:
    scheduler: Any = scheduler_for(planned, earlier)
    live = Live()
    scheduler.on_trial_add(live, live)
    answer: str = scheduler.on_trial_result(live, live, {"updates": updates, OBJECTIVE: score})
    return answer


def earlier_trials(*scores: float) -> list[Trial]:
    rungs = [[(2, {"info/share": s}), (4, {"info/share": s}), (8, {"info/share": s})] for s in scores]
    return [Trial(number, 0, "finished", rungs=rung) for number, rung in enumerate(rungs)]  # type: ignore[arg-type]


def test_asha_stops_what_is_worse_than_the_best_share_of_earlier_launches() -> None:
    asha = parsed(scheduler={"kind": "asha", "grace": 2, "reduction": 2})
    assert decision(asha, earlier_trials(0.1, 0.9), 2, 0.4) == TrialScheduler.STOP
    assert decision(asha, earlier_trials(0.1, 0.9), 2, 0.6) == TrialScheduler.CONTINUE
    assert decision(asha, [], 2, 0.4) == TrialScheduler.CONTINUE


def test_median_stopping_counts_trials_of_earlier_launches() -> None:
    median = parsed(scheduler={"kind": "median", "every": 2, "others": 2})
    assert decision(median, earlier_trials(0.5, 0.6, 0.7), 4, 0.1) == TrialScheduler.STOP
    assert decision(median, earlier_trials(0.5, 0.6, 0.7), 4, 0.8) == TrialScheduler.CONTINUE
    assert decision(median, [], 4, 0.1) == TrialScheduler.CONTINUE
