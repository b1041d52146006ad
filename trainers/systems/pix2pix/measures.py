"""How right and how varied translations are, in numbers that can be put beside CDD's."""

from __future__ import annotations

from torch import Tensor

from unbraid.models.random import RandomSource
from unbraid.trainers.data import EvaluationData
from unbraid.trainers.measures.checkerboard import checkerboard_ratio
from unbraid.trainers.measures.diversity import diversity
from unbraid.trainers.measures.retrieval import mean_average_precision, recall
from unbraid.trainers.measures.similarity import image_quality
from unbraid.trainers.paired.digits import DigitReader, colour_of, digit_reader, ink_of, shared_ink
from unbraid.trainers.paired.pairs import Pairs, gather_pairs, pairs_of
from unbraid.trainers.step.distributed import on_main
from unbraid.trainers.step.images import unit_range
from unbraid.trainers.systems.pix2pix.model import Model

MEASURE_SEED = 20_170_721
MEASURED, BATCH = 1000, 500
"""Held-out pairs that all measures are of, and pairs that are read at a time."""
RECALLS = (1, 5)


def evaluate(model: Model, data: EvaluationData) -> dict[str, float]:
    """All measures of a trained pix2pix, on held-out pairs; dropout is on, with masks from a fixed seed.

    ``translated/…`` compares translations with the true images. ``diversity/laplacian`` is between two translations of one
    image with other dropout, ``diversity/real_laplacian`` between two real images, ``diversity/ratio_to_real`` the one over
    the other. ``drawn/checkerboard``: see :func:`.checkerboard_ratio`. ``retrieval/…``: see :func:`retrieval`. Where classes
    and colours are known, ``transfer/…``: see :func:`transfer_scores`.
    """
    world, shared = data.world, model.shared_over(data.world)
    pairs = gather_pairs([pairs_of(batch) for batch in data.held_out(MEASURED, BATCH)], world)
    random = RandomSource(MEASURE_SEED, model.device)
    first, second = (unit_range(shared.translate(pairs.images[model.source], random)) for _ in range(2))
    features = {d: shared.bottleneck(pairs.images[d]) for d in (model.source, model.target)}
    scores = on_main(lambda: translation_scores(first, second, unit_range(pairs.images[model.target])), world)
    scores |= on_main(lambda: retrieval(model, features, pairs.label), world)
    if pairs.colours and pairs.label is not None:

        def scored() -> dict[str, float]:
            source = data.config.data
            return transfer_scores(
                pairs, model.target, first, digit_reader(source.url, source.split, str(model.device), source.fit)
            )

        scores |= on_main(scored, world)
    return scores


def translation_scores(first: Tensor, second: Tensor, real: Tensor) -> dict[str, float]:
    """How near translations come to the true images, and how different two translations of one image are.

    Args:
        first, second: translations (N, C, H, W) in [0, 1] of the same images with other dropout.
        real: the true images.
    """
    scores = {f"translated/{name}": value for name, value in image_quality(first, real).items()}
    scores |= {f"diversity/{name}": value for name, value in diversity(first, second).items()}
    scores |= {f"diversity/real_{name}": value for name, value in diversity(real, real.roll(1, 0)).items()}
    scores["diversity/ratio_to_real"] = scores["diversity/laplacian"] / max(scores["diversity/real_laplacian"], 1e-12)
    return scores | {"drawn/checkerboard": checkerboard_ratio(first, real)}


def retrieval(model: Model, features: dict[str, Tensor], label: Tensor | None) -> dict[str, float]:
    """Recall@k of partners, and mean average precision by class, by the smallest maps of the U-Net, in its direction.

    One encoder reads both domains: a run has no other, and of the target domain it has learnt nothing.
    """
    queries, gallery = features[model.source], features[model.target]
    found = recall(queries, gallery, RECALLS)
    scores = {f"retrieval/bottleneck_recall_{k}_{model.source}_to_{model.target}": found[k] for k in RECALLS}
    if label is not None:
        scores["retrieval/bottleneck_map"] = mean_average_precision(queries, gallery, label, label)
    return scores


def transfer_scores(pairs: Pairs, domain: str, fake: Tensor, reader: DigitReader) -> dict[str, float]:
    """How right translations of MNIST-CD/CB are, whose truth is known.

    ``colour_error_D`` is the mean absolute difference of RGB in [0, 1] from the *pair's own* colour in D, on the digit in X,
    on the background in Y. The input does not tell that colour: colours are uniform, so that 0.25 is the least that can be
    had without it. ``label_kept_D`` is the share in which a classifier of real digits still reads the source's digit,
    ``label_read`` that share on real images.

    Args:
        domain: of the translations ``fake``, in [0, 1].
    """
    assert pairs.label is not None
    x, y = (unit_range(pairs.images[d]) for d in ("x", "y"))
    ink = shared_ink(x, y)
    colours = colour_of(fake, ink_of(fake, domain) if ink is None else ink, domain)
    return {
        f"transfer/colour_error_{domain}": (colours - pairs.colours[domain]).abs().mean().item(),
        f"transfer/label_kept_{domain}": (reader.read(ink_of(fake, domain)) == pairs.label).float().mean().item(),
        "transfer/label_read": (reader.read(ink_of(x, "x")) == pairs.label).float().mean().item(),
    }
