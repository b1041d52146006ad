"""Cells and times of tables."""

import time

import pytest

from unbraid.cluster.commands.tables import EVENTS_SHOWN, clock_time, duration, event_lines
from unbraid.trainers.runs.events import Event


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (99.4, "99 s"), (100, "2 min"), (5999, "100 min"), (6000, "1.7 h"), (172_799, "48.0 h"), (172_800, "2.0 d")],
)
def test_a_duration_has_one_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_time_of_another_day_has_its_date() -> None:
    today = time.mktime((*time.localtime()[:3], 14, 3, 20, 0, 0, -1))
    assert clock_time(today) == "14:03:20"
    assert clock_time(today - 3 * 86_400).endswith(":20")
    assert len(clock_time(today - 3 * 86_400)) == len("2026-01-01 14:03:20")


def test_only_the_newest_events_are_shown_and_that_is_said() -> None:
    events = [Event(number, "start", f"number {number}") for number in range(EVENTS_SHOWN + 1)]
    assert event_lines([]) == []
    assert event_lines(events[:-1])[0] == "what happened:"
    heading, *lines = event_lines(events)
    assert heading == "what happened, the newest:"
    assert [line.rpartition(" ")[2] for line in lines] == [str(number) for number in range(1, EVENTS_SHOWN + 1)]
