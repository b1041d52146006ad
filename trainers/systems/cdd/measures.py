"""What CDD must be able to show, as numbers (Gonzalez-Garcia et al., section 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

import torch
from torch import Tensor

from unbraid.datasets.stream.stream import read_split
from unbraid.models.cdd.specs import DOMAINS, OTHER, SHARED_SIDE
from unbraid.models.cdd.translators import Parts
from unbraid.models.random import RandomSource
from unbraid.trainers.data import Batch, EvaluationData
from unbraid.trainers.measures.diversity import diversity
from unbraid.trainers.measures.linear_probe import Probed, colour_r2, label_accuracy
from unbraid.trainers.measures.retrieval import recall
from unbraid.trainers.measures.similarity import image_quality
from unbraid.trainers.step.distributed import World, gather_parts, on_main
from unbraid.trainers.step.images import unit_range
from unbraid.trainers.systems.cdd.model import Model
from unbraid.trainers.systems.cdd.pairs import Pairs, gather_pairs, pairs_of
from unbraid.trainers.systems.cdd.truth import DigitReader, colour_of, ink_of, train_reader

Encoded = tuple[Pairs, dict[str, Parts]]
"""Pairs and, by domain, their parts."""
MEASURE_SEED = 20_181_203
RETRIEVED = 1000
"""Held-out pairs among which partners are looked for; rebuilding, diversity and transfers are measured on them too."""
FITTED, SCORED = 20_000, 10_000
"""Training pairs that probes are fitted to, and held-out ones that they are scored on; or as many as have ``NUMBERS`` in S."""
NUMBERS = 1 << 28
BATCH = 500
RECALLS = (1, 5)


def evaluate(model: Model, data: EvaluationData) -> dict[str, float]:
    """All measures of a trained CDD, on held-out pairs.

    ``retrieval/WHAT_recall_K`` is the mean over both directions ``…_x_to_y`` and ``…_y_to_x``; WHAT is shared, exclusive or
    pixels. ``rebuilt/…`` compares images with those decoded from the other domain's S and their own E. ``diversity/…`` is
    between two translations of one image, ``diversity/real_…`` between two real images. Where classes are known,
    ``probe/label_from_PART`` and with colours ``probe/colour_from_PART`` are what a linear probe reads from S and E as decoders
    get them in training, noise included, the mean over both domains ``…_x`` and ``…_y``; ``probe_exact/…`` without that
    noise. With colours, ``transfer/…``: see :func:`transfer_scores`.
    """
    config, world = data.config, data.world
    most = max(NUMBERS // (model.parts.shared * SHARED_SIDE**2), RETRIEVED)
    pairs, parts = encoded(model, data.held_out(min(SCORED, most), BATCH), world)
    few = {d: parts[d][:RETRIEVED] for d in DOMAINS}
    seen, spread_model = pairs[:RETRIEVED], model.shared_over(world)
    scores = on_main(lambda: retrieval(seen, few), world) | quality(spread_model, seen, few)
    if pairs.label is not None:
        fitted = encoded(model, data.training(min(FITTED, most), BATCH), world)
        scores |= on_main(lambda: probes(model, fitted, (pairs, parts)), world)
    if seen.colours and seen.label is not None:
        fakes = transferred(spread_model, seen, few)

        def scored() -> dict[str, float]:
            return transfer_scores(
                seen, fakes, digit_reader(config.data.url, config.data.split, str(model.device), config.data.fit)
            )

        scores |= on_main(scored, world)
    return scores


def retrieval(pairs: Pairs, parts: dict[str, Parts]) -> dict[str, float]:
    """Recall@k across the domains, by each part and by pixels."""
    represented = {
        "shared": {d: parts[d].shared for d in DOMAINS},
        "exclusive": {d: parts[d].exclusive for d in DOMAINS},
        "pixels": {d: pairs.images[d] for d in DOMAINS},
    }
    scores: dict[str, float] = {}
    for what, of_domain in represented.items():
        found = {d: recall(of_domain[d], of_domain[OTHER[d]], RECALLS) for d in DOMAINS}
        for k in RECALLS:
            scores |= {f"retrieval/{what}_recall_{k}_{d}_to_{OTHER[d]}": found[d][k] for d in DOMAINS}
            scores[f"retrieval/{what}_recall_{k}"] = _mean(found[d][k] for d in DOMAINS)
    return scores


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
        differences.append(
            diversity(first, second) | {f"real_{name}": value for name, value in diversity(real, real.roll(1, 0)).items()}
        )
    return scores | {f"diversity/{name}": _mean(values) for name, values in _by_name(differences).items()}


def with_noise(parts: Parts, noise_std: float, source: RandomSource) -> Parts:
    """What decoders are given in training: E tiled over 8×8 places with noise at each, which is E with an eighth of it."""
    shared, exclusive = parts.shared.float(), parts.exclusive.float()
    return Parts(
        shared + noise_std * source.normal(*shared.shape),
        exclusive + noise_std / SHARED_SIDE * source.normal(*exclusive.shape),
    )


def probes(model: Model, fitted: Encoded, scored: Encoded) -> dict[str, float]:
    """What linear probes read of labels and colours in each part, with and without the noise of training."""
    scores: dict[str, float] = {}
    source = RandomSource(MEASURE_SEED, model.device)
    for group, noise_std in (("probe", model.parts.noise_std), ("probe_exact", 0.0)):
        found: dict[str, float] = {}
        for d in DOMAINS:
            known, seen = (with_noise(parts[d], noise_std, source) for _, parts in (fitted, scored))
            for part in ("shared", "exclusive"):
                features = getattr(known, part), getattr(seen, part)
                for what, truths, measure in _truths(fitted[0], scored[0], d):
                    found[f"{what}_from_{part}_{d}"] = measure(*(Probed(*pair) for pair in zip(features, truths, strict=True)))
        means = {name[:-2]: _mean(found[f"{name[:-2]}_{d}"] for d in DOMAINS) for name in found}
        scores |= {f"{group}/{name}": value for name, value in (means | found).items()}
    return scores


def _truths(
    fitted: Pairs, scored: Pairs, domain: str
) -> Iterator[tuple[str, tuple[Tensor, Tensor], Callable[[Probed, Probed], float]]]:
    """What is known of both: its name, its values, and how a reader of it is measured."""
    if fitted.label is not None and scored.label is not None:
        yield "label", (fitted.label, scored.label), label_accuracy
    if fitted.colours and scored.colours:
        yield "colour", (fitted.colours[domain], scored.colours[domain]), colour_r2


def transferred(model: Model, pairs: Pairs, parts: dict[str, Parts]) -> dict[str, Tensor]:
    """Each image translated with the E of the next pair's image of the other domain, by domain, in [0, 1]."""
    return {d: unit_range(model.decode(d, parts[OTHER[d]].shared, parts[d].exclusive.roll(1, 0))) for d in DOMAINS}


