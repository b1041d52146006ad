"""What persons ask of a campaign by commands: done here where no driver runs it, and refused with one error."""

import threading
import time
from pathlib import Path

import pytest

from tests.cluster.commands.test_tune import refused, started, unbraid
from unbraid.datasets.store.lease import Lease
from unbraid.trainers.search.campaign.journal import Journal
from unbraid.trainers.search.campaign.requests import Answer, Inbox

__all__ = ["started"]  # a fixture


def on_tiny(command: str, folder: Path, *words: str) -> tuple[str, ...]:
    return ("tune", command, "tiny", *words, "--storage", str(folder / "campaigns"))


def test_without_a_driver_a_command_does_it_and_says_how_to_go_on(started: str, tmp_path: Path) -> None:
    result = unbraid(*on_tiny("change", tmp_path, "loss.info_categorical=log(0.1,1)", "budget.trials=9"))
    assert result.exit_code == 0, result.output
    assert "loss.info_categorical log_uniform 0.1 to 10 → log_uniform 0.1 to 1; budget trials 4 → trials 9" in result.output
    assert "1 of 2 configurations lie outside of the space now" in result.output
    assert "nobody runs this campaign: `unbraid tune --resume tiny` goes on with it" in result.output
    for command, word in (("repeat", "0001-s0"), ("pin", "0000"), ("unpin", "0000"), ("enqueue", "loss.info_categorical=0.9")):
        result = unbraid(*on_tiny(command, tmp_path, word))
        assert result.exit_code == 0, result.output
    result = unbraid("tune", "status", "tiny", "--storage", str(tmp_path / "campaigns"))
    assert "outside" in result.output
    assert "enqueue loss.info_categorical=0.9" in result.output
    assert "0002" in result.output
    trials = [t for c in Journal.open(str(tmp_path / "campaigns"), "tiny").read() for t in c.trials.values()]
    assert [trial.state for trial in trials] == ["finished", "waiting", "waiting"]


@pytest.mark.parametrize(
    ("command", "word", "message"),
    [
        ("change", "loss.info_categorical=log(5,1)", "the first must be less than the second"),
        ("change", "loss.info_categoricel=log(1,5)", "loss.info_categorical"),
        ("enqueue", "loss.info_categorical=99", "lies outside of the space"),
        ("enqueue", "nowhere", "expected values, `preset`, or the folder or URL of a run or a campaign"),
        ("stop", "0000-s0", "is finished already"),
        ("repeat", "0009", "has 2 configurations"),
        ("pin", "best", "expected a trial such as 0007-s1"),
    ],
)
def test_what_cannot_be_done_is_one_error_and_leaves_nothing(
    command: str, word: str, message: str, started: str, tmp_path: Path
) -> None:
    refused(unbraid(*on_tiny(command, tmp_path, word)), message)
    journal = Journal.open(str(tmp_path / "campaigns"), "tiny")
    assert Inbox(journal.store).waiting() == {}
    assert journal.campaign().revision == 0


def test_a_driver_that_runs_the_campaign_is_asked_and_its_answer_printed(started: str, tmp_path: Path) -> None:
    store = Journal.open(str(tmp_path / "campaigns"), "tiny").store
    inbox, stop = Inbox(store), threading.Event()

    def driver() -> None:
        while not stop.wait(0.2):
            for name, request in inbox.waiting().items():
                inbox.answer(name, Answer(request, "as you wish"))

    with Lease.acquire(store, "busy"):
        thread = threading.Thread(target=driver)
        thread.start()
        time.sleep(0.1)
        result = unbraid(*on_tiny("pin", tmp_path, "0000"))
        stop.set()
        thread.join()
    assert result.exit_code == 0, result.output
    assert "as you wish" in result.output
    assert (
        not Journal.open(str(tmp_path / "campaigns"), "tiny").read()[0].trials[0].pinned
    )  # which the driver would have written
