"""``data``, ``train`` and ``doctor`` tell the same cause of a refusal; the servers that refuse are played."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from tests.datasets.store import played_s3 as played
from tests.datasets.store.played_s3 import Answer, Play, page
from unbraid.cluster.cli import main
from unbraid.cluster.doctor.findings import Answers, about_reads, about_storage
from unbraid.cluster.doctor.node_check import NodeCheck
from unbraid.cluster.local.services import FOLDER_VARIABLE
from unbraid.datasets.store import open_store, tidying

SET, RUNS = "s3://played/set", "s3://played/runs"
pytestmark = pytest.mark.usefixtures("unmeasured")
ANYWAY = [
    pytest.param(played.EXPIRED, "the credentials have expired (ExpiredToken)", id="expired"),
    pytest.param(played.SKEWED, "this machine's clock is wrong (RequestTimeTooSkewed", id="skewed"),
    pytest.param(played.OTHER_REGION, "is in region eu-west-1: set AWS_REGION=eu-west-1", id="region"),
    pytest.param(page(200), "the server answered, but not as S3 does (200, text/html)", id="page"),
]
READING = [*ANYWAY, pytest.param(played.UNREADABLE, "they may not read in bucket 'played'", id="unreadable")]
WRITING = [
    *ANYWAY,
    pytest.param(played.UNLISTABLE, "they may not list in bucket 'played'", id="unlistable"),
    pytest.param(played.READ_ONLY, "they may not write in bucket 'played'", id="read-only"),
    pytest.param(played.CEPH_QUOTA, "there is no space left for bucket 'played' (QuotaExceeded)", id="quota"),
]


@pytest.fixture(autouse=True)
def no_services(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))


def unbraid(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def answer_of(check: Callable[..., object], *arguments: object) -> Answers:
    """A node's answer to one question, as the doctor collects it."""
    try:
        answer = check(*arguments)
    except Exception as error:  # an error on a node is that node's answer
        answer = error
    return Answers({"node": {check.__name__: answer}})


def config(**places: str) -> Any:
    return SimpleNamespace(run=SimpleNamespace(storage=places.get("runs")), data=SimpleNamespace(url=places.get("set")))


@pytest.mark.parametrize(("answer", "cause"), READING)
def test_a_set_that_cannot_be_read_has_one_cause_for_all(
    play: Play,
    answer: Answer,
    cause: str,
    tmp_path: Path,
) -> None:
    play(answer)
    inspected = unbraid("data", "inspect", SET)
    trained = unbraid("train", "infogan-mnist", f"data.url={SET}", f"run.storage={tmp_path}", "--debug")
    for result in (inspected, trained):
        assert result.exit_code == 1
        assert result.stderr.startswith(f"Error: {SET}/index.json: ")
        assert cause in result.stderr
    finding = about_reads(config(set=SET), answer_of(NodeCheck().read, SET))
    assert finding.level == "fail"
    assert cause in finding.text
    assert "\n" not in finding.text


@pytest.mark.parametrize(("answer", "cause"), WRITING)
def test_a_place_that_cannot_be_written_has_one_cause_for_all(
    play: Play,
    answer: Answer,
    cause: str,
    digits_folder: Path,
    tmp_path: Path,
) -> None:
    server = play(answer)
    for number in range(4):
        Image.fromarray(np.full((8, 8), 60 * number, np.uint8)).save(tmp_path / f"{number}.png")
    packed = unbraid("data", "pack", "folder", str(tmp_path), SET)
    trained = unbraid("train", "infogan-mnist", f"data.url={digits_folder}", f"run.storage={RUNS}", "--debug")
    for result in (packed, trained):
        assert result.exit_code == 1, result.output
        assert cause in result.stderr
        assert "Traceback" not in result.output
    finding = about_storage(config(runs=RUNS), answer_of(NodeCheck().transfer, RUNS))
    assert finding.level == "fail"
    assert cause in finding.text
    assert server.objects == {}


def test_a_healthy_store_lacks_nothing(play: Play) -> None:
    server = play()
    finding = about_storage(config(runs=RUNS), answer_of(NodeCheck().transfer, RUNS))
    assert "lacks" not in json.dumps(finding.figures)
    assert "MB/s written" in finding.text
    assert server.objects == {}


def test_the_doctor_warns_of_what_a_run_can_do_without(play: Play) -> None:
    server = play(played.APPEND_ONLY)
    finding = about_storage(config(runs=RUNS), answer_of(NodeCheck().transfer, RUNS))
    assert (finding.level, "may not delete in bucket 'played'" in finding.text) == ("warn", True)
    server.answers[:] = [played.UNCONDITIONAL]
    finding = about_storage(config(runs=RUNS), answer_of(NodeCheck().transfer, RUNS))
    assert (finding.level, "no conditional writes" in finding.text) == ("warn", True)


def test_a_set_is_packed_where_nothing_can_be_deleted_or_written_under_conditions(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tidying, "_said", set())
    monkeypatch.setattr("unbraid.datasets.store.lease.ELECTION_SECONDS", 0.2)
    play(played.APPEND_ONLY, played.UNCONDITIONAL)
    for number in range(4):
        Image.fromarray(np.full((8, 8), 60 * number, np.uint8)).save(tmp_path / f"{number}.png")
    packed = unbraid("data", "pack", "folder", str(tmp_path), SET)
    assert packed.exit_code == 0, packed.output
    assert packed.output.count("no conditional writes") == 1
    assert ["may not delete" in record.getMessage() for record in caplog.records] == [True]
    assert unbraid("data", "inspect", SET).exit_code == 0
    again = unbraid("data", "pack", "folder", str(tmp_path), SET)
    assert again.exit_code == 0, again.output


def test_a_run_trains_to_its_end_where_nothing_can_be_deleted_or_written_under_conditions(
    play: Play,
    digits_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(tidying, "_said", set())
    monkeypatch.setattr("unbraid.datasets.store.lease.ELECTION_SECONDS", 0.2)
    play(played.APPEND_ONLY, played.UNCONDITIONAL)
    done = unbraid(
        "train", "infogan-mnist-small", f"data.url={digits_folder}", f"run.storage={RUNS}", "run.name=it", "--debug",
        "run.updates=4", "run.checkpoint_every=1", "data.batch=32", "run.keep_checkpoints=1",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert f"report: {RUNS}/it/" in done.output
    assert done.output.count("no conditional writes") == 1
    assert [record.getMessage().count("may not delete") for record in caplog.records if "delete" in record.getMessage()] == [1]
    kept = [key for key in open_store(f"{RUNS}/it").keys("checkpoints/") if key.endswith("checkpoint.json")]
    assert len(kept) > 1
