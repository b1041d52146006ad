"""Run folders by strangers: one hostile file is one row that says so, and never the end of a list, a lease or a machine."""

import io
import json
import os
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from tests.trainers.systems.infogan.test_system import TINY
from unbraid.cluster.cli import main
from unbraid.datasets.errors import DataError
from unbraid.datasets.store import FolderStore
from unbraid.datasets.store.lease import Lease, newest
from unbraid.datasets.threads import ThreadError
from unbraid.datasets.untrusted.folders import opened_folder, private_folder
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.errors import CheckpointError
from unbraid.trainers.runs.checkpoint import Checkpoints
from unbraid.trainers.runs.open import claim_run, delete_run, open_run
from unbraid.trainers.search.campaign.journal import Journal

ALIASES = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "run.json": [
        b"", b"[]", b"{", b"null", b"\xff\xfe", b"[" * 100_000, b'{"started": "yesterday"}', b'{"started": 1e308}',
        b'{"starts": -1}', b'{"status": {"a": 1}}', b'{"message": 7}', b'{"evaluation": [1]}', b'{"evaluation": {"a": "b"}}',
        b'{"starts": ' + b"9" * 5000 + b"}", b'{"started": NaN}', b" " * (5 << 20),
    ],
    "config.yaml": [
        b"", b"- a", b"{", b"\xff\xfe", ALIASES.encode(), b"[" * 5000, b"system: [infogan]", b"system: ../../etc",
        b"a: 2001-99-99", b"a: " + b"9" * 5000, b"!!python/object/apply:os.system [id]", b"x: " + b"y" * (1 << 20),
    ],
    "metrics.jsonl": [
        b"[]\n", b"{\n", b"\xff\n", b'{"loss": 1}\n', b'{"step": "a"}\n', b'{"step": 1, "speed/updates_per_second": []}\n',
    ],
    "lease/00000007.json": [b"", b"[]", b'{"host": "a"}', b"{" * 9000],
    "checkpoints/step-00000004/checkpoint.json": [
        b"", b"[]", b'{"step": "x"}', b'{"step": 1, "bytes": 1, "sha256": "../..", "time": 1}',
    ],
}  # fmt: skip


def run_in(storage: Path, name: str) -> Path:
    """A run that was claimed and never trained."""
    config = resolve("infogan-mnist", [*TINY, f"run.storage={storage}", f"run.name={name}"])
    claim_run(config, "test", {})
    return storage / name


@pytest.mark.parametrize(("file", "number"), [(file, n) for file, contents in HOSTILE.items() for n in range(len(contents))])
def test_a_hostile_run_is_one_row_of_the_list(file: str, number: int, tmp_path: Path) -> None:
    run_in(tmp_path, "honest")
    hostile = run_in(tmp_path, "hostile") / file
    hostile.parent.mkdir(parents=True, exist_ok=True)
    hostile.write_bytes(HOSTILE[file][number])
    started = time.monotonic()
    result = CliRunner().invoke(main, ["runs", "list", "--storage", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "honest" in result.stdout
    (row,) = [line for line in result.stdout.splitlines() if line.startswith("hostile")]
    assert ("unreadable" if file in ("run.json", "config.yaml") else "claimed, damaged") in row
    (named,) = [line for line in result.stderr.splitlines() if line.startswith("hostile: ")]
    assert file in named
    assert time.monotonic() - started < 5
    result = CliRunner().invoke(main, ["runs", "list", "--json", "--storage", str(tmp_path)])
    run = next(run for run in json.loads(result.stdout) if run["name"] == "hostile")
    assert file in (run["message"] if file == "config.yaml" else " ".join(run["damaged"]))
    result = CliRunner().invoke(main, ["runs", "show", "hostile", "--storage", str(tmp_path)])
    if file == "config.yaml":  # without it, it is not known what run it is
        assert result.exit_code == 1
        assert result.stderr.startswith("Error: ")
        assert "Traceback" not in result.stderr
    else:
        assert result.exit_code == 0, result.output
        assert any(file in line for line in result.stdout.splitlines() if line.startswith("damaged: "))


@pytest.mark.parametrize(
    "stray", ["lease/notes.txt", "lease/abc.json", "lease/00000001.json.bak", "lease/.DS_Store", "lease/9.stop"]
)
def test_a_stray_file_under_lease_neither_ends_nor_moves_a_lease(stray: str, tmp_path: Path) -> None:
    store = FolderStore(run_in(tmp_path, "run"))
    (store.root / "lease").mkdir()
    (store.root / stray).write_text("{}")
    with Lease.acquire(store, "busy") as lease:
        assert newest(store)[0] == lease.generation == 1
        lease._renewer.join(0.1)
        assert lease._renewer.is_alive()
    assert (store.root / stray).exists()


def test_a_renewer_that_cannot_go_on_ends_the_launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here by an error that nobody foresaw. The launch's workers are asked to stop, and the launch ends with that error."""
    from unbraid.datasets.store import lease as module

    store = FolderStore(run_in(tmp_path, "run"))
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.05)
    with pytest.raises(ThreadError, match="renew-lease has ended: ValueError: unforeseen"), Lease.acquire(store, "busy"):

        def broken(*_: object) -> None:
            raise ValueError("unforeseen")

        monkeypatch.setattr(module, "newest", broken)
        until = time.monotonic() + 5
        while not store.exists("lease/00000001.stop") and time.monotonic() < until:
            time.sleep(0.02)
    assert store.exists("lease/00000001.stop")


def test_a_compressed_checkpoint_is_not_loaded(tmp_path: Path) -> None:
    """Some kilobytes that torch would unpack to 40 MB."""
    store = FolderStore(run_in(tmp_path, "run"))
    checkpoints = Checkpoints(store, keep=1)
    checkpoints.write(1, {"networks": torch.zeros(1)})
    torch.serialization.set_crc32_options(True)
    plain, packed = io.BytesIO(), io.BytesIO()
    torch.save({"networks": torch.zeros(10_000_000)}, plain)
    with zipfile.ZipFile(plain) as whole, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as small:
        for member in whole.infolist():
            small.writestr(member.filename, whole.read(member))
    assert len(packed.getvalue()) < 100_000
    forge(store, packed.getvalue())
    with pytest.raises(CheckpointError, match="its parts are compressed"):
        checkpoints.load()


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + bytes(18), b"cos\nsystem\n(S'id'\ntR."])
def test_a_state_that_is_none_is_one_error(content: bytes, tmp_path: Path) -> None:
    store = FolderStore(run_in(tmp_path, "run"))
    Checkpoints(store, keep=1).write(1, {"networks": torch.zeros(1)})
    forge(store, content)
    with pytest.raises(CheckpointError, match=r"state\.pt: is not a checkpoint's state"):
        Checkpoints(store, keep=1).load()


