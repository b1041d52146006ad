"""CDD's critics (Gonzalez-Garcia et al., NeurIPS 2018), trained as WGAN-GP: of images given the other domain's, and of E."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from unbraid.models.cdd.specs import CriticSpec, FeatureCriticSpec, RepresentationSpec
from unbraid.models.cdd.translators import Parts, Translation
from unbraid.models.critics import VectorCritic
from unbraid.models.domains import DOMAINS, OTHER
from unbraid.models.image_spec import ImageSpec
from unbraid.models.initialisation import normal_weights
from unbraid.models.losses import gradient_penalty


class ImageCritic(nn.Module):
    """Scores images of one domain, given those of the other; its last layer is fully connected on the whole map."""

    def __init__(self, spec: CriticSpec, image: ImageSpec) -> None:
        super().__init__()
        side, _ = image.divided(1 << len(spec.channels), "a critic")
        layers: list[nn.Module] = []
        channels = 2 * image.channels
        for width in spec.channels:
            layers += [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(spec.slope)]
            channels = width
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * side * side, 1))
        normal_weights(self)

    def forward(self, given: Tensor, images: Tensor) -> Tensor:
        """Images (B, C, s, s) of the other domain and of this one → scores (B,)."""
        scores: Tensor = self.layers(torch.cat([given, images], 1))
        return scores.squeeze(1)


@dataclass(frozen=True)
class Scores:
    """One critic's scores (B,) of real and of fake samples, and its gradient penalty, a scalar."""

    real: Tensor
    fake: Tensor
    penalty: Tensor


class Critics(nn.Module):
    """The player against :class:`Translators`: critics of each domain.

    Args:
        kinds: of critics: ``image`` scores translations, ``exclusive`` images of exclusive decoders, ``prior`` E.
    """

    def __init__(
        self,
        critic: CriticSpec,
        feature: FeatureCriticSpec,
        parts: RepresentationSpec,
        image: ImageSpec,
        kinds: tuple[str, ...] = ("image", "exclusive", "prior"),
    ) -> None:
        super().__init__()
        self.kinds = kinds
        self.of_kind = nn.ModuleDict()
        for kind in kinds:
            of_domain = nn.ModuleDict()
            for d in DOMAINS:
                if kind == "prior":
                    of_domain[d] = VectorCritic(parts.exclusive, feature.hidden, feature.layers, feature.slope)
                else:
                    of_domain[d] = ImageCritic(critic, image)
            self.of_kind[kind] = of_domain

    def forward(
        self, images: dict[str, Tensor], translation: Translation, normal: dict[str, Tensor], share: Tensor
    ) -> dict[str, Scores]:
        """Scores of every critic, by ``KIND_DOMAIN``.

        Args:
            images: real ones of each domain, (B, C, s, s).
            translation: without gradients, see :func:`detached`.
            normal: draws of N(0, I) for each domain, (B, width): the real samples of ``prior``.
            share: (B, 1) in [0, 1], see :func:`unbraid.models.losses.gradient_penalty`.
        """
        results = {}
        for kind in self.kinds:
            for d in DOMAINS:
                real, fake = self._compared(kind, d, images, translation, normal)
                results[f"{kind}_{d}"] = self._scored(kind, d, images[OTHER[d]], real, fake, share)
        return results

    def score(self, images: dict[str, Tensor], translation: Translation) -> dict[str, Tensor]:
        """Scores (2, B) of the fake samples of both domains, by kind, for the translators' loss."""
        return {
            kind: torch.stack([self._scores(kind, d, images[OTHER[d]], _fake(kind, d, translation)) for d in DOMAINS])
            for kind in self.kinds
        }

    def _compared(
        self, kind: str, domain: str, images: dict[str, Tensor], translation: Translation, normal: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The real and the fake samples of one critic, both of its own domain."""
        return normal[domain] if kind == "prior" else images[domain], _fake(kind, domain, translation)

    def _scored(self, kind: str, domain: str, given: Tensor, real: Tensor, fake: Tensor, share: Tensor) -> Scores:
        both = self._scores(kind, domain, torch.cat([given, given]), torch.cat([real, fake.to(real.dtype)]))
        penalty = gradient_penalty(lambda between: self._scores(kind, domain, given, between), real, fake.to(real.dtype), share)
        of_real, of_fake = both.chunk(2)
        return Scores(of_real, of_fake, penalty)

    def _scores(self, kind: str, domain: str, given: Tensor, samples: Tensor) -> Tensor:
        critics = self.of_kind[kind]
        assert isinstance(critics, nn.ModuleDict)
        scores: Tensor = critics[domain](samples) if kind == "prior" else critics[domain](given, samples)
        return scores


def _fake(kind: str, domain: str, translation: Translation) -> Tensor:
    if kind == "prior":
        return translation.parts[domain].exclusive
    return (translation.fake if kind == "image" else translation.excluded)[domain]


def detached(translation: Translation) -> Translation:
    """The translation as critics learn from it: without gradients to the translators."""
    return replace(
        translation,
        parts={d: Parts(p.shared.detach(), p.exclusive.detach()) for d, p in translation.parts.items()},
        fake={d: images.detach() for d, images in translation.fake.items()},
        excluded={d: images.detach() for d, images in translation.excluded.items()},
    )
