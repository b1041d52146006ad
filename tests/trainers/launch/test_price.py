"""The price of training: what a run on that card has reached decides, else an assumption that is named as such."""

import json
from pathlib import Path

import pytest

from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.launch.price import PEAK_TFLOPS, Speed, cost_text, speed_of, update_flops
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import write_config, write_run

PRESET = "infogan-mnist-small"
CARD = "NVIDIA H100 80GB HBM3"


def run_of(
    storage: Path, name: str, device: str, rate: float, started: float, preset: str = PRESET, overrides: tuple[str, ...] = ()
) -> None:
    """What a run leaves behind that was trained there."""
    store = open_run(str(storage), name, create=True)
    write_config(store, resolve(preset, overrides))
    write_run(store, {"status": "finished", "device": device, "started": started})
    line = {"step": 9, "time": 1.0, "speed/updates_per_second": rate, "speed/images_per_second": 64 * rate}
    store.put("metrics.jsonl", json.dumps(line).encode() + b"\n")


def test_the_newest_run_of_the_system_on_the_card_decides(tmp_path: Path) -> None:
    one = ("run.workers=1",)
    run_of(tmp_path, "old", CARD, 10.0, 1.0, overrides=one)
    run_of(tmp_path, "new", CARD, 40.0, 2.0, overrides=one)
    run_of(tmp_path, "elsewhere", "Tesla T4", 5.0, 3.0)
    run_of(tmp_path, "other-system", CARD, 5.0, 3.0, "cdd-mnist-cdcb-small")
    speed = speed_of("h100", "infogan", [str(tmp_path), str(tmp_path / "nothing")])
    flops = update_flops(resolve(PRESET))
    assert flops is not None
    assert speed.flops == 40 * flops
    assert "as run new reached" in speed.source
    assert speed.hours(40 * flops * 3600) == 1.0
    assert "elsewhere" in speed_of("t4", "infogan", [str(tmp_path)]).source


def test_a_cards_speed_is_its_share_of_what_all_workers_reach_together(tmp_path: Path) -> None:
    """An update is of the global batch, however many workers make it, and a worker may have a part of a card."""
    flops = update_flops(resolve(PRESET))
    assert flops is not None
    assert update_flops(resolve(PRESET, ["run.workers=4"])) == flops
    run_of(tmp_path, "four", CARD, 40.0, 1.0, overrides=("run.workers=4", "run.gpus=1"))
    assert speed_of("h100", "infogan", [str(tmp_path)]).flops == 10 * flops
    run_of(tmp_path, "quarter", CARD, 40.0, 2.0, overrides=("run.workers=1", "run.gpus=0.25"))
    assert speed_of("h100", "infogan", [str(tmp_path)]).flops == 160 * flops


def test_a_damaged_run_is_passed_over(tmp_path: Path) -> None:
    run_of(tmp_path, "whole", CARD, 10.0, 1.0)
    run_of(tmp_path, "torn", CARD, 10.0, 2.0)
    (tmp_path / "torn/config.yaml").write_bytes(b"\xff")
    assert "run whole" in speed_of("H100", "infogan", [str(tmp_path)]).source


def test_without_a_run_a_share_of_the_peak_is_assumed_and_said(tmp_path: Path) -> None:
    speed = speed_of("a100", "infogan", [str(tmp_path)])
    assert speed.flops == 0.05 * PEAK_TFLOPS["a100"] * 1e12
    assert "assumed: 5% of its peak, no run on it was found" in speed.source
    with pytest.raises(ConfigError, match="--gpu rtx1: no run was trained on such a card; known without one are t4"):
        speed_of("rtx1", "infogan", [str(tmp_path)])


def test_money_is_hours_times_their_price() -> None:
    speed = Speed(1e12, "somewhere")
    assert cost_text(7.2e15, speed, "h100", 2.5) == "2.00 h100 hours, 5.00 at 2.5 an hour: somewhere"
    assert cost_text(7.2e15, speed, "h100", None) == "2.00 h100 hours: somewhere"
