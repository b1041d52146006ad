"""Whoever may write to the folder for temporary files can plant names there, and gets nowhere with it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.security.stranger import NOBODY, ROOT, as_stranger, needs_root
from unbraid.cluster.local import seaweedfs
from unbraid.cluster.local.services import LocalServices
from unbraid.datasets.errors import DataError
from unbraid.datasets.untrusted.folders import own_temporary_folder
from unbraid.trainers.launch.ray_internals import LONGEST_FOLDER, connection_options, ray_folder
from unbraid.trainers.runs.scratch import scratch_folder

SCRATCH = "from unbraid.trainers.runs.scratch import scratch_folder\nwith scratch_folder() as folder:\n    print(folder)\n"


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files, as /tmp is: everybody may write there."""
    temporary = Path(tempfile.gettempdir())
    for folder in (tmp_path, *tmp_path.parents):
        if folder == temporary or not folder.is_relative_to(temporary):
            break
        folder.chmod(0o755)
    made = tmp_path / "shared"
    made.mkdir()
    made.chmod(0o1777)
    monkeypatch.setattr("tempfile.tempdir", str(made))
    return made


def fifo(path: Path) -> None:
    os.mkfifo(path)


def file(path: Path) -> None:
    path.write_text("")


def link(path: Path) -> None:
    path.symlink_to("/")


def open_folder(path: Path) -> None:
    path.mkdir(mode=0o777)
    path.chmod(0o777)


USES: dict[str, Callable[[], object]] = {
    "checkpoints": lambda: scratch_folder().__enter__(),
    "a cluster of this process": lambda: connection_options(None),
    "the local services": lambda: LocalServices(Path("services")).ray_folder(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize(
    ("plant", "message"),
    [(fifo, "is no folder"), (file, "is no folder"), (link, "is a link"), (open_folder, "others can enter it")],
)
def test_a_planted_name_is_refused_by_what_it_is(
    plant: Callable[[Path], None], message: str, use: Callable[[], object], shared: Path
) -> None:
    plant(shared / f"unbraid-{os.getuid()}")
    with pytest.raises(DataError, match=message):
        use()


@needs_root
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_folder_that_a_stranger_made_first_is_refused(use: Callable[[], object], shared: Path) -> None:
    as_stranger("os.mkdir(given, 0o700); print(1)", str(shared / f"unbraid-{os.getuid()}"))
    with pytest.raises(DataError, match=f"belongs to user {NOBODY}, not to you .* set TMPDIR"):
        use()


@needs_root
def test_a_stranger_cannot_enter_the_private_folder(shared: Path) -> None:
    private = own_temporary_folder()
    with scratch_folder() as folder:
        assert folder.parent == private
        script = """
try:
    print(json.dumps(os.listdir(given)))
except PermissionError:
    print(json.dumps("refused"))
"""
        assert as_stranger(script, str(private)) == "refused"
        assert as_stranger(script, str(folder)) == "refused"


@needs_root
def test_no_fifo_of_a_strangers_holds_a_checkpoint_up(shared: Path) -> None:
    as_stranger("os.mkfifo(given); os.utime(given, (0, 0)); print(1)", str(shared / "unbraid-scratch-planted"))
    done = subprocess.run(
        [sys.executable, "-c", SCRATCH], cwd=ROOT, env=os.environ | {"TMPDIR": str(shared)}, capture_output=True, timeout=20,
        check=True,
    )  # fmt: skip
    assert done.stdout


def test_what_is_no_folder_is_passed_over_and_a_link_is_not_followed(shared: Path, tmp_path: Path) -> None:
    """Even in the private folder, say after an attack on an earlier version."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("")
    private = own_temporary_folder()
    os.mkfifo(private / "unbraid-scratch-fifo")
    (private / "unbraid-scratch-link").symlink_to(kept)
    for path in (*private.iterdir(), kept):
        os.utime(path, (0, 0), follow_symlinks=False)
    with scratch_folder():
        assert (kept / "file").exists()
        assert (private / "unbraid-scratch-fifo").is_fifo()


def test_ports_whose_sockets_somebody_has_planted_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seaweedfs, "_SOCKETS", tmp_path)
    offered = iter([[1000, 1001, 1002, 1003, 1004], [2000, 2001, 2002, 2003, 2004]])
    monkeypatch.setattr(seaweedfs, "free_ports", lambda count: next(offered))
    (tmp_path / "seaweedfs-filer-grpc-11003.sock").symlink_to("nowhere")
    assert seaweedfs.server_ports(0)[0] == 2000


def test_the_folder_of_ray_is_short_enough_for_its_sockets(shared: Path) -> None:
    assert len(str(shared)) > LONGEST_FOLDER - 20
    folder = ray_folder("ray-01234567")
    assert len(str(folder)) <= LONGEST_FOLDER
    assert folder.parent.stat().st_mode & 0o777 == 0o700
