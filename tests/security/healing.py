"""A small finished run, a campaign and a set; every file of them damaged, one at a time; the commands that read it.

``test_healing.py`` tries a part of this, ``benchmarks/healing.py`` all of it.
"""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from tests.conftest import pack_digits
from tests.trainers.search.campaigns import METRIC, campaign
from tests.trainers.systems.infogan.test_system import TINY
from unbraid.cluster.cli import main
from unbraid.datasets.store import open_store
from unbraid.trainers.runs.record import write_config
from unbraid.trainers.search.campaign.history import Configuration, Trial
from unbraid.trainers.search.campaign.journal import Journal

UPDATES, EVERY, MORE = 6, 2, 8
"""Updates of the finished run, between its checkpoints, and of the command that goes on with it."""
KINDS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "cut": lambda content, chance: content[: chance.randrange(len(content) or 1)],
    "zeroed": lambda content, chance: bytes(len(content)),
    "other JSON": lambda content, chance: chance.choice([b"[]\n", b'{"a": [1, {"b": null}]}\n', b"null", b'"text"', b"-1e9"]),
    "binary": lambda content, chance: chance.randbytes(200),
}
NOT_READ = ("runs/mine/tensorboard/", "runs/mine/preview/", "runs/mine/figures/", "runs/mine/report.png")
"""Pictures for people: no command reads them, so that one kind of damage will do."""
_RESUMED = re.compile(r"resumed: from update (\d+)")


@dataclass(frozen=True)
class Answer:
    """What a command gave.

    Attributes:
        words: of the command.
        clear: whether that was an answer, or one clear error; anything else is a traceback.
        went_on: whether it succeeded.
        text: standard output and error.
    """

    words: tuple[str, ...]
    clear: bool
    went_on: bool
    text: str

    @property
    def begun_at(self) -> int:
        """The update from which training went on; 0 where it began again."""
        found = _RESUMED.search(self.text)
        return int(found[1]) if found else 0


def ask(*words: str) -> Answer:
    """Run a command in this process."""
    result = CliRunner().invoke(main, list(words))
    clear = result.exit_code == 0 or (
        isinstance(result.exception, SystemExit) and len(re.findall("^Error: .", result.stderr, re.MULTILINE)) == 1
    )
    text = result.output if clear else f"{result.output}\n{result.exception!r}"
    return Answer(words, clear, result.exit_code == 0, text)


def build(root: Path) -> None:
    """Make a set, a run of :data:`UPDATES` and a copy of it, and a campaign of two such runs."""
    pack_digits(open_store(str(root / "set"), create=True))
    trained = ask(*train(root, UPDATES))
    assert trained.went_on, trained.text
    shutil.copytree(root / "runs/mine", root / "runs/other")
    planned = campaign(str(root / "set"), root / "campaigns")
    journal = Journal.claim(planned, "test")
    for number in range(2):
        params = {"loss.info_categorical": 1.0 + number, "optim.lr_generator": 1e-3}
        trial = Trial(number, 0, "finished", "", 8, [(8, {METRIC: 0.5 + number})], 2.0)
        journal.write_configuration(Configuration(number, params))
        journal.write_trial(trial)
        shutil.copytree(root / "runs/mine", root / f"campaigns/tiny/trials/{trial.name}", dirs_exist_ok=True)
        write_config(journal.trial_store(trial.name), planned.trial_config(params, 0, trial.name))
    journal.set_status(status="finished", seconds=4.0)


def train(root: Path, updates: int) -> list[str]:
    """The command that trains the run to so many updates."""
    run = ["run.name=mine", f"run.storage={root}/runs", f"run.updates={updates}", f"run.checkpoint_every={EVERY}"]
    run += ["run.keep_checkpoints=5", "run.log_every=1", "run.preview_every=0", f"data.url={root}/set"]
    return ["train", "infogan-mnist", *TINY, *run, "--debug"]


def files(root: Path) -> list[str]:
    """Every file of the run, of the campaign and of the set that is read; trials' own are those of a run."""
    found = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file()]
    of_trials = ("trial.json", "config.yaml", "run.json", "metrics.jsonl")
    return [
        file
        for file in found
        if not file.startswith(("runs/other/", "campaigns/tiny/tensorboard/", "campaigns/tiny/report."))
        and ("/trials/" not in file or ("0001-s0" in file and file.endswith(of_trials)))
        and (not file.startswith("set/") or "00000" in file or file.endswith("index.json"))
    ]


def damages(root: Path, seed: int) -> Iterator[tuple[str, str, bytes]]:
    """Each file with each kind of damage: file, kind, content."""
    for file in files(root):
        for kind, damage in list(KINDS.items())[: 1 if file.startswith(NOT_READ) else None]:
            yield file, kind, damage((root / file).read_bytes(), random.Random(f"{seed}/{file}/{kind}"))


def readers(root: Path, file: str) -> list[list[str]]:
    """The commands that only read, and may read this file."""
    runs, campaigns, output = f"{root}/runs", f"{root}/campaigns", f"{root}/drawn"
    if file.startswith("set/"):
        return [["data", "inspect", f"{root}/set"]]
    if file.startswith("campaigns/"):
        commands = [["status", "tiny"], ["report", "tiny"], ["export", "tiny", "--force", "-o", f"{output}.yaml"]]
        return [["tune", *words, "--storage", campaigns] for words in commands]
    if file.startswith(NOT_READ):
        return [["runs", "list", "--storage", runs], ["runs", "show", "mine", "--storage", runs]]
    return [
        ["runs", "list", "--storage", runs],
        ["runs", "list", "--json", "--storage", runs],
        ["runs", "show", "mine", "--storage", runs],
        ["runs", "show", "mine", "--json", "--storage", runs],
        ["runs", "compare", "mine", "other", "--storage", runs],
        ["runs", "compare", "other", "mine", "--storage", runs],
        ["eval", "mine", "--storage", runs],
        ["generate", "infogan", "information", "mine", "--storage", runs, "--output", f"{output}.png"],
        ["generate", "infogan", "traverse", "mine", "--rows", "1", "--storage", runs, "--output", f"{output}.png"],
    ]


def is_trained_from(file: str) -> bool:
    """Whether a launch that goes on with the run reads this file, or would have to pass it over."""
    return file.startswith(("runs/mine/", "set/")) and not file.startswith(NOT_READ)


def try_readers(root: Path, file: str, content: bytes, commands: Sequence[Sequence[str]]) -> list[Answer]:
    """Damage a file, run commands that may read it, and restore the file."""
    whole = (root / file).read_bytes()
    (root / file).write_bytes(content)
    try:
        return [ask(*words) for words in commands]
    finally:
        (root / file).write_bytes(whole)


def try_training(root: Path, file: str, content: bytes) -> Answer:
    """Go on with a copy of the run in which a file is damaged, or on the set where one is; what was damaged is restored."""
    folder = root.parent / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root / "runs", folder / "runs")
    damaged = (root if file.startswith("set/") else folder) / file
    whole = damaged.read_bytes()
    damaged.write_bytes(content)
    try:
        return ask(*(word.replace(f"run.storage={root}", f"run.storage={folder}") for word in train(root, MORE)))
    finally:
        damaged.write_bytes(whole)
