"""What CDD must be able to show, as numbers (Gonzalez-Garcia et al., section 4)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from unbraid.models.cdd.specs import SHARED_SIDE
from unbraid.models.cdd.translators import Parts
from unbraid.models.domains import DOMAINS, OTHER
from unbraid.models.random import RandomSource
from unbraid.trainers.data import Batch, EvaluationData
from unbraid.trainers.measures.checkerboard import checkerboard_ratio
from unbraid.trainers.measures.diversity import diversity
from unbraid.trainers.measures.retrieval import edges, mean_average_precision, recall
from unbraid.trainers.measures.similarity import image_quality
from unbraid.trainers.paired.digits import DigitReader, colour_of, digit_reader, ink_of, shared_ink
from unbraid.trainers.paired.pairs import Pairs, gather_pairs, pairs_of
from unbraid.trainers.step.distributed import World, gather_parts, on_main
from unbraid.trainers.step.images import unit_range
from unbraid.trainers.systems.cdd.model import Model
from unbraid.trainers.systems.cdd.probes import Encoded, probe_scores

MEASURE_SEED = 20_181_203
RETRIEVED = 1000
"""Held-out pairs among which partners are looked for; rebuilding, diversity and transfers are measured on them too."""
FITTED, SCORED = 10_000, 5_000
"""Training pairs that readers are fitted to, and held-out ones that they are scored on; or as many as have ``NUMBERS`` in S."""
NUMBERS = 1 << 28
BATCH = 500
RECALLS = (1, 5)


def evaluate(model: Model, data: EvaluationData) -> dict[str, float]:
    """All measures of a trained CDD, on held-out pairs.

    ``retrieval/WHAT_recall_K`` is the mean over both directions ``…_x_to_y`` and ``…_y_to_x``, ``retrieval/WHAT_map`` the mean
    average precision by class where classes are known; WHAT is shared, exclusive, pixels, or edges, an untrained filter.
    ``rebuilt/…`` compares images with those decoded from the other domain's S and their own E. ``diversity/…`` is between two
    translations of one image by drawn E, ``diversity/transferred_…`` by the E of two real images, ``diversity/real_…`` between
    two real images; ``diversity/ratio_to_…`` the first over the others.
    ``drawn/…``: see :func:`drawn_scores`. Where classes or colours are known, ``probe/…``: see
    :func:`unbraid.trainers.systems.cdd.probes.probe_scores`; with both, ``transfer/…``: see :func:`transfer_scores`.
    """
    config, world = data.config, data.world
    most = max(NUMBERS // (model.parts.shared * SHARED_SIDE**2), RETRIEVED)
    pairs, parts = encoded(model, data.held_out(min(SCORED, most), BATCH), world)
    few = {d: parts[d][:RETRIEVED] for d in DOMAINS}
    seen, spread_model = pairs[:RETRIEVED], model.shared_over(world)
    scores = on_main(lambda: retrieval(seen, few), world) | quality(spread_model, seen, few)
    scores |= drawn_scores(spread_model, seen, few)
    if pairs.label is not None:
        fitted = encoded(model, data.training(min(FITTED, most), BATCH), world)
        scores |= on_main(lambda: probe_scores(model, fitted, (pairs, parts)), world)
    if seen.colours and seen.label is not None:
        fakes = transferred(spread_model, seen, few)

        def scored() -> dict[str, float]:
            return transfer_scores(
                seen, fakes, digit_reader(config.data.url, config.data.split, str(model.device), config.data.fit)
            )

        scores |= on_main(scored, world)
    return scores


def retrieval(pairs: Pairs, parts: dict[str, Parts]) -> dict[str, float]:
    """Recall@k and mean average precision across the domains, by each part, by pixels and by edges."""
    represented = {
        "shared": {d: parts[d].shared for d in DOMAINS},
        "exclusive": {d: parts[d].exclusive for d in DOMAINS},
        "pixels": {d: pairs.images[d] for d in DOMAINS},
        "edges": {d: edges(pairs.images[d]) for d in DOMAINS},
    }
    scores: dict[str, float] = {}
    for what, of_domain in represented.items():
        found = {d: recall(of_domain[d], of_domain[OTHER[d]], RECALLS) for d in DOMAINS}
        for k in RECALLS:
            scores |= {f"retrieval/{what}_recall_{k}_{d}_to_{OTHER[d]}": found[d][k] for d in DOMAINS}
            scores[f"retrieval/{what}_recall_{k}"] = _mean(found[d][k] for d in DOMAINS)
        if pairs.label is not None:
            scores[f"retrieval/{what}_map"] = _mean(
                mean_average_precision(of_domain[d], of_domain[OTHER[d]], pairs.label, pairs.label) for d in DOMAINS
            )
    return scores


def drawn_scores(model: Model, pairs: Pairs, parts: dict[str, Parts]) -> dict[str, float]:
    """Whether E drawn from its prior is as good as E of real images.

    ``drawn/deviation`` is the standard deviation of E over images, the mean over its numbers and over both domains ``…_x`` and
    ``…_y``; its prior has 1. ``drawn/checkerboard``: see :func:`.checkerboard_ratio`, of translations by drawn E;
    ``transferred/checkerboard`` the same by the E of the next pair.
    """
    source = RandomSource(MEASURE_SEED, model.device)
    by_transfer = transferred(model, pairs, parts)
    scores: dict[str, float] = {}
    ratios: dict[str, list[float]] = {"drawn": [], "transferred": []}
    for d in DOMAINS:
        scores[f"drawn/deviation_{d}"] = parts[d].exclusive.float().std(0).mean().item()
        real = unit_range(pairs.images[d])
        drawn = unit_range(model.decode(d, parts[OTHER[d]].shared, model.draw(len(pairs), source)))
        ratios["drawn"].append(checkerboard_ratio(drawn, real))
        ratios["transferred"].append(checkerboard_ratio(by_transfer[d], real))
    scores["drawn/deviation"] = _mean(scores[f"drawn/deviation_{d}"] for d in DOMAINS)
    return scores | {f"{name}/checkerboard": _mean(values) for name, values in ratios.items()}


def quality(model: Model, pairs: Pairs, parts: dict[str, Parts]) -> dict[str, float]:
    """How near rebuilt images come, and how different translations of one image are."""
    source, scores = RandomSource(MEASURE_SEED, model.device), {}
    rebuilt = {d: model.decode(d, parts[OTHER[d]].shared, parts[d].exclusive) for d in DOMAINS}
    for name, values in _by_name(image_quality(unit_range(rebuilt[d]), unit_range(pairs.images[d])) for d in DOMAINS).items():
        scores[f"rebuilt/{name}"] = _mean(values)
    differences = []
    for d in DOMAINS:
        shared, real = parts[OTHER[d]].shared, unit_range(pairs.images[d])
        first, second = (unit_range(model.decode(d, shared, model.draw(len(pairs), source))) for _ in range(2))
        given, other = (unit_range(model.decode(d, shared, parts[d].exclusive.roll(by, 0))) for by in (1, 2))
        found = diversity(first, second)
        found |= {f"real_{name}": value for name, value in diversity(real, real.roll(1, 0)).items()}
        found |= {f"transferred_{name}": value for name, value in diversity(given, other).items()}
        differences.append(found)
    scores |= {f"diversity/{name}": _mean(values) for name, values in _by_name(differences).items()}
    return scores | {
        f"diversity/ratio_to_{what}": scores["diversity/laplacian"] / max(scores[f"diversity/{what}_laplacian"], 1e-12)
        for what in ("real", "transferred")
    }


def transferred(model: Model, pairs: Pairs, parts: dict[str, Parts]) -> dict[str, Tensor]:
    """Each image translated with the E of the next pair's image of the other domain, by domain, in [0, 1]."""
    return {d: unit_range(model.decode(d, parts[OTHER[d]].shared, parts[d].exclusive.roll(1, 0))) for d in DOMAINS}