def forge(store: FolderStore, content: bytes) -> None:
    """Exchange a state, and its manifest with it."""
    import hashlib

    folder = store.root / "checkpoints/step-00000001"
    (folder / "state.pt").write_bytes(content)
    manifest = json.loads((folder / "checkpoint.json").read_text())
    manifest |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "checkpoint.json").write_text(json.dumps(manifest))


def test_foreign_names_among_checkpoints_are_passed_over(tmp_path: Path) -> None:
    store = FolderStore(run_in(tmp_path, "run"))
    checkpoints = Checkpoints(store, keep=2)
    checkpoints.write(3, {"networks": torch.ones(1)})
    for name in ("step-20 (copy)", "step-00000099x", ".hidden", "step--0000001"):
        folder = tmp_path / "run/checkpoints" / name
        folder.mkdir()
        (folder / "checkpoint.json").write_text("{}")
    assert checkpoints.steps() == [3]
    assert checkpoints.load() is not None


def test_a_run_whose_folder_is_a_link_is_neither_read_nor_deleted(tmp_path: Path) -> None:
    elsewhere, storage = tmp_path / "elsewhere", tmp_path / "storage"
    run_in(elsewhere, "precious")
    storage.mkdir()
    (storage / "run").symlink_to(elsewhere / "precious")
    with pytest.raises(DataError, match="is a link"):
        open_run(str(storage), "run")
    result = CliRunner().invoke(main, ["runs", "delete", "run", "--yes", "--storage", str(storage)])
    assert result.exit_code == 1
    assert (elsewhere / "precious/run.json").exists()


def test_a_linked_folder_within_a_run_is_neither_written_nor_deleted(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "diary.json").write_text("mine")
    run = run_in(tmp_path / "storage", "run")
    (run / "events").symlink_to(elsewhere)
    store = FolderStore(run)
    with pytest.raises(DataError, match="is a link"):
        store.put("events/a.json", b"{}")
    delete_run(store)
    assert sorted(path.name for path in elsewhere.iterdir()) == ["diary.json"]


@pytest.mark.parametrize("name", ["../elsewhere", "/etc", "a/../../b", ""])
def test_the_name_of_a_run_does_not_lead_out_of_the_storage(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a relative path"):
        open_run(str(tmp_path), name)


@pytest.mark.parametrize("text", [ALIASES, "run: {updates: &a 3, preview_every: *a}"])
def test_aliases_in_a_configuration_are_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"system: infogan\n{text}")
    result = CliRunner().invoke(main, ["train", "--config", str(file), "--dry-run"])
    assert result.exit_code == 1
    assert "mine.yaml: not YAML (an alias (*a) is not read: write its value out)" in result.stderr


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/etc"), lambda path: path.write_text("")])
def test_a_folder_that_somebody_else_put_there_is_not_opened(make: Callable[[Path], object], tmp_path: Path) -> None:
    """A FIFO would hang whoever opens it; here that takes a thread of the test's."""
    path = tmp_path / "unbraid-scratch-1"
    make(path)
    errors: list[Exception] = []

    def use() -> None:
        for opened in (lambda: private_folder(path), lambda: opened_folder(path).__enter__()):
            try:
                opened()
            except (OSError, DataError) as error:
                errors.append(error)

    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    thread.join(3)
    assert len(errors) == 2


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("trials/0007-s0/trial.json", '{"number": 7, "seed": 0}', "no configurations/0007.json belongs to it"),
        ("trials/0000-s0/trial.json", '{"number": 7, "seed": 0}', "describes trial 0007-s0"),
        ("trials/0000-s0/trial.json", '{"number": -1, "seed": 0}', "describes trial"),
    ],
)
def test_a_campaign_that_contradicts_itself_is_read_without_that_and_named(
    file: str, content: str, message: str, tmp_path: Path
) -> None:
    store = FolderStore(tmp_path, create=True)
    store.put("configurations/0000.json", b'{"number": 0, "params": {}, "centrality": null, "given_up": false}')
    store.put("trials/0000-s0/trial.json", b'{"number": 0, "seed": 0, "state": "finished"}')
    before = Journal(store)
    (configuration,) = before.read()
    assert before.damaged == []
    store.put(file, content.encode())
    journal = Journal(store)
    (found,) = journal.read()
    assert (found.number, list(found.trials)) == (configuration.number, list(configuration.trials))
    (damaged,) = journal.damaged
    assert file.rpartition("/")[0] in damaged
    assert message in damaged
