"""The stream on a real S3 server: equal batches, the same order for any number of ranks, exact resume, clear errors."""

from pathlib import Path

import pytest
import torch

from datasets.errors import DataError
from datasets.store import open_store
from datasets.stream import ImageStream, Position, read_split
from tests.conftest import TEST, TRAIN, pack_digits

BATCH, LANES, WINDOW = 64, 8, 100


def stream(url: str, rank: int = 0, world_size: int = 1, seed: int = 0, position: Position | None = None) -> ImageStream:
    return ImageStream(
        url,
        "train",
        batch=BATCH,
        lanes=LANES,
        window=WINDOW,
        seed=seed,
        rank=rank,
        world_size=world_size,
        position=position,
    )


def take(source: ImageStream, count: int) -> list[torch.Tensor]:
    with source:
        return [next(source)["image"] for _ in range(count)]


def test_an_epoch_gives_each_image_once(digits_url: str) -> None:
    with stream(digits_url) as source:
        batches = source.order.batches(0)
        images = torch.cat([next(source)["image"] for _ in range(batches)])
        assert source.position == Position(1, 0)
    assert batches * BATCH == TRAIN
    assert images.dtype == torch.uint8
    packed = torch.cat([batch["image"] for batch in read_split(digits_url, "train", 100)])
    assert len(images.flatten(1).unique(dim=0)) == len(packed.flatten(1).unique(dim=0))
    assert not torch.equal(images, packed)


def test_images_keep_their_labels(digits_url: str) -> None:
    batches = list(read_split(digits_url, "train", 100))
    labels = {bytes(i.numpy()): int(n) for b in batches for i, n in zip(b["image"], b["label"], strict=True)}
    with stream(digits_url) as source:
        batch = next(source)
    assert [labels[bytes(image.numpy())] for image in batch["image"]] == batch["label"].tolist()


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_together_see_what_one_sees(digits_url: str, ranks: int) -> None:
    alone = take(stream(digits_url), 30)  # more than an epoch
    shares = [take(stream(digits_url, rank, ranks), 30) for rank in range(ranks)]
    for number, batch in enumerate(alone):
        assert torch.equal(batch, torch.cat([share[number] for share in shares]))


@pytest.mark.parametrize("consumed", [7, 24, 25, 40])
def test_going_on_continues_the_sequence_with_other_ranks(digits_url: str, consumed: int) -> None:
    uninterrupted = take(stream(digits_url), consumed + 5)
    with stream(digits_url) as first:
        for _ in range(consumed):
            next(first)
        position = first.position
    shares = [take(stream(digits_url, rank, 2, position=position), 5) for rank in range(2)]
    for number, batch in enumerate(uninterrupted[consumed:]):
        assert torch.equal(batch, torch.cat([share[number] for share in shares]))


def test_another_seed_is_another_order(digits_url: str) -> None:
    assert not torch.equal(take(stream(digits_url, seed=0), 1)[0], take(stream(digits_url, seed=1), 1)[0])


def test_a_split_is_read_whole_with_its_remainder(digits_url: str) -> None:
    sizes = [len(batch["image"]) for batch in read_split(digits_url, "test", 100)]
    assert sizes == [100, TEST - 100]


def test_a_damaged_shard_stops_the_stream_by_name(tmp_path: Path) -> None:
    pack_digits(open_store(str(tmp_path)))
    path = tmp_path / "train-00007.tar"
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"train-00007\.tar: the checksum of sample"), stream(str(tmp_path)) as source:
        for _ in range(source.order.batches(0)):
            next(source)


def test_a_missing_shard_stops_the_stream_by_name(tmp_path: Path) -> None:
    pack_digits(open_store(str(tmp_path)))
    (tmp_path / "train-00007.tar").unlink()
    with pytest.raises(DataError, match=r"train-00007\.tar: no such file"), stream(str(tmp_path)) as source:
        for _ in range(source.order.batches(0)):
            next(source)


def test_closing_ends_the_threads_at_once(digits_url: str) -> None:
    import threading

    before = threading.active_count()
    source = stream(digits_url)
    next(source)
    source.close()
    assert threading.active_count() <= before + 1


def test_lanes_that_do_not_fit_say_what_to_change(digits_url: str) -> None:
    with pytest.raises(DataError, match=r"lower data\.lanes, or pack the set into more shards"):
        ImageStream(digits_url, "train", batch=64, lanes=64, window=10, seed=0)
