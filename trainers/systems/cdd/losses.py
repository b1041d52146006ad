"""The terms of CDD's losses that need no critic; each is a mean over images and both domains' sum."""

from torch import Tensor
from torch.nn import functional as F

from unbraid.models.cdd.specs import DOMAINS, OTHER
from unbraid.models.cdd.translators import Translation
from unbraid.models.losses import norm_penalty


def loss_terms(images: dict[str, Tensor], translation: Translation) -> dict[str, Tensor]:
    """Unweighted scalars by name; those that were not computed are left out.

    ``shared`` |S_X − S_Y| and ``norm`` (loss 1), ``latent_shared`` |S' − S| and ``latent_exclusive`` |E' − z| (loss 2, and
    loss 3 by reconstruction), ``autoencoder`` |G_X(S_Y, E_X) − X| + |G_Y(S_X, E_Y) − Y| (loss 5). Each |·| is the mean
    absolute difference.

    Args:
        images: real ones of each domain, in [-1, 1].
    """
    parts, again = translation.parts, translation.made_parts
    terms = {
        "shared": _distance(parts["x"].shared, parts["y"].shared),
        "norm": norm_penalty(parts["x"].shared) + norm_penalty(parts["y"].shared),
    }
    if again:
        terms["latent_shared"] = _sum({d: _distance(again[d].shared, parts[OTHER[d]].shared) for d in DOMAINS})
        terms["latent_exclusive"] = _sum({d: _distance(again[d].exclusive, translation.drawn[d]) for d in DOMAINS})
    if translation.rebuilt:
        terms["autoencoder"] = _sum({d: _distance(translation.rebuilt[d], images[d]) for d in DOMAINS})
    return terms


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return F.l1_loss(a.float(), b.float())


def _sum(terms: dict[str, Tensor]) -> Tensor:
    return terms["x"] + terms["y"]
