"""Torn records of a run: what can be read is used, what cannot is named, and training leaves them whole."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.security.test_hostile_runs import run_in
from tests.trainers.test_loop import config_for, run
from tests.unmeasured import without_measures
from unbraid.cluster.cli import main
from unbraid.datasets.store import FolderStore
from unbraid.datasets.store import lease as lease_module
from unbraid.datasets.store.lease import HeldError, Lease, newest
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.events import read_events
from unbraid.trainers.runs.open import run_names
from unbraid.trainers.runs.record import read_run, scan_metrics

LINES = b'{"step": 1, "loss/d": 0.5}\n{"step": 2, "loss/d": 0.25}\n{"step": 3, "loss/d": 0.125}\n'


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """What models score is no matter here, and takes seconds for each run."""
    with without_measures():
        yield


@pytest.mark.parametrize(
    ("content", "steps", "damaged"),
    [
        (LINES, [1, 2, 3], []),
        (LINES[:-1], [1, 2, 3], []),
        (LINES[:-9], [1, 2], ["line 3"]),
        (LINES.replace(b"0.25}\n", b"0."), [1], ["line 2"]),
        (LINES.replace(b"0.25}", b"0.2"), [1, 3], ["line 2"]),
        (LINES + bytes(40), [1, 2, 3], ["line 4"]),
        (bytes(len(LINES)), [], ["line 1"]),
        (b"", [], []),
        (b"[]\n{}\n" + LINES, [1, 2, 3], ["line 1", "line 2"]),
    ],
)
def test_whole_lines_of_metrics_are_read_and_the_others_named(
    content: bytes, steps: list[int], damaged: list[str], tmp_path: Path
) -> None:
    store = FolderStore(tmp_path)
    store.put("metrics.jsonl", content)
    metrics = scan_metrics(store)
    assert [line["step"] for line in metrics.lines] == steps
    assert [message.split(":")[0] for message in metrics.damaged] == [f"{tmp_path}/metrics.jsonl, {line}" for line in damaged]


def test_training_goes_on_after_torn_metrics_and_a_torn_record(digits_url: str, tmp_path: Path) -> None:
    run(config_for(digits_url, tmp_path, "run.updates=4"))
    store = FolderStore(tmp_path / "run")
    torn = store.get("metrics.jsonl").splitlines(keepends=True)
    store.put("metrics.jsonl", torn[0][:-5] + b"\n" + b"".join(torn[1:]) + b'{"step": 4, "lo')
    store.put("run.json", store.get("run.json")[:-20])
    run(config_for(digits_url, tmp_path, "run.updates=6"))
    metrics = scan_metrics(store)
    assert metrics.damaged == ()
    assert [line["step"] for line in metrics.lines if "loss/d" in line] == [2, 3, 4, 5, 6]
    record = read_run(store)
    assert (record["status"], record["step"], record["starts"]) == ("finished", 6, 1)
    events = {event.kind: event.message for event in read_events(store)}
    assert "metrics.jsonl, line 1: " in events["metrics_damaged"]
    assert "(and 1 more)" in events["metrics_damaged"]
    assert "run.json: " in events["record_damaged"]
    assert [key for key in store.keys("set-aside/") if key.endswith("/run.json")]


def test_a_damaged_run_is_a_column_of_the_comparison_and_can_be_deleted(tmp_path: Path) -> None:
    for name in ("first", "second", "broken"):
        run_in(tmp_path, name)
    (tmp_path / "broken/config.yaml").write_bytes(b"")
    result = CliRunner().invoke(main, ["runs", "compare", "broken", "first", "second", "--storage", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1].split() == ["status", "unreadable", "claimed", "claimed"]
    assert "broken: " in result.stderr
    assert "config.yaml" in result.stderr
    result = CliRunner().invoke(main, ["runs", "compare", "brokn", "first", "--storage", str(tmp_path)])
    assert "no run 'brokn' in" in result.stderr and "(did you mean broken?); there are" in result.stderr
    result = CliRunner().invoke(main, ["runs", "delete", "broken", "--yes", "--storage", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert run_names(str(tmp_path)) == ["first", "second"]


def test_what_is_not_ours_is_passed_over(tmp_path: Path) -> None:
    run_in(tmp_path, "mine")
    store = FolderStore(tmp_path)
    for key in (".DS_Store", "mine/.DS_Store", "mine/checkpoints/.DS_Store", ".trash/run.json", "notes/deep/run.json", "x.tmp"):
        store.put(key, b"\0\0\0\1Bud1")
    checkpoints = Checkpoints(FolderStore(tmp_path / "mine"), 2)
    checkpoints.write(4, {"networks": {}})
    manifest = store.get("mine/checkpoints/step-00000004/checkpoint.json")
    for name in ("step-20 (copy)", "step-00000250.tmp", "step-00000004 (copy)", "00000250"):
        store.put(f"mine/checkpoints/{name}/checkpoint.json", manifest)
    store.put("mine/checkpoints/step-00000250/notes.txt", b"")
    assert run_names(str(tmp_path)) == ["mine"]
    assert checkpoints.steps() == [4]
    newest_one = checkpoints.newest()
    assert (newest_one.step, newest_one.damaged) == (4, ())
    result = CliRunner().invoke(main, ["runs", "list", "--json", "--storage", str(tmp_path)])
    assert [(run["name"], run["checkpoint"], run["damaged"]) for run in json.loads(result.stdout)] == [("mine", 4, [])]


def test_a_damaged_entry_of_a_lease_is_taken_over_unless_its_holder_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "RENEW_SECONDS", 0.2)
    store = FolderStore(tmp_path)
    said: list[str] = []
    with Lease.acquire(store, "busy"):
        (tmp_path / "lease/00000001.json").write_bytes(b'{"host": "a')
        with pytest.raises(HeldError):
            Lease.acquire(store, "busy", on_wait=said.append)
    assert newest(store)[1] is not None, "the holder has written its entry again"
    (tmp_path / "lease/00000001.json").write_bytes(b"")
    with Lease.acquire(store, "busy", on_wait=said.append) as lease:
        assert lease.generation == 2
    assert "the entry lease/00000001.json is damaged: waiting to see" in said[-1]
