"""Models as their users hold them: what they draw and read, from a run and from an export of it, and what they refuse."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unbraid
from tests.trainers.systems.dpig.test_pg2 import config as pg2_config
from tests.trainers.systems.pairs import pix2pix_config
from tests.trainers.systems.people import run
from unbraid.datasets.errors import DataError
from unbraid.datasets.store import open_store
from unbraid.datasets.stream.stream import read_split
from unbraid.trainers.data import EvaluationData
from unbraid.trainers.errors import CheckpointError, ConfigError
from unbraid.trainers.systems.cdd.inference import CDD
from unbraid.trainers.systems.dpig.trained import DPIG, PosedPeople
from unbraid.trainers.systems.infogan.inference import InfoGAN
from unbraid.trainers.systems.infogan.measures import real_reader
from unbraid.trainers.systems.infogan.uses import sorted_by
from unbraid.trainers.systems.pix2pix.inference import Pix2Pix
from unbraid.trainers.use.export import export_run
from unbraid.trainers.use.images import Images


@pytest.fixture(scope="module")
def infogan(trained_infogan: Path) -> InfoGAN:
    model = unbraid.open("info", str(trained_infogan)).model("cpu")
    assert isinstance(model, InfoGAN)
    return model


@pytest.fixture(scope="module")
def dpig(trained_dpig: Path) -> DPIG:
    model = unbraid.open("mapping", str(trained_dpig)).model("cpu")
    assert isinstance(model, DPIG)
    return model


@pytest.fixture(scope="module")
def cdd(trained_cdd: Path) -> CDD:
    model = unbraid.open("cdd", str(trained_cdd)).model("cpu")
    assert isinstance(model, CDD)
    return model


def few(url: str, count: int = 3) -> dict[str, torch.Tensor]:
    return dict(next(iter(read_split(url, "train", count, count))))


def test_a_draw_follows_its_codes_and_its_seed(infogan: InfoGAN) -> None:
    first = infogan.sample(4, seed=1, categorical_0=3, continuous_0=0.5)
    assert torch.equal(first.tensor, infogan.sample(4, seed=1, categorical_0=3, continuous_0=0.5).tensor)
    assert not torch.equal(first.tensor, infogan.sample(4, seed=2, categorical_0=3, continuous_0=0.5).tensor)
    other = infogan.sample(4, seed=1, categorical_0=[3, 3, 3, 4], continuous_0=0.5)
    assert torch.equal(first.tensor[:3], other.tensor[:3])
    assert not torch.equal(first.tensor[3], other.tensor[3])
    columns = infogan.traverse("continuous_0", rows=2, steps=3, seed=1)
    assert (len(columns), columns.columns) == (6, 3)
    path = infogan.interpolate(rows=2, steps=4, seed=1)
    assert (len(path), path.columns) == (8, 4)
    assert not torch.equal(path.tensor[0], path.tensor[3])


def test_any_number_of_draws_is_streamed(infogan: InfoGAN) -> None:
    parts = [part.tensor for part in infogan.stream(600, seed=1, categorical_0=3)]
    assert sum(map(len, parts)) == 600
    assert not torch.equal(parts[0], parts[1]), "each batch has draws of its own"
    assert torch.equal(parts[0], next(iter(infogan.stream(300, seed=1, categorical_0=3))).tensor)


def test_what_is_read_is_what_the_measures_read(infogan: InfoGAN, digits_folder: Path) -> None:
    images = few(str(digits_folder), 5)["image"]
    reading = infogan.read(images)
    reader = real_reader(infogan.networks, EvaluationData(infogan.config, infogan.device, "train"))
    wanted = reader.read(infogan.networks.normalise(images))
    assert np.allclose(reading.probabilities["categorical_0"], wanted.logits[0].softmax(1).numpy())
    assert np.allclose(reading.mean["continuous_0"], wanted.mean[:, 0].numpy())
    table = reading.table()
    assert list(table)[:4] == ["categorical_0", "categorical_0_probability", "continuous_0", "continuous_0_deviation"]
    assert (table["categorical_0"] == wanted.logits[0].argmax(1).numpy()).all()
    codes: dict[str, Any] = dict(reading.codes(0))
    assert infogan.sample(2, **codes).tensor.shape == (2, 1, 28, 28)


def test_real_images_are_sorted_by_what_is_read_the_surest_first(infogan: InfoGAN) -> None:
    picture = sorted_by(infogan, infogan.config, "categorical_0", 60)
    data = EvaluationData(infogan.config, infogan.device, infogan.config.data.reported_split)
    images = torch.cat([batch["image"] for batch in data.held_out(60)])
    sure = infogan.read(images).probabilities["categorical_0"]
    side, times = 28 * 4 + 2, 4
    for value in range(10):
        mine = [i for i in np.argsort(-sure[:, value], kind="stable") if sure[i].argmax() == value]
        for column in (0, min(len(mine), 20) - 1):
            tile = picture[0, value * side :, column * side :][: side - 2 : times, : side - 2 : times]
            wanted = images[mine[column], 0] if mine else torch.full((28, 28), 255)
            assert (tile.int() - wanted.int()).abs().max() <= 1


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ({"categorical_1": 0}, "categorical_1: the model's codes are categorical_0, continuous_0"),
        ({"categorical_0": 10}, "categorical_0=10: expected a class from 0 to 9"),
        ({"categorical_0": 1.5}, "categorical_0=1.5: expected a class"),
        ({"continuous_0": 2.5}, "continuous_0=2.5: expected -2 to 2"),
        ({"continuous_0": float("nan")}, "continuous_0=nan: expected -2 to 2"),
        ({"categorical_0": (0.0, 2.0)}, "a range (LOW, HIGH) is for continuous codes"),
        ({"continuous_0": [0.1, 0.2]}, "has 2 values for 4 images"),
    ],
)
def test_a_code_that_is_not_there_or_lies_outside_is_refused(infogan: InfoGAN, codes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        infogan.sample(4, **codes)
    assert message in str(caught.value)


def test_people_are_posed_swapped_rebuilt_and_drawn(dpig: DPIG, people_url: str) -> None:
    people = few(people_url)
    images, keypoints = people["image"], people["keypoints"]
    posed = dpig.transfer(images, keypoints, keypoints.roll(1, 0))
    assert torch.equal(posed.tensor[1], dpig.transfer(images[1], keypoints[1].numpy(), keypoints[0].tolist()).tensor[0])
    swapped = dpig.swap(images, keypoints, "foreground")
    assert (len(swapped), swapped.columns) == (9, 3)
    rebuilt = dpig.reconstruct(images, keypoints)
    assert torch.equal(swapped.tensor[::4], rebuilt.tensor), "on the diagonal nothing is exchanged"
    assert len(dpig.sample(5, seed=3)) == sum(map(len, dpig.stream(5, seed=3))) == 5


def test_keypoints_of_a_resized_photograph_move_with_it(dpig: DPIG, people_url: str, tmp_path: Path) -> None:
    people = few(people_url, 1)
    image, keypoints = Images(people["image"])[0], people["keypoints"][0].numpy()
    large = image.resize((image.width * 3, image.height * 3), 0)
    large.save(tmp_path / "large.png")
    points = [[3 * float(x), 3 * float(y), float(found)] for y, x, found in keypoints]
    flat = [number for point in points for number in point]
    (tmp_path / "openpose.json").write_text(json.dumps({"people": [{"pose_keypoints_2d": flat}]}))
    found = dpig._people(tmp_path / "large.png", tmp_path / "openpose.json", resize=True)
    assert torch.allclose(found.keypoints[0, :, :2], torch.from_numpy(keypoints)[:, :2], atol=1e-4)
    (tmp_path / "list.json").write_text(json.dumps(keypoints.tolist()))
    plain = dpig.transfer(image, tmp_path / "list.json", tmp_path / "list.json")
    assert torch.equal(plain.tensor, dpig.transfer(image, keypoints, keypoints).tensor)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, p: model.transfer(p["image"], p["keypoints"][:2], p["keypoints"]), "2 people for 3 images"),
        (lambda model, p: model.transfer(p["image"], p["keypoints"], p["keypoints"][:2]), "2 poses for 3 images"),
        (lambda model, p: model.transfer(p["image"], p["keypoints"], [[1, 2, 3]]), "expected finite numbers"),
        (lambda model, p: model.transfer(p["image"], p["keypoints"], "none.json"), "none.json: cannot be read"),
        (lambda model, p: model.swap(p["image"], p["keypoints"], "hair"), "factor=hair: expected foreground"),
        (lambda model, p: model.transfer(p["image"][:, :, 1:], p["keypoints"], p["keypoints"]), "and the model is for"),
    ],
)
def test_people_that_do_not_fit_are_refused(
    dpig: DPIG, people_url: str, call: Callable[[DPIG, dict[str, torch.Tensor]], object], message: str
) -> None:
    with pytest.raises((ConfigError, DataError)) as caught:
        call(dpig, few(people_url))
    assert message in str(caught.value)


def test_stage_one_draws_nobody_from_noise(trained_dpig: Path, people_url: str) -> None:
    model = unbraid.open("appearance", str(trained_dpig)).model("cpu")
    assert isinstance(model, DPIG)
    with pytest.raises(ConfigError, match="this run has no mapping for the foreground"):
        model.sample(2)
    with pytest.raises(ConfigError, match=r"a model of dpig\.pose draws no images by itself"):
        unbraid.open("pose", str(trained_dpig)).model("cpu")


def test_pairs_are_translated_transferred_and_found(cdd: CDD, pairs_url: str) -> None:
    pairs = few(pairs_url, 4)
    drawn = cdd.translate(pairs["x"], to="y", samples=3, seed=1)
    assert (len(drawn), drawn.columns) == (12, 3)
    assert torch.equal(cdd.translate(pairs["x"][2], to="y", samples=3, seed=1).tensor, drawn.tensor[6:9])
    table = cdd.transfer(pairs["x"], pairs["y"][:2], to="y")
    assert (len(table), table.columns) == (8, 2)
    found = cdd.retrieve(pairs["x"], pairs["y"], top=2, by="pixels")
    assert found.rows.shape == found.distances.shape == (4, 2)
    assert (found.distances[:, 0] <= found.distances[:, 1]).all()
    back = cdd.retrieve(pairs["y"], pairs["x"], source="y", top=1)
    assert back.rows.shape == (4, 1)
    with pytest.raises(ConfigError, match="z: no domain; expected x or y"):
        cdd.translate(pairs["x"], to="z")
    with pytest.raises(ConfigError, match="top=9: the gallery has 4 images"):
        cdd.retrieve(pairs["x"], pairs["y"], top=9)


def test_the_baselines_are_used_too(pairs_url: str, people_url: str, trained_dpig: Path, tmp_path: Path) -> None:
    run(pix2pix_config(pairs_url, tmp_path, "run.updates=2", "run.name=p2p"))
    translator = unbraid.open("p2p", str(tmp_path)).model("cpu")
    assert isinstance(translator, Pix2Pix)
    assert len(translator.translate(few(pairs_url)["x"], samples=2)) == 6
    run(pg2_config(people_url, tmp_path, "run.updates=2", "run.name=pg2"))
    posing = unbraid.open("pg2", str(tmp_path)).model("cpu")
    assert isinstance(posing, PosedPeople)
    people = few(people_url)
    assert len(posing.transfer(people["image"], people["keypoints"], people["keypoints"][0])) == 3


@pytest.mark.parametrize("name", ["infogan", "dpig", "cdd"])
def test_an_export_is_the_same_model_without_its_run_and_its_data(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, digits_folder: Path, people_url: str, pairs_url: str
) -> None:
    fixture, run_name = {"infogan": ("infogan", "info"), "dpig": ("dpig", "mapping"), "cdd": ("cdd", "cdd")}[name]
    model = request.getfixturevalue(fixture)
    storage = Path(model.origin.place).parent
    export_run(unbraid.open(run_name, str(storage)), open_store(str(tmp_path / "model"), create=True))
    loaded = unbraid.load(str(tmp_path / "model"), "cpu")
    object.__setattr__(loaded.config.data, "url", "nowhere")  # the data set is not asked
    assert type(loaded) is type(model)
    if isinstance(model, InfoGAN) and isinstance(loaded, InfoGAN):
        images = few(str(digits_folder))["image"]
        assert torch.equal(model.sample(8, seed=2).tensor, loaded.sample(8, seed=2).tensor)
        ours, theirs = model.read(images), loaded.read(images)
        assert np.array_equal(ours.probabilities["categorical_0"], theirs.probabilities["categorical_0"])
        assert np.array_equal(ours.mean["continuous_0"], theirs.mean["continuous_0"])
    elif isinstance(model, DPIG) and isinstance(loaded, DPIG):
        people = few(people_url)
        assert torch.equal(model.sample(4, seed=2).tensor, loaded.sample(4, seed=2).tensor)
        assert torch.equal(*(m.reconstruct(people["image"], people["keypoints"]).tensor for m in (model, loaded)))
    elif isinstance(model, CDD) and isinstance(loaded, CDD):
        assert torch.equal(*(m.translate(few(pairs_url)["x"], samples=2).tensor for m in (model, loaded)))


def test_a_run_without_a_checkpoint_has_no_model(trained_infogan: Path, tmp_path: Path) -> None:
    store = open_store(str(trained_infogan / "info"))
    there = open_store(str(tmp_path / "bare"), create=True)
    for key in ("config.yaml", "run.json"):
        there.put(key, store.get(key))
    with pytest.raises(CheckpointError, match="no checkpoint yet; train the run first"):
        unbraid.open(str(tmp_path / "bare")).model("cpu")
    with pytest.raises(ConfigError, match="device gpu9: is not here"):
        unbraid.open("info", str(trained_infogan)).model("gpu9")
