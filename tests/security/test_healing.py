"""Files of a finished run and campaign that are damaged: an answer or one clear error, and training goes on from what is whole.

This is a part; ``make bench NAME=healing`` tries every file with every kind of damage.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.healing import EVERY, KINDS, MORE, UPDATES, ask, build, damages, readers, train, try_readers, try_training
from tests.unmeasured import without_measures

SEED = 1
STATE, MANIFEST = "runs/mine/checkpoints/step-00000006/state.pt", "runs/mine/checkpoints/step-00000006/checkpoint.json"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("healing") / "whole"
    folder.mkdir()
    with without_measures():
        build(folder)
        yield folder


def test_commands_answer_where_nothing_is_damaged(root: Path) -> None:
    """Else the tests below would count an error of the test as one that is clear."""
    for file in ("runs/mine/run.json", "campaigns/tiny/campaign.json", "set/index.json"):
        for words in readers(root, file):
            answer = ask(*words)
            assert answer.went_on, answer.text


def test_every_damaged_file_gives_an_answer_or_one_clear_error(root: Path) -> None:
    tried = list(damages(root, SEED))
    by_file: dict[str, list[bytes]] = {}
    for file, _, content in tried:
        by_file.setdefault(file, []).append(content)
    assert len(by_file) > 20
    chance = random.Random(SEED)
    for file, contents in by_file.items():
        commands = readers(root, file)
        for answer in try_readers(root, file, chance.choice(contents), chance.sample(commands, min(len(commands), 2))):
            assert answer.clear, f"{file}: {' '.join(answer.words)}: {answer.text}"


@pytest.mark.parametrize(
    ("file", "kind", "lost"),
    [
        (STATE, "cut", EVERY),
        (MANIFEST, "zeroed", EVERY),
        ("runs/mine/checkpoints/step-00000002/state.pt", "binary", 0),
        ("runs/mine/run.json", "other JSON", 0),
        ("runs/mine/metrics.jsonl", "cut", 0),
        ("runs/mine/lease/00000001.json", "binary", 0),
    ],
)
def test_training_goes_on_from_what_is_whole(file: str, kind: str, lost: int, root: Path) -> None:
    content = KINDS[kind]((root / file).read_bytes(), random.Random(SEED))
    answer = try_training(root, file, content)
    assert answer.went_on, answer.text
    assert answer.begun_at == UPDATES - lost
    again = ask("runs", "list", "--json", "--storage", str(root.parent / "copy/runs"))
    assert again.went_on
    assert again.text.count('"damaged": []') == 2, "the launch has left its files whole"


def test_without_its_configuration_a_run_is_refused_with_what_to_do(root: Path) -> None:
    answer = try_training(root, "runs/mine/config.yaml", b"")
    assert answer.clear
    assert not answer.went_on
    assert "runs/mine/config.yaml: " in answer.text
    assert "move it away: then the run goes on with this command's configuration" in answer.text
    (root.parent / "copy/runs/mine/config.yaml").unlink()
    again = ask(*(word.replace(f"run.storage={root}", f"run.storage={root.parent}/copy") for word in train(root, MORE)))
    assert again.went_on, again.text
    assert again.begun_at == UPDATES