def transfer_scores(pairs: Pairs, fakes: dict[str, Tensor], reader: DigitReader) -> dict[str, float]:
    """How right the images of :func:`transferred` are, on MNIST-CD/CB, whose truth is known.

    ``colour_error_D`` is the mean absolute difference of RGB in [0, 1] from the reference's true colour, on the digit in X, on
    the background in Y; ``label_kept_D`` the share in which a classifier of real digits still reads the source's digit;
    ``label_read`` is that share on real images.
    """
    assert pairs.label is not None
    ink = ink_of(unit_range(pairs.images["x"]), "x")
    scores: dict[str, float] = {}
    for d, fake in fakes.items():
        wanted = pairs.colours[d].roll(1, 0)
        scores[f"transfer/colour_error_{d}"] = (colour_of(fake, ink, d) - wanted).abs().mean().item()
        scores[f"transfer/label_kept_{d}"] = (reader.read(ink_of(fake, d)) == pairs.label).float().mean().item()
    kept = _mean(scores[f"transfer/label_kept_{d}"] for d in DOMAINS)
    read = (reader.read(ink) == pairs.label).float().mean().item()
    return scores | {"transfer/label_kept": kept, "transfer/label_read": read}


@lru_cache(maxsize=1)
def digit_reader(url: str, split: str, device: str, fit: tuple[int, int] | None = None) -> DigitReader:
    """A classifier of the digits of a packed MNIST-CD/CB."""
    read = [(batch["x"], batch["label"]) for batch in read_split(url, split, BATCH, FITTED, fit=fit)]
    ink = torch.cat([ink_of(images.float() / 255, "x") for images, _ in read])
    return train_reader(ink.to(device), torch.cat([labels for _, labels in read]).to(device))


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
