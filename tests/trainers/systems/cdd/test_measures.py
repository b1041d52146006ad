"""CDD's measures see what they should, and its sheets show what they say."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.trainers.systems.pairs import TEST, cdd_config
from unbraid.datasets.stream.stream import read_split
from unbraid.models.cdd.specs import RepresentationSpec, TranslatorSpec
from unbraid.models.cdd.translators import Parts, Translators
from unbraid.models.domains import DOMAINS
from unbraid.models.image_spec import ImageSpec
from unbraid.models.random import RandomSource
from unbraid.trainers.data import EvaluationData
from unbraid.trainers.evaluate import open_model
from unbraid.trainers.paired.digits import colour_of, digit_reader, ink_of
from unbraid.trainers.paired.pairs import held_out, pairs_of
from unbraid.trainers.runs.open import open_run
from unbraid.trainers.runs.record import read_run
from unbraid.trainers.step.images import unit_range
from unbraid.trainers.systems.cdd.config import Config
from unbraid.trainers.systems.cdd.measures import drawn_scores, retrieval, transfer_scores, transferred
from unbraid.trainers.systems.cdd.model import Model
from unbraid.trainers.systems.cdd.pictures import knowledge_picture
from unbraid.trainers.systems.cdd.sheets import (
    FRAME,
    RIGHT,
    WRONG,
    Moving,
    Retrieval,
    interpolation_sheet,
    retrieval_sheet,
    retrieve,
    translation_sheet,
)

CPU = torch.device("cpu")
IMAGE, PARTS = ImageSpec(3, 32, 32), RepresentationSpec(1, 3)
pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class PerfectModel(Model):
    """Knows the truth of MNIST-CD/CB: S is the ink, E the colour; as nobody could learn it better. Its networks idle."""

    image: ImageSpec = IMAGE
    parts: RepresentationSpec = PARTS
    translators: Translators = field(default_factory=lambda: Translators(TranslatorSpec(1), PARTS, IMAGE))
    device: torch.device = CPU
    forgets_reference: bool = False
    forgets_digit: bool = False

    def encode(self, domain: str, images: Tensor) -> Parts:
        ink = ink_of(unit_range(images), domain)
        return Parts(ink, colour_of(unit_range(images), ink, domain))

    def decode(self, domain: str, shared: Tensor, exclusive: Tensor) -> Tensor:
        shared = shared.roll(3, 0) if self.forgets_digit else shared
        colour = (exclusive.roll(5, 0) if self.forgets_reference else exclusive)[:, :, None, None]
        return 2 * (shared * colour if domain == "x" else shared + (1 - shared) * colour) - 1


def test_transfers_of_a_perfect_model_are_right_and_of_broken_ones_are_not(pairs_url: str) -> None:
    pairs = pairs_of(next(iter(read_split(pairs_url, "test", TEST))))
    reader = digit_reader(pairs_url, "train", "cpu", None)
    scores = {}
    models = {
        "perfect": PerfectModel(),
        "wrong colour": PerfectModel(forgets_reference=True),
        "wrong digit": PerfectModel(forgets_digit=True),
    }
    for name, model in models.items():
        parts = {d: model.encode(d, pairs.images[d]) for d in DOMAINS}
        scores[name] = transfer_scores(pairs, transferred(model, pairs, parts), reader)
    perfect, colour, digit = scores.values()
    for d in DOMAINS:
        assert perfect[f"transfer/colour_error_{d}"] < 0.02
        assert colour[f"transfer/colour_error_{d}"] > 0.2
        assert perfect[f"transfer/label_kept_{d}"] == pytest.approx(perfect["transfer/label_read"], abs=0.02)
        assert digit[f"transfer/label_kept_{d}"] < 0.35
    assert perfect["transfer/label_read"] > 0.85  # 400 digits are few to learn from
    assert {f"transfer/colour_error_{d}" for d in DOMAINS} < set(perfect)


def test_retrieval_and_drawn_scores_of_a_perfect_model_are_those_of_real_images(pairs_url: str) -> None:
    pairs = pairs_of(next(iter(read_split(pairs_url, "test", TEST))))
    model = PerfectModel()
    parts = {d: model.encode(d, pairs.images[d]) for d in DOMAINS}
    found = retrieval(pairs, parts)
    assert found["retrieval/shared_recall_1"] > 0.95
    assert found["retrieval/edges_recall_1"] > 0.95, "an untrained filter, where pairs share their pixels"
    assert found["retrieval/exclusive_recall_1"] < 0.1
    assert found["retrieval/shared_map"] > found["retrieval/exclusive_map"] + 0.1
    drawn = drawn_scores(model, pairs, parts)
    assert drawn["transferred/checkerboard"] == pytest.approx(1, abs=0.15)
    colours = torch.cat([parts[d].exclusive for d in DOMAINS])
    assert drawn["drawn/deviation"] == pytest.approx(colours.std(0).mean().item(), abs=0.03)


def test_a_finished_run_has_every_measure_and_picture(trained_cdd: Path) -> None:
    store = open_run(str(trained_cdd), "cdd")
    scores = read_run(store)["evaluation"]
    wanted = {f"retrieval/{what}_recall_{k}{way}" for what in ("shared", "exclusive", "pixels", "edges") for k in (1, 5)
              for way in ("", "_x_to_y", "_y_to_x")}  # fmt: skip
    wanted |= {f"probe/{what}_from_{part}{d}" for what in ("label", "label_nonlinear", "colour")
               for part in ("shared", "exclusive") for d in ("", "_x", "_y")}  # fmt: skip
    wanted |= {"rebuilt/ssim", "rebuilt/l1", "diversity/laplacian", "diversity/real_laplacian", "transfer/label_kept",
               "drawn/deviation", "drawn/checkerboard", "transferred/checkerboard", "retrieval/edges_map"}  # fmt: skip
    assert wanted <= set(scores)
    assert all(np.isfinite(value) for value in scores.values())
    keys = list(store.keys())
    pictures = {part for key in keys if key.endswith(".png") for part in key.split("/")}
    assert {f"transfer_to_{d}" for d in DOMAINS} < pictures
    assert {"x_to_y", "y_to_x", "interpolate_exclusive", "interpolate_shared", "retrieval_x_to_y", "knows"} < pictures


def test_pairs_without_truth_are_measured_by_what_there_is(pairs_url: str, trained_cdd: Path) -> None:
    from unbraid.trainers.systems.cdd.measures import evaluate

    model, config = open_model("cdd", str(trained_cdd), CPU, ("cdd",))
    without = config.model_copy(update={"run": config.run.model_copy(update={"labels": False})})
    scores = evaluate(model, EvaluationData(without, CPU, "test"))
    assert {name.partition("/")[0] for name in scores} == {"retrieval", "rebuilt", "diversity", "drawn", "transferred"}
    assert knowledge_picture(scores) is None


# --- uses -----------------------------------------------------------------------------------------------------------------


def test_the_same_held_out_pairs_are_shown_one_of_each_class(pairs_url: str, tmp_path: Path) -> None:
    config = cdd_config(pairs_url, tmp_path)
    assert isinstance(config, Config)
    pairs = held_out(config, CPU, "test", 10)
    assert pairs.label is not None
    assert sorted(pairs.label.tolist()) == list(range(10))
    assert torch.equal(pairs.images["x"], held_out(config, CPU, "test", 10).images["x"])


def test_retrieval_is_framed_by_right_and_wrong(pairs_url: str) -> None:
    pairs = pairs_of(next(iter(read_split(pairs_url, "test", 30))))
    found = retrieve(PerfectModel(), pairs, "x", 4, 3, "shared")
    assert found.right[:, 0].all()
    assert not found.right[:, 1:].any()
    sheet = retrieval_sheet(pairs, "x", found)
    size = (32 + 2 * FRAME) * 3 + 2  # small pictures are enlarged
    for column, colour in ((1, RIGHT), (2, WRONG)):
        corner = sheet[:, 0, column * size].float() / 255
        assert torch.allclose(corner, torch.tensor(colour), atol=0.01)
    wrong = retrieval_sheet(pairs, "x", Retrieval(found.nearest.flip(1), found.right.flip(1)))
    assert torch.allclose(wrong[:, 0, size].float() / 255, torch.tensor(WRONG), atol=0.01)


def test_translations_are_draws_of_the_seed_and_one_draw_a_column(pairs_url: str) -> None:
    pairs = pairs_of(next(iter(read_split(pairs_url, "test", 3))))
    sheets = [translation_sheet(PerfectModel(), pairs.images["x"], "x", 4, RandomSource(seed, CPU)) for seed in (0, 0, 1)]
    assert torch.equal(sheets[0], sheets[1])
    assert not torch.equal(sheets[0], sheets[2])
    size = 32 * 3 + 2  # small pictures are enlarged
    corners = sheets[0][:, ::size, ::size]  # a pixel of the background of each image
    assert torch.equal(corners[:, 0, 1:], corners[:, 1, 1:])
    assert not torch.equal(corners[:, 0, 1], corners[:, 0, 2])


def test_what_does_not_move_is_the_first_ones(pairs_url: str) -> None:
    pairs = pairs_of(next(iter(read_split(pairs_url, "test", 2))))
    size = 32 * 3 + 2
    moving: Moving
    for moving in ("exclusive", "shared", "both"):
        row = interpolation_sheet(PerfectModel(), pairs, "y", moving, 3)  # of five images
        first, last = row[:, :96, size : size + 96], row[:, :96, 3 * size : 3 * size + 96]
        colour = (pairs.colours["y"] * 255).round()
        assert torch.allclose(first[:, 0, 0].float(), colour[0], atol=2)
        assert torch.allclose(last[:, 0, 0].float(), colour[0 if moving == "shared" else 1], atol=2)
        if moving == "both":
            assert (last[:, ::3, ::3].float() / 127.5 - 1 - pairs.images["y"][1]).abs().max() < 0.05
