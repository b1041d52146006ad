"""Loss terms, each a function of tensors. Losses are minimised, and computed in float32 whatever their inputs are."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """−E[log D(x)] − E[log(1 − D(G(z)))], from logits (Goodfellow et al., 2014, equation 1).

    Args:
        real_logits, fake_logits: (B,) or (B, N), of N patches each.
    """
    return F.softplus(-real_logits.float()).mean() + F.softplus(fake_logits.float()).mean()


def generator_loss(fake_logits: Tensor) -> Tensor:
    """−E[log D(G(z))], the non-saturating form (Goodfellow et al., 2014, section 3)."""
    return F.softplus(-fake_logits.float()).mean()


def information_loss(mutual_information: Mapping[str, Tensor], weight_categorical: float, weight_continuous: float) -> Tensor:
    """−λ_cat·ΣL_I(categorical) − λ_cont·ΣL_I(continuous) (Chen et al., 2016, equation 6).

    Args:
        mutual_information: L_I in nats of each code, named ``categorical_i`` or ``continuous_i``; not empty.
    """
    terms = [
        -(weight_categorical if name.startswith("categorical") else weight_continuous) * value
        for name, value in mutual_information.items()
    ]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def pose_loss(fake: Tensor, real: Tensor, counts_missing: bool) -> Tensor:
    """Mean squared error of pose vectors (B, 54).

    Args:
        counts_missing: whether coordinates of keypoints that are missing in ``real``, which are 0, count.
    """
    if counts_missing:
        return (fake - real).square().mean()
    known = real.view(len(real), -1, 3)[:, :, 2:].repeat(1, 1, 3)
    known[:, :, 2] = 1  # visibility is always known
    return ((fake - real).square() * known.flatten(1)).mean()


def wasserstein_distance(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """E[f(x)] − E[f(x̃)], which a critic f maximises and a generator minimises (Arjovsky et al., 2017, equation 2).

    Args:
        real_scores, fake_scores: f's scores (B,).
    """
    return real_scores.float().mean() - fake_scores.float().mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """E[(‖∇f(x̂)‖₂ − 1)²] between real and fake samples (Gulrajani et al., 2017, equation 3).

    Args:
        critic: f, (B, ...) → (B,).
        real, fake: (B, ...), vectors or images of any size.
        share: ε, (B, 1) in [0, 1]: x̂ = ε·real + (1 − ε)·fake.
    """
    share = share.view(-1, *(1,) * (real.ndim - 1))
    between = torch.lerp(fake.detach(), real.detach(), share).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    penalty: Tensor = (slope.float().flatten(1).norm(dim=1) - 1).square().mean()
    return penalty


def norm_penalty(representation: Tensor) -> Tensor:
    """E[(r − 1)²], r the root mean square of each sample's numbers (B, ...): keeps a representation from shrinking to zero."""
    size = representation.float().flatten(1).square().mean(1).clamp_min(1e-12).sqrt()
    return (size - 1).square().mean()
