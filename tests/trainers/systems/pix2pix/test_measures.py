"""Pix2pix's measures see what they should, and are the same at every evaluation."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.trainers.systems.pairs import TEST, pix2pix_config
from tests.trainers.systems.people import run
from unbraid.datasets.stream.stream import read_split
from unbraid.models.random import RandomSource
from unbraid.trainers.data import EvaluationData
from unbraid.trainers.evaluate import open_model
from unbraid.trainers.paired.digits import digit_reader
from unbraid.trainers.paired.pairs import Pairs, pairs_of
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_run
from unbraid.trainers.step.images import unit_range
from unbraid.trainers.systems.pix2pix.measures import evaluate, retrieval, transfer_scores, translation_scores
from unbraid.trainers.systems.pix2pix.model import Model
from unbraid.trainers.systems.pix2pix.pictures import translation_sheet

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def trained(pairs_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Storage with a run ``pix2pix`` after a few updates."""
    storage = tmp_path_factory.mktemp("runs")
    run(pix2pix_config(pairs_url, storage, "run.updates=6"))
    return storage


def model_of(storage: Path) -> Model:
    model, _ = open_model("pix2pix", str(storage), CPU, ("pix2pix",))
    assert isinstance(model, Model)
    return model


@pytest.fixture(scope="module")
def pairs(pairs_url: str) -> Pairs:
    return pairs_of(next(iter(read_split(pairs_url, "test", TEST))))


def test_a_finished_run_has_every_measure_and_picture(trained: Path, pairs_url: str) -> None:
    store = open_run(str(trained), "pix2pix")
    assert set(read_run(store)["evaluation"]) == set(pix2pix_config(pairs_url, trained).measures())
    keys = list(store.keys())
    pictures = {part for key in keys if key.endswith(".png") for part in key.split("/")}
    assert {"x_to_y", "truth"} <= pictures


def test_without_labels_it_reports_what_reads_none(trained: Path, pairs_url: str) -> None:
    config = pix2pix_config(pairs_url, trained, "run.labels=false")
    scores = evaluate(model_of(trained), EvaluationData(config, CPU, "test"))
    assert set(scores) == {name for name, reads in config.measures().items() if not reads}


def test_an_evaluation_is_a_function_of_the_model(trained: Path, pairs_url: str) -> None:
    """Dropout is on, and drawn from the measures' own seed, whatever torch's own generator has drawn."""
    config = pix2pix_config(pairs_url, trained, "run.labels=false")
    scores = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        scores.append(evaluate(model_of(trained), EvaluationData(config, CPU, "test")))
    assert scores[0] == scores[1]
    assert scores[0]["diversity/laplacian"] > 0


def test_translations_differ_by_their_dropout_and_not_by_their_neighbours(trained: Path, pairs: Pairs) -> None:
    model, images = model_of(trained), pairs.images["x"][:1].expand(3, -1, -1, -1)
    fake = model.translate(images, RandomSource(0, CPU))
    assert torch.equal(fake, model.translate(images, RandomSource(0, CPU)))
    assert not torch.equal(fake[0], fake[1])
    other = torch.cat([images[:1], pairs.images["x"][1:3]])
    assert torch.allclose(model.translate(other, RandomSource(0, CPU))[0], fake[0], atol=1e-6)


def test_transfers_are_right_of_the_true_images_and_wrong_of_others(pairs: Pairs, pairs_url: str) -> None:
    reader = digit_reader(pairs_url, "train", "cpu", None)
    x, y = (unit_range(pairs.images[d]) for d in ("x", "y"))
    ink = x.amax(1, keepdim=True) / x.amax((1, 2, 3), keepdim=True)
    made: dict[str, Tensor] = {"true": y, "grey": ink + (1 - ink) / 2, "another": y.roll(1, 0)}
    scores = {name: transfer_scores(pairs, "y", fake, reader) for name, fake in made.items()}
    error, kept = (
        {n: s[f"transfer/{what}_y"] for n, s in scores.items()} for what in ("colour_error", "label_kept")
    )  # fmt: skip
    assert error["true"] < 0.02
    assert error["grey"] == pytest.approx(0.25, abs=0.03), "the least that can be had without knowing the colour"
    assert error["another"] > 0.28
    assert kept["true"] == pytest.approx(scores["true"]["transfer/label_read"], abs=0.03)
    assert kept["grey"] == pytest.approx(kept["true"], abs=0.05)
    assert kept["another"] < 0.35
    back = transfer_scores(pairs, "x", x, reader)
    assert back["transfer/colour_error_x"] < 0.02


def test_translations_are_compared_with_the_true_images_and_with_each_other(pairs: Pairs) -> None:
    real = unit_range(pairs.images["y"])
    perfect = translation_scores(real, real, real)
    assert perfect["translated/l1"] == perfect["diversity/ratio_to_real"] == 0
    assert perfect["translated/ssim"] == pytest.approx(1, abs=1e-4)
    assert perfect["drawn/checkerboard"] == pytest.approx(1)
    varied = translation_scores(real, real.roll(1, 0), real)
    assert varied["diversity/ratio_to_real"] == pytest.approx(1)
    assert varied["translated/l1"] == 0


def test_retrieval_finds_partners_by_features_that_agree(trained: Path, pairs: Pairs) -> None:
    model = model_of(trained)
    features = torch.randn(TEST, 16, generator=torch.Generator().manual_seed(0))
    agreeing = retrieval(model, {"x": features, "y": features + 0.01}, pairs.label)
    assert agreeing["retrieval/bottleneck_recall_1_x_to_y"] == 1
    foreign = retrieval(model, {"x": features, "y": features.roll(7, 0)}, pairs.label)
    assert foreign["retrieval/bottleneck_recall_5_x_to_y"] < 0.15
    assert "retrieval/bottleneck_map" not in retrieval(model, {"x": features, "y": features}, None)
    assert model.bottleneck(pairs.images["x"]).shape == (TEST, 32)


def test_a_row_is_the_image_its_translations_and_the_truth(trained: Path, pairs: Pairs) -> None:
    sheet = translation_sheet(model_of(trained), pairs[:2], 3, RandomSource(0, CPU))
    size = 32 * 3 + 2  # small pictures are enlarged
    assert sheet.shape == (3, 2 * size - 2, 5 * size - 2)
    for column, domain in ((0, "x"), (4, "y")):
        shown = sheet[:, size : size + 96 : 3, column * size : column * size + 96 : 3].float() / 255
        assert torch.allclose(shown, unit_range(pairs.images[domain][1]), atol=0.01)
    assert not torch.equal(sheet[:, :96, size : size + 96], sheet[:, :96, 2 * size : 2 * size + 96])
