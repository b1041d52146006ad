"""Folders and archives as people have them: links, hidden files, archives of other systems, damaged ones."""

import gzip
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.collection import HIDDEN, LINKS_OUT, UnusableSampleError
from unbraid.datasets.raw.files import open_files

FILES = {"cat/1.png": b"one", "cat/2.png": b"two", "dog/3.png": b"three"}


def folder(root: Path, files: dict[str, bytes] = FILES) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo("x")
            info.filename = name  # as written, whatever the separator
            archive.writestr(info, content)
    return path


def tarred(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_a_windows_archive_gives_the_files_of_the_folder(tmp_path: Path) -> None:
    members = {name.replace("/", "\\"): content for name, content in FILES.items()} | {"Thumbs.db": b"x", "cat\\": b""}
    files = open_files(zipped(tmp_path / "set.zip", members))
    assert {name: files.read(name) for name in files.names} == FILES
    assert files.left_out.counts == {HIDDEN: 1}


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_mac_archive_gives_the_files_of_the_folder(tmp_path: Path, pack: Callable[[Path, dict[str, bytes]], Path]) -> None:
    junk = {"__MACOSX/cat/._1.png": b"fork", "cat/._2.png": b"fork", ".DS_Store": b"x", "dog/.DS_Store": b"x"}
    files = open_files(pack(tmp_path / "set", FILES | junk))
    unpacked = open_files(folder(tmp_path / "unpacked", FILES | junk))
    assert files.names == unpacked.names == sorted(FILES)
    assert files.left_out.counts == {HIDDEN: 4}
    assert unpacked.left_out.counts == {HIDDEN: 4}  # a hidden folder counts once


def test_names_in_utf_8_are_read_though_the_zip_does_not_say_so(tmp_path: Path) -> None:
    zipped(tmp_path / "set.zip", {"Katze/größe.png": b"1"})
    raw = bytearray((tmp_path / "set.zip").read_bytes())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        flags = raw.index(signature) + at
        raw[flags + 1] &= ~0x08
    (tmp_path / "set.zip").write_bytes(raw)
    assert open_files(tmp_path / "set.zip").names == ["Katze/größe.png"]


def test_links_inside_are_followed_and_links_out_on_request_only(tmp_path: Path) -> None:
    root, outside = folder(tmp_path / "set"), folder(tmp_path / "outside", {"9.png": b"nine"})
    (root / "all").symlink_to(outside)
    (root / "dog/4.png").symlink_to("../cat/1.png")
    (root / "loop").symlink_to(root)
    (root / "gone.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(root / "pipe.png")
    files = open_files(root)
    assert files.names == sorted([*FILES, "dog/4.png"])
    assert files.read("dog/4.png") == b"one"
    assert files.left_out.counts == {
        LINKS_OUT: 1,
        "links that lead nowhere": 1,
        "links to a folder that they lie in": 1,
        "entries that are neither files nor folders": 1,
    }
    assert "all/9.png" in open_files(root, follow_links=True).names


def test_links_of_a_tar_lead_to_its_own_files_only(tmp_path: Path) -> None:
    tarred(tmp_path / "set.tar", FILES)
    with tarfile.open(tmp_path / "set.tar", "a") as archive:
        for name, target, kind in (
            ("dog/hard.png", "cat/1.png", tarfile.LNKTYPE),
            ("dog/soft.png", "../cat/2.png", tarfile.SYMTYPE),
            ("dog/twice.png", "soft.png", tarfile.SYMTYPE),
            ("dog/out.png", "../../etc/passwd", tarfile.SYMTYPE),
            ("dog/circle.png", "circle.png", tarfile.SYMTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    files = open_files(tmp_path / "set.tar")
    assert {name: files.read(name) for name in files.names if name.startswith("dog/") and name != "dog/3.png"} == {
        "dog/hard.png": b"one",
        "dog/soft.png": b"two",
        "dog/twice.png": b"two",
    }
    assert files.left_out.counts == {"links that lead to no file of the archive": 2}


def test_a_link_in_a_zip_is_followed_inside(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("cat/1.png", b"one")
        info = zipfile.ZipInfo("dog/1.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "../cat/1.png")
    assert open_files(tmp_path / "set.zip").read("dog/1.png") == b"one"


def locked(path: Path) -> None:
    zipped(path, FILES)
    raw = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := raw.find(signature, place + 1)) >= 0:
            raw[place + at] |= 1
    path.write_bytes(raw)


def unknown_compression(path: Path) -> None:
    zipped(path, FILES)
    raw = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        place = -1
        while (place := raw.find(signature, place + 1)) >= 0:
            raw[place + at] = 97
    path.write_bytes(raw)


def wrong_sum(path: Path) -> None:
    zipped(path, FILES)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"one", b"0ne", 1))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (locked, "cat/1.png: is locked by a password; unpack the archive"),
        (unknown_compression, "cat/1.png: .*compression.*; unpack the archive"),
        (wrong_sum, "cat/1.png: cannot be read .*CRC.*fetch the archive again"),
    ],
)
def test_a_member_that_cannot_be_read_is_one_unusable_sample(
    tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(tmp_path / "set.zip")
    with pytest.raises(UnusableSampleError, match=message):
        open_files(tmp_path / "set.zip").read("cat/1.png")


def cut(content: bytes, share: float) -> bytes:
    return content[: int(len(content) * share)]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_an_archive_that_is_cut_off_is_one_error(tmp_path: Path, kind: str, share: float) -> None:
    big = {f"{i}.png": os.urandom(3000) for i in range(20)}
    path = tmp_path / f"set.{kind}"
    if kind == "zip":
        zipped(path, big)
    else:
        tarred(path, big, f"w:{kind.partition('.')[2]}" if "." in kind else "w")
    path.write_bytes(cut(path.read_bytes(), share if kind != "tar" else share * 0.85))
    with pytest.raises(DataError, match=rf"set\.{kind}: .*(cut off|damaged)"):
        open_files(path)


def test_a_tar_that_is_cut_between_two_members_is_noticed(tmp_path: Path) -> None:
    path = tarred(tmp_path / "set.tar", FILES)
    path.write_bytes(path.read_bytes()[: 4 * 512])  # two whole members of a header and a block each
    with pytest.raises(DataError, match="has no end mark after 2,048 bytes: it is cut off"):
        open_files(path)


def test_tars_that_were_joined_are_refused(tmp_path: Path) -> None:
    path = tarred(tmp_path / "set.tar", FILES)
    path.write_bytes(path.read_bytes() + tarred(tmp_path / "more.tar", {"more/4.png": b"four"}).read_bytes())
    with pytest.raises(DataError, match="goes on after its end mark, as tars that were joined do; unpack it"):
        open_files(path)


def test_members_that_lead_out_of_an_archive_are_left_out(tmp_path: Path) -> None:
    for pack in (zipped, tarred):
        files = open_files(pack(tmp_path / "set", FILES | {"../../up.png": b"x"}))
        assert files.names == sorted(FILES)
        assert files.left_out.counts == {"members whose names lead out of the archive": 1}


def test_a_compressed_file_that_is_no_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.gz").write_bytes(gzip.compress(b"text" * 1000))
    with pytest.raises(DataError, match=r"neither a folder nor a zip nor a tar \(damaged"):
        open_files(tmp_path / "set.gz")


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
        (b"7z\xbc\xaf\x27\x1c", "an archive of 7-Zip"),
        (b"Rar!\x1a\x07", "a RAR archive"),
    ],
)
def test_archives_of_other_formats_are_named(tmp_path: Path, start: bytes, what: str) -> None:
    (tmp_path / "set").write_bytes(start + bytes(1000))
    with pytest.raises(DataError, match=f"but {what}: unpack it, and pack the folder"):
        open_files(tmp_path / "set")
