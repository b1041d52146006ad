"""Loss terms, each a function of tensors. Signs are those of a loss: lower is better."""

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """−E[log D(x)] − E[log(1 − D(G(z)))], from logits (Goodfellow et al., 2014, equation 1).

    Args:
        real_logits, fake_logits: (B,) or (B, 1).
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
