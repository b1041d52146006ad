"""The table of a campaign."""

import io

import pytest

from tests.trainers.search.campaigns import configuration, parsed
from unbraid.trainers.search.report.table import LiveTable, campaign_table, sparkline, status_text


def test_the_table_shows_best_first_and_why_others_failed() -> None:
    shown = [configuration(0, 0.25), configuration(1, 0.75), configuration(2, 0.5, state="failed")]
    shown[2].trials[0].cause = "diverged: loss/d is not finite"
    text = campaign_table(parsed(), shown, 65.0)
    first, second, third = text.splitlines()[-3:]
    assert first.startswith("0001") and "0.7500" in first
    assert second.startswith("0000")
    assert "diverged" in third
    assert "3 of 4 trials over (2 finished, 1 failed), 0 running, 01:05, about 00:21 left" in text
    assert "best info/share so far ▁█ 0.75" in text


def test_a_long_table_is_cut_and_says_how_many_more_there_are() -> None:
    text = campaign_table(parsed(), [configuration(n, 0.1 * n) for n in range(5)], 1.0, rows=2)
    assert [line[:4] for line in text.splitlines()[-3:]] == ["0004", "0003", "… an"]
    assert text.endswith("… and 3 more")


def test_a_sparkline_rises_with_its_values() -> None:
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"
    assert sparkline([1.0, 1.0]) == "▁▁"


def test_a_live_table_that_is_not_on_a_terminal_is_printed_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    stream = io.StringIO()
    table = LiveTable(lambda: now - 1000, stream)
    printed = []
    for passed in (0.0, 10.0, 25.0):
        now += passed
        table(parsed(), [configuration(0, 0.1)])
        printed.append(stream.getvalue().count("tiny:"))
    table(parsed(), [configuration(0, 0.1)], last=True)
    assert [*printed, stream.getvalue().count("tiny:")] == [1, 1, 2, 3]


def test_a_status_has_its_message() -> None:
    assert status_text({"status": "failed", "message": "disk full"}) == "failed: disk full"
    assert status_text({}) == "not started"
