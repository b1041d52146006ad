"""Walking through a tar: the members that tarfile finds, in every format, in pieces of any size; damaged tars are errors."""

import gzip
import io
import tarfile
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unbraid.datasets.shards.walk import TarError, TarSample, split_name, walk

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
Members = list[tuple[str, bytes]]


def tar_of(members: Members, kind: int = tarfile.PAX_FORMAT, folders: bool = False) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for name, content in members:
            if folders:
                entry = tarfile.TarInfo(name.rpartition("/")[0] or "top")
                entry.type = tarfile.DIRTYPE
                archive.addfile(entry)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    return (content[i : i + size] for i in range(0, len(content), size))


def contents(samples: Iterator[TarSample]) -> dict[str, dict[str, bytes]]:
    return {sample.key: {name: bytes(sample.member(name)) for name in sample.members} for sample in samples}


names = st.text(st.sampled_from("abcäß猫 -_"), min_size=1, max_size=80)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.lists(names, max_size=3).map(tuple), names),
        st.dictionaries(st.sampled_from(["jpg", "cls", "seg.png", "json"]), st.binary(max_size=1500), min_size=1),
        max_size=6,
    ),
    st.sampled_from(FORMATS[1:]),
    st.integers(1, 5000),
    st.booleans(),
)
def test_the_samples_are_those_that_were_written(
    samples: dict[tuple[tuple[str, ...], str], dict[str, bytes]], kind: int, size: int, folders: bool
) -> None:
    members = [
        ("/".join([*path, key]) + "." + extension, content)
        for (path, key), of_sample in samples.items()
        for extension, content in of_sample.items()
    ]
    tar = tar_of(members, kind, folders)
    found = list(walk(pieces(tar, size)))
    expected: dict[str, dict[str, bytes]] = {}
    for name, content in members:
        key, extension = split_name(name)
        expected.setdefault(key, {})[extension] = content
    assert contents(iter(found)) == expected
    for sample in found:
        assert tar[sample.offset : sample.offset + len(sample.content)] == sample.content
    for one, following in pairwise(found):
        assert one.offset + len(one.content) == following.offset


def test_a_ustar_name_in_two_parts_is_put_together() -> None:
    name = "/".join(["folder" * 6] * 4) + "/0001.jpg"
    assert list(contents(walk([tar_of([(name, b"x")], tarfile.USTAR_FORMAT)]))) == [name.removesuffix(".jpg")]


def test_a_tar_of_a_folder_is_read_and_other_entries_are_passed_over() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind in (("./", tarfile.DIRTYPE), ("./README", tarfile.REGTYPE), ("./0.jpg", tarfile.REGTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, 3 if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("./0.cls")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert contents(walk([buffer.getvalue()])) == {"0": {"jpg": b"abc"}}


def test_extensions_are_in_lower_case() -> None:
    assert contents(walk([tar_of([("0.JPG", b"x"), ("0.Seg.PNG", b"y")])])) == {"0": {"jpg": b"x", "seg.png": b"y"}}


def test_every_cut_is_noticed() -> None:
    tar = tar_of([(f"{i}.jpg", bytes(700)) for i in range(3)])
    end = tar.rindex(b"2.jpg") + 512 + 1024
    for length in (0, 1, 511, 512, 600, 1023, 1536, 3000, end - 1, end):
        with pytest.raises(TarError, match="cut off"):
            list(walk([tar[:length]]))
    assert len(list(walk([tar[: end + 512]]))) == 3  # one block of the end mark will do


def test_a_damaged_header_is_noticed() -> None:
    tar = bytearray(tar_of([("0.jpg", bytes(700)), ("1.jpg", b"x")]))
    tar[1536 + 2] ^= 1
    with pytest.raises(TarError, match="has a damaged header at byte 1,536"):
        list(walk([bytes(tar)]))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("0.jpg", b""), ("1.jpg", b""), ("0.cls", b"")], "members of 0 are not beside each other; .*--sort=name"),
        ([("0.jpg", b""), ("0.JPG", b"")], "0 has two members with the extension jpg"),
    ],
)
def test_samples_that_readers_would_tear_apart_are_refused(members: Members, message: str) -> None:
    with pytest.raises(TarError, match=message):
        list(walk([tar_of(members)]))


def test_a_compressed_tar_is_refused_with_the_reason() -> None:
    with pytest.raises(TarError, match="compressed with gzip, so that no sample can be read without all those before it"):
        list(walk([gzip.compress(tar_of([("0.jpg", bytes(range(256)) * 20)]))]))


def test_sizes_beyond_reason_take_no_memory() -> None:
    info = tarfile.TarInfo("0.jpg")
    info.size = 1 << 40
    with pytest.raises(TarError, match="has a member of 1,099,511,627,776 bytes"):
        list(walk([info.tobuf(tarfile.GNU_FORMAT) + bytes(5000)]))
