"""Reports of trials, on their way through Ray Tune."""

import pytest

from unbraid.trainers.search.trials.reports import Report

REPORTS = [
    Report(updates=8, scores={"info/share": 0.5}, seconds=3.0),
    Report(updates=8, scores={}, outcome="finished"),
    Report(outcome="failed", cause="diverged: loss/d", seconds=1.0),
    Report(outcome="compared", centrality={0: 0.5, 1: 0.75}),
    Report(shared_trouble="disk full"),
    Report(),
]


@pytest.mark.parametrize("report", REPORTS)
def test_a_report_is_the_same_after_tune_has_added_its_keys(report: Report) -> None:
    result = report.as_result()
    assert not any(isinstance(value, dict) for value in result.values())  # Tune flattens these
    assert Report.of_result(result | {"done": True, "trial_id": "a", "time_total_s": 2.0}) == report


def test_a_trial_that_never_reported_has_an_empty_report() -> None:
    assert Report.of_result(None) == Report()


def test_a_report_with_an_outcome_or_trouble_is_a_trials_last() -> None:
    assert [report.is_last for report in REPORTS] == [False, True, True, True, True, False]