def transfer_scores(pairs: Pairs, fakes: dict[str, Tensor], reader: DigitReader) -> dict[str, float]:
    """How right the images of :func:`transferred` are, on MNIST-CD/CB, whose truth is known.

    ``colour_error_D`` is the mean absolute difference of RGB in [0, 1] from the reference's true colour, on the digit in X, on
    the background in Y. These are where the source has them, or, where the sides of a pair show different ink, where they are
    drawn. ``label_kept_D`` is the share in which a classifier of real digits still reads the source's digit; ``label_read`` is
    that share on real images.
    """
    assert pairs.label is not None
    real = {d: unit_range(pairs.images[d]) for d in DOMAINS}
    ink = shared_ink(real["x"], real["y"])
    scores: dict[str, float] = {}
    for d, fake in fakes.items():
        wanted = pairs.colours[d].roll(1, 0)
        where = ink_of(fake, d) if ink is None else ink
        scores[f"transfer/colour_error_{d}"] = (colour_of(fake, where, d) - wanted).abs().mean().item()
        scores[f"transfer/label_kept_{d}"] = (reader.read(ink_of(fake, d)) == pairs.label).float().mean().item()
    kept = _mean(scores[f"transfer/label_kept_{d}"] for d in DOMAINS)
    read = (reader.read(ink_of(real["x"], "x")) == pairs.label).float().mean().item()
    return scores | {"transfer/label_kept": kept, "transfer/label_read": read}


def encoded(model: Model, batches: Iterable[Batch], world: World) -> Encoded:
    """Pairs, of whose images only the first few are kept, and the parts of all of them; the same on every rank.

    Args:
        batches: this rank's share.
    """
    kept: list[Pairs] = []
    parts: dict[str, list[Parts]] = {d: [] for d in DOMAINS}
    count = 0
    for batch in batches:
        pairs = pairs_of(batch)
        for d in DOMAINS:
            parts[d].append(model.encode(d, pairs.images[d]))
        kept.append(pairs if count * world.size < RETRIEVED else pairs.without_images())
        count += len(pairs)
    gathered = {
        d: Parts(
            torch.cat(gather_parts([of_batch.shared for of_batch in parts[d]], world)),
            torch.cat(gather_parts([of_batch.exclusive for of_batch in parts[d]], world)),
        )
        for d in DOMAINS
    }
    return gather_pairs(kept, world), gathered


def _by_name(rows: Iterable[dict[str, float]]) -> dict[str, list[float]]:
    columns: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return columns


def _mean(values: Iterable[float]) -> float:
    every = list(values)
    return sum(every) / len(every)
