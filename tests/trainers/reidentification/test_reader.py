"""A reader that was trained finds people whom it has never seen; sets and folders are read by the published rule."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.datasets.sources.raw_files import picture
from unbraid.datasets.errors import DataError
from unbraid.datasets.packing.pack import pack
from unbraid.datasets.sources.market1501 import read_market1501
from unbraid.datasets.sources.people import make_people
from unbraid.datasets.sources.source import Source, image_field
from unbraid.datasets.store import FolderStore
from unbraid.trainers.measures.reidentification import DISTRACTOR, JUNK, Sightings
from unbraid.trainers.reidentification.identities import IdentityImages, open_identities
from unbraid.trainers.reidentification.reader import Learning, features_of, new_reader, train_reader
from unbraid.trainers.reidentification.report import READERS, compare
from unbraid.trainers.reidentification.trial import read_trial

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = Learning(epochs=1, batch=8, width=4)
NAMES = {
    "bounding_box_train": ["0002_c1s1_000451_03.jpg", "0002_c3s2_000551_01.jpg", "0007_c2s1_000001_01.jpg"],
    "bounding_box_test": [
        "-1_c1s1_000401_03.jpg", "0000_c1s1_000151_01.jpg", "0003_c6s1_000001_01.jpg", "0003_c2s1_000009_01.jpg",
        "0004_c1s1_000001_01.jpg",
    ],
    "query": ["0003_c2s1_000002_00.jpg", "0004_c1s1_000003_00.jpg"],
}  # fmt: skip


@pytest.fixture
def market(tmp_path: Path) -> Path:
    """In Market-1501's layout."""
    return laid_out(tmp_path / "Market-1501", NAMES)


