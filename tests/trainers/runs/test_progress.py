"""The progress line: rates, losses, time left, and retries or skipped samples only where there are any."""

import io

import pytest

from tests.security.test_terminal import Terminal
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.runs.progress import Progress, progress_text

LINE = {
    "step": 340,
    "speed/updates_per_second": 4.0,
    "speed/images_per_second": 512.0,
    "data/wait_percent": 3.0,
    "data/megabytes_per_second": 1.25,
    "loss/d": 0.61,
    "loss/g": 1.2,
    "info/categorical_0_nats": 2.1,
    "info/continuous_0_nats": -0.3,
}


def test_a_line_has_rates_losses_and_time_left() -> None:
    text = progress_text(LINE, 2500, ("info/categorical",))
    assert text == (
        "update 340/2500  left 09:00  4.00 updates/s  512 images/s  wait 3 %  1.2 MB/s  D 0.610  G 1.200  "
        "info/categorical_0_nats 2.10"
    )


@pytest.mark.parametrize("columns", [20, 40, 80, 300])
def test_a_line_that_rewrites_itself_fits_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal()
    Progress(resolve("infogan-mnist"), terminal)(LINE)
    shown = terminal.getvalue().rpartition("\x1b[2K")[2]
    assert 0 < len(shown) < columns
    assert shown.startswith("update 340/2500")
    assert ("left 09:00" in shown) == (columns >= 40)
    assert ("info/categorical_0_nats" in shown) == (columns == 300)


def test_retries_and_skipped_samples_are_printed_only_where_there_are_any() -> None:
    troubled = LINE | {"data/retries": 3.0, "data/skipped_samples": 0.0, "data/cache_hit_percent": 97.4}
    text = progress_text(troubled, 2500)
    assert "cache 97 %  3 retries  D 0.610" in text
    assert "skipped" not in text


def test_measures_are_shown_beside_their_ceilings() -> None:
    shown = io.StringIO()
    progress = Progress(resolve("infogan-mnist"), shown)
    progress(
        {"step": 10, "evaluation/info/c_nats": 2.29, "evaluation/info/c_ceiling_nats": 2.3026, "evaluation/code/accuracy": 0.9}
    )
    assert "info/c_nats 2.2900 of at most 2.3026" in shown.getvalue()
    assert "code/accuracy 0.9000" in shown.getvalue()
