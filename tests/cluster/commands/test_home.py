"""Runs that come home: ``runs pull``, ``runs open`` and ``board``, from a folder and from S3."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner, Result

import unbraid as api
from unbraid.cluster.cli import main
from unbraid.datasets.store import FolderStore, open_store


def unbraid(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def bucket_run(trained_infogan: Path, bucket_url: str) -> str:
    """The run of InfoGAN in a bucket, with what lies beside a run: an older checkpoint and a lease."""
    source, target = FolderStore(trained_infogan / "info"), open_store(f"{bucket_url}/runs/info", create=True)
    for key in source.sizes():
        target.put(key, source.get(key))
    target.put("checkpoints/step-00000002/state.pt", b"older")
    target.put("lease/00000009.json", b"{}")
    return f"{bucket_url}/runs/info"


def test_a_run_comes_home_once_and_is_a_run_there(bucket_run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = unbraid("runs", "pull", bucket_run)
    assert done.exit_code == 0, done.output
    names = {path.relative_to(tmp_path / "info").as_posix() for path in (tmp_path / "info").rglob("*") if path.is_file()}
    assert {"config.yaml", "run.json", "metrics.jsonl", "report.png", "checkpoints/step-00000006/state.pt"} <= names
    assert not {name for name in names if name.startswith(("lease/", "checkpoints/step-00000002/"))}
    home, away = api.open("./info").model("cpu"), api.open(bucket_run).model("cpu")
    assert home.origin.updates == away.origin.updates == 6
    assert len(api.open("./info").metrics()) == 6
    assert "report.png" in api.open("./info").pictures()
    again = unbraid("runs", "pull", bucket_run)
    assert "4 objects" in again.output, "those of the record, which change"
    (tmp_path / "info" / "config.yaml").write_text("system: cdd")
    refused = unbraid("runs", "pull", bucket_run)
    assert refused.exit_code == 1
    assert "info: holds another run" in refused.output


def test_parts_of_a_run_come_alone(bucket_run: str, tmp_path: Path) -> None:
    done = unbraid("runs", "pull", bucket_run, str(tmp_path / "part"), "--only", "report,metrics")
    assert done.exit_code == 0, done.output
    names = {path.relative_to(tmp_path / "part").as_posix() for path in (tmp_path / "part").rglob("*") if path.is_file()}
    assert names >= {"config.yaml", "run.json", "metrics.jsonl", "report.png"}
    assert not {name for name in names if name.startswith(("checkpoints", "preview", "tensorboard"))}
    wrong = unbraid("runs", "pull", bucket_run, str(tmp_path / "part"), "--only", "raport")
    assert wrong.exit_code == 1
    assert "--only raport: no part of a run" in wrong.output
    assert "did you mean report" in wrong.output.lower() or "report" in wrong.output


def test_a_report_is_opened_wherever_it_lies(bucket_run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("click.launch", opened.append)
    done = unbraid("runs", "open", bucket_run)
    assert done.exit_code == 0, done.output
    assert Path(opened[0]).read_bytes() == open_store(bucket_run).get("report.html"), "it is drawn where there is none"
    assert opened[0] in done.output


def test_tensorboard_serves_the_runs_of_a_bucket(bucket_run: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    storage = bucket_run.rpartition("/")[0]
    command = [sys.executable, "-m", "unbraid.cluster.cli", "board", storage, "--port", "0"]
    process = subprocess.Popen(
        command, env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        address, until = "", time.monotonic() + 60
        while not address and time.monotonic() < until:
            line = process.stdout.readline()
            address = next((word for word in line.split() if word.startswith("http://")), "")
        runs, until = b"", time.monotonic() + 60
        while b"info" not in runs and time.monotonic() < until:
            with urllib.request.urlopen(f"{address}data/runs") as answer:
                runs = answer.read()
            time.sleep(0.5)
        assert b"info" in runs
    finally:
        (server,) = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        assert not server.is_running()


def test_a_board_without_runs_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = unbraid("board", str(tmp_path / "empty"))
    assert done.exit_code == 1
    assert "holds no run" in done.output
