"""The terms of CDD's losses that need no critic; each is a mean over images, and the sum over both domains."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from unbraid.models.cdd.translators import Translation
from unbraid.models.domains import DOMAINS, OTHER
from unbraid.models.losses import norm_penalty


@dataclass(frozen=True)
class LossTerms:
    """Unweighted scalars; zero where nothing was computed for a term. Each |·| is the mean absolute difference.

    Attributes:
        shared: |S_X − S_Y|, loss 1.
        norm: the penalty on sizes of S other than 1, which keeps loss 1 from shrinking S where no noise does.
        latent_shared: |S' − S| of translations that are encoded again, loss 2.
        latent_exclusive: |E' − z| of these, loss 2, and loss 3 by reconstruction.
        autoencoder: |G_X(S_Y, E_X) − X| + |G_Y(S_X, E_Y) − Y|, loss 5.
    """

    shared: Tensor
    norm: Tensor
    latent_shared: Tensor
    latent_exclusive: Tensor
    autoencoder: Tensor


def loss_terms(images: dict[str, Tensor], translation: Translation) -> LossTerms:
    """The terms of one batch.

    Args:
        images: real ones of each domain, in [-1, 1].
        translation: without re-encoded or rebuilt images where no loss needs them.
    """
    parts, again = translation.parts, translation.fake_parts
    zero = images["x"].new_zeros(())
    return LossTerms(
        shared=_distance(parts["x"].shared, parts["y"].shared),
        norm=norm_penalty(parts["x"].shared) + norm_penalty(parts["y"].shared),
        latent_shared=_sum({d: _distance(again[d].shared, parts[OTHER[d]].shared) for d in DOMAINS}) if again else zero,
        latent_exclusive=_sum({d: _distance(again[d].exclusive, translation.drawn[d]) for d in DOMAINS}) if again else zero,
        autoencoder=_sum({d: _distance(translation.rebuilt[d], images[d]) for d in DOMAINS}) if translation.rebuilt else zero,
    )


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return F.l1_loss(a.float(), b.float())


def _sum(terms: dict[str, Tensor]) -> Tensor:
    return terms["x"] + terms["y"]