def laid_out(root: Path, names: Mapping[str, list[str]]) -> Path:
    for folder, files in names.items():
        for i, name in enumerate(files):
            picture(root / folder / name, 128, 64, i)
    return root


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Made people, packed: 40 to learn from, 16 to be found."""
    folder = tmp_path_factory.mktemp("people")
    return packed(make_people("people", identities=56, images=8, size=(32, 16), test_share=0.28, seed=3), folder)


def packed(source: Source, folder: Path) -> str:
    pack(source, FolderStore(folder, create=True), lambda text: None)
    return str(folder)


def test_a_reader_finds_people_whom_it_has_never_seen_and_an_untrained_one_does_not(people: str) -> None:
    lines: list[str] = []
    found = compare((people, "train"), (people, "test"), None, Learning(epochs=8, batch=32, width=16), CPU, lines.append)
    assert found["trained"]["rank_1"] > found["untrained"]["rank_1"] + 0.3
    assert found["trained"]["map"] > found["untrained"]["map"] + 0.3
    assert found["size"] == [32, 16]
    assert f"learnt   {people}, split train: 320 images of 40 people" in lines
    assert "the first image of each person by each camera is a query" in found["rule"]
    assert lines[-1].startswith("epoch 8 of 8: loss")


def test_the_same_seed_gives_the_same_reader_and_another_seed_another(people: str) -> None:
    images = open_identities(people).read("test", (32, 16))

    def features(seed: int) -> torch.Tensor:
        learning = replace(QUICK, seed=seed)
        reader = new_reader(images.identities, learning, CPU)
        train_reader(reader, images, learning, lambda line: None)
        return features_of(reader, images.images[:4])

    torch.manual_seed(1)
    first = features(0)
    torch.manual_seed(2)
    assert torch.equal(first, features(0))
    assert not torch.equal(first, features(1))


def test_junk_and_distractors_are_not_learnt_from(people: str) -> None:
    images = open_identities(people).read("test", (32, 16))
    person = images.seen.person.clone()
    person[::3], person[1::9] = JUNK, DISTRACTOR
    known = person >= 0
    some = replace(images, images=images.images[known], seen=Sightings(person[known]))
    every = replace(images, seen=Sightings(person))
    assert every.identities == some.identities

    def features(of: IdentityImages) -> torch.Tensor:
        reader = new_reader(of.identities, QUICK, CPU)
        train_reader(reader, of, QUICK, lambda line: None)
        return features_of(reader, images.images[:4])

    assert torch.equal(features(every), features(some))


def test_the_published_files_are_queries_and_a_gallery_with_junk_and_distractors(market: Path) -> None:
    trial = read_trial(open_identities(str(market)), "test", (64, 32))
    assert trial.queries.seen.person.tolist() == [3, 4]
    assert trial.queries.seen.row is None
    assert trial.gallery.seen.person.tolist() == [JUNK, DISTRACTOR, 3, 3, 4]
    assert trial.gallery.images.shape == (5, 3, 64, 32)
    assert trial.answerable == 1, "person 4 is seen by the query's camera only"
    assert "the images of split query are queries" in trial.rule
    assert "images of its person by its own camera" in trial.rule
    found = compare((str(market), "train"), (str(market), "test"), None, QUICK, CPU, lambda line: None)
    assert set(READERS) < set(found)
    assert found["size"] == [128, 64]
    assert found["queries"].endswith("2 images of 2 people; 1 without an answer in the gallery are left out")
    assert found["gallery"].endswith("3 images of 2 people, 1 distractors, 1 junk")


def test_a_packed_market_1501_has_the_same_trial(market: Path, tmp_path: Path) -> None:
    keypoints = tmp_path / "all.csv"
    numbers = f"{list(range(18))}"
    keypoints.write_text("\n".join(f"{name}:{numbers}:{numbers}" for files in NAMES.values() for name in files))
    source = read_market1501(market, "market", keypoints=(keypoints,), distractors=True)
    trial = read_trial(open_identities(packed(source, tmp_path / "packed")), "test", (128, 64))
    assert trial.queries.seen.person.tolist() == [3, 4]
    assert sorted(trial.gallery.seen.person.tolist()) == [DISTRACTOR, JUNK, 3, 3, 4]
    assert trial.answerable == 1


def test_a_split_without_queries_asks_for_the_first_image_of_each_person_by_each_camera(people: str) -> None:
    trial = read_trial(open_identities(people), "test", (32, 16))
    queries, gallery = trial.queries.seen, trial.gallery.seen
    assert queries.row is not None
    assert queries.camera is not None
    assert gallery.camera is not None
    pairs = list(zip(gallery.person.tolist(), gallery.camera.tolist(), strict=True))
    assert queries.row.tolist() == [i for i, pair in enumerate(pairs) if pair not in pairs[:i]]
    assert torch.equal(trial.queries.images, trial.gallery.images[queries.row])


def test_nobody_is_no_query(tmp_path: Path) -> None:
    folder = laid_out(tmp_path / "without", {name: files for name, files in NAMES.items() if name != "query"})
    trial = read_trial(open_identities(str(folder)), "test", (64, 32))
    assert trial.gallery.seen.person.tolist() == [JUNK, DISTRACTOR, 3, 3, 4]
    assert trial.queries.seen.person.tolist() == [3, 3, 4]


def test_person_zero_of_made_people_is_a_person(people: str) -> None:
    assert open_identities(people).read("train", (32, 16)).seen.person.min() == 0


def test_sets_without_cameras_leave_out_the_query_alone(tmp_path: Path) -> None:
    source = make_people("people", identities=4, images=3, size=(32, 16), test_share=0.5)
    without = {name: field for name, field in source.fields.items() if name != "camera"}
    trial = read_trial(open_identities(packed(replace(source, fields=without), tmp_path / "set")), "test", (32, 16))
    assert sorted(trial.queries.seen.person.tolist()) == [2, 3]
    assert trial.answerable == 2
    assert trial.rule == (
        "without a query split, the first image of each person is a query; left out of a query's gallery: junk, and the query "
        "itself, because cameras are not known"
    )


@pytest.mark.parametrize(
    ("identities", "images", "left_out", "message"),
    [
        (6, 4, "person", r"does not say who is seen: it has no field person; its fields are image, keypoints, camera"),
        (3, 4, "", r"split test: only one person is known"),
        (6, 1, "", r"split train: no two images show one person"),
    ],
)
def test_sets_that_tell_nobody_apart_are_one_error(
    tmp_path: Path, identities: int, images: int, left_out: str, message: str
) -> None:
    source = make_people("people", identities=identities, images=images, size=(32, 16), test_share=1 / 3)
    fields = {name: field for name, field in source.fields.items() if name != left_out}
    url = packed(replace(source, fields=fields), tmp_path / "set")
    with pytest.raises(DataError, match=message):
        compare((url, "train"), (url, "test"), None, QUICK, CPU, lambda line: None)


def test_other_mistakes_are_one_error(market: Path, people: str, tmp_path: Path) -> None:
    def refused(train: tuple[str, str], test: tuple[str, str], message: str) -> None:
        with pytest.raises(DataError, match=message):
            compare(train, test, None, QUICK, CPU, lambda line: None)

    refused((people, "test"), (people, "test"), "split 'test' is learnt from and measured on")
    refused((people, "train"), (people, "validation"), "no images in split 'validation'; its splits are: train, test")
    refused((str(market), "validation"), (people, "test"), "no images in split 'validation'; its splits are: ")
    refused((str(tmp_path / "none"), "train"), (people, "test"), "no such folder or archive")
    (tmp_path / "empty").mkdir()
    refused((str(tmp_path / "empty"), "train"), (people, "test"), "neither a packed set nor a folder in Market-1501's layout")
    lonely = laid_out(tmp_path / "lonely", NAMES | {"query": ["0004_c1s1_000003_00.jpg"]})
    refused((people, "train"), (str(lonely), "test"), "of no query is the person seen there by another camera")
    (market / "bounding_box_train/0007_c2s1_000001_01.jpg").write_bytes(b"no image")
    refused((str(market), "train"), (people, "test"), r"0007_c2s1_000001_01\.jpg: ")
    picture(market / "bounding_box_train/somebody.jpg", 128, 64)
    (market / "bounding_box_train/0007_c2s1_000001_01.jpg").unlink()
    refused((str(market), "train"), (people, "test"), r"somebody\.jpg: not a name of Market-1501")


def test_images_of_several_sizes_need_a_size(tmp_path: Path) -> None:
    source = make_people("people", identities=6, images=3, size=(32, 16), test_share=0.5)
    several = dict(source.fields) | {"image": image_field((3, 0, 0))}
    url = packed(replace(source, fields=several), tmp_path / "set")
    with pytest.raises(DataError, match="its images are of several sizes; name the size to resize them to"):
        compare((url, "train"), (url, "test"), None, QUICK, CPU, lambda line: None)
    assert compare((url, "train"), (url, "test"), (24, 16), QUICK, CPU, lambda line: None)["size"] == [24, 16]
