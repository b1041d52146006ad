"""What S and E know, where classes and colours are known: what readers find in them through the noise of training."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from unbraid.models.cdd.specs import SHARED_SIDE
from unbraid.models.cdd.translators import Parts
from unbraid.models.domains import DOMAINS
from unbraid.models.random import RandomSource
from unbraid.trainers.measures.readers import Known, class_accuracy, linear_r2
from unbraid.trainers.paired.pairs import Pairs
from unbraid.trainers.systems.cdd.model import Model

Encoded = tuple[Pairs, dict[str, Parts]]
"""Pairs and, by domain, their parts."""
PROBE_SEED = 20_181_203
PARTS = ("shared", "exclusive")


def noise_of(part: str, noise_std: float) -> float:
    """Deviation of the noise on each number of a part, as decoders see it: E comes in 64 places, so with an eighth of it."""
    return noise_std if part == "shared" else noise_std / SHARED_SIDE


def with_noise(features: Tensor, deviation: float, source: RandomSource) -> Tensor:
    """Features with fresh noise."""
    return features.float() + deviation * source.normal(*features.shape)


def probe_scores(model: Model, fitted: Encoded, scored: Encoded) -> dict[str, float]:
    """``probe/WHAT_from_PART_DOMAIN`` and the means over domains, all read through the noise of training.

    WHAT is ``label`` (a linear reader), ``label_nonlinear`` (a reader with a hidden layer) and ``colour`` (R² of a linear one).
    """
    scores: dict[str, float] = {}
    source = RandomSource(PROBE_SEED, model.device)
    for part in PARTS:
        deviation = noise_of(part, model.parts.noise_std)
        noise = partial(with_noise, deviation=deviation, source=source)
        for d in DOMAINS:
            known, seen = (getattr(parts[d], part) for _, parts in (fitted, scored))
            scores |= {
                f"probe/{what}_from_{part}_{d}": value for what, value in _read(known, seen, fitted, scored, d, noise).items()
            }
    names = dict.fromkeys(name.rpartition("_")[0] for name in scores)
    return {name: sum(scores[f"{name}_{d}"] for d in DOMAINS) / len(DOMAINS) for name in names} | scores


def _read(
    known: Tensor, seen: Tensor, fitted: Encoded, scored: Encoded, domain: str, noise: Callable[[Tensor], Tensor]
) -> dict[str, float]:
    found: dict[str, float] = {}
    labels, colours = [pairs.label for pairs, _ in (fitted, scored)], [pairs.colours for pairs, _ in (fitted, scored)]
    if labels[0] is not None and labels[1] is not None:
        both = Known(known, labels[0]), Known(seen, labels[1])
        found["label"] = class_accuracy(*both, linear=True, noise=noise)
        found["label_nonlinear"] = class_accuracy(*both, linear=False, noise=noise)
    if colours[0] and colours[1]:
        found["colour"] = linear_r2(Known(noise(known), colours[0][domain]), Known(noise(seen), colours[1][domain]))
    return found
