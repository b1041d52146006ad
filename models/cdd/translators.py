"""CDD's networks (Gonzalez-Garcia et al., NeurIPS 2018): images of two domains to shared and exclusive parts, and back.

Layers before a batch norm have no bias: the norm subtracts it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from unbraid.models.cdd.specs import SHARED_SIDE, RepresentationSpec, TranslatorSpec, halvings
from unbraid.models.domains import DOMAINS, OTHER
from unbraid.models.image_spec import ImageSpec
from unbraid.models.initialisation import normal_weights, xavier_weights
from unbraid.models.normalization import kept_statistics


class ReverseGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by −scale (Ganin & Lempitsky, 2015)."""

    @staticmethod
    def forward(ctx: FunctionCtx, tensor: Tensor, scale: float) -> Tensor:
        ctx.scale = scale  # type: ignore[attr-defined]
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.scale * gradient, None  # type: ignore[attr-defined]


def reverse_gradient(tensor: Tensor, scale: float) -> Tensor:
    """``tensor`` itself; its gradient is multiplied by −scale."""
    reversed_: Tensor = ReverseGradient.apply(tensor, scale)  # type: ignore[no-untyped-call]
    return reversed_


@dataclass(frozen=True)
class Parts:
    """The representation of images.

    Attributes:
        shared: S, (B, C, 8, 8).
        exclusive: E, (B, width).
    """

    shared: Tensor
    exclusive: Tensor

    def __len__(self) -> int:
        return len(self.exclusive)

    def __getitem__(self, rows: Tensor | slice) -> Parts:
        return Parts(self.shared[rows], self.exclusive[rows])

    @classmethod
    def joined(cls, parts: Sequence[Parts]) -> Parts:
        """The rows of all, in order."""
        return cls(torch.cat([p.shared for p in parts]), torch.cat([p.exclusive for p in parts]))


class Encoder(nn.Module):
    """Encodes images of one domain; two parallel last layers give S (a convolution) and E (fully connected)."""

    def __init__(self, spec: TranslatorSpec, parts: RepresentationSpec, image: ImageSpec) -> None:
        super().__init__()
        widths = spec.widths(image)
        layers: list[nn.Module] = []
        channels = image.channels
        for i, width in enumerate(widths):
            layers.append(nn.Conv2d(channels, width, 4, 2, 1, bias=not i))
            layers += [nn.BatchNorm2d(width)] if i else []
            layers.append(nn.LeakyReLU(spec.slope))
            for _ in range(spec.extra):
                layers += [*_convolution(width), nn.LeakyReLU(spec.slope)]
            channels = width
        self.trunk = nn.Sequential(*layers)
        self.shared = nn.Sequential(nn.Conv2d(channels, parts.shared, 4, 2, 1, bias=False), nn.BatchNorm2d(parts.shared))
        # a standardisation takes off what a bias adds
        self.exclusive = nn.Linear(channels * (2 * SHARED_SIDE) ** 2, parts.exclusive, bias=not parts.standardised)
        self.standardisation = nn.BatchNorm1d(parts.exclusive, affine=False) if parts.standardised else None

    def forward(self, images: Tensor) -> Parts:
        """(B, C, s, s) in [-1, 1] → S (B, shared, 8, 8) and E (B, exclusive)."""
        maps: Tensor = self.trunk(images)
        exclusive: Tensor = self.exclusive(maps.flatten(1))
        return Parts(self.shared(maps), exclusive if self.standardisation is None else self.standardisation(exclusive))


class Decoder(nn.Module):
    """Decodes parts to images of one domain; an exclusive decoder has ``shared`` 0 and takes E alone. No skip connections."""

    def __init__(self, spec: TranslatorSpec, shared: int, exclusive: int, image: ImageSpec) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = shared + exclusive
        for i, width in enumerate(reversed(spec.widths(image))):
            layers += [nn.ReLU()] if i or spec.rectified else []
            layers += [*_doubled(spec, channels, width, bias=False), nn.BatchNorm2d(width)]
            for _ in range(spec.extra):
                layers += [nn.ReLU(), *_convolution(width)]
            layers += [nn.Dropout(spec.dropout)] if i < 2 and spec.dropout else []
            channels = width
        layers += [nn.ReLU(), *_doubled(spec, channels, image.channels, bias=True), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, exclusive: Tensor, shared: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        """Parts → images (B, C, s, s) in [-1, 1].

        Args:
            exclusive: E, (B, width).
            shared: S, (B, shared, 8, 8); None for an exclusive decoder.
            noise: (B, shared + width, 8, 8), added to the input in training.
        """
        tiled = exclusive[:, :, None, None].expand(-1, -1, SHARED_SIDE, SHARED_SIDE)
        x = tiled if shared is None else torch.cat([shared, tiled.to(shared.dtype)], 1)
        images: Tensor = self.layers(x if noise is None else x + noise)
        return images


@dataclass(frozen=True)
class Noises:
    """Random numbers of one pass of the translators, by the domain of the decoded image.

    Attributes:
        exclusive: z in place of E, (B, width), for translations; one for each direction.
        translation, reconstruction: added to the decoders' input, (B, shared + width, 8, 8); None is no noise.
    """

    exclusive: dict[str, Tensor]
    translation: dict[str, Tensor | None]
    reconstruction: dict[str, Tensor | None]


@dataclass(frozen=True)
class Translation:
    """The translators' outputs for one batch of pairs, by domain d; images are (B, C, s, s).

    Attributes:
        drawn: z, the noise in place of E in ``fake``, (B, width).
        parts: S and E of the real images of d.
        fake: images of d decoded from the other domain's S and z.
        fake_parts: S and E of ``fake``; empty if no loss needs them.
        rebuilt: images of d decoded from the other domain's S and their own E; empty if no loss needs them.
        excluded: images that the exclusive decoder of d decodes from the other domain's E; empty without such decoders.
    """

    drawn: dict[str, Tensor]
    parts: dict[str, Parts]
    fake: dict[str, Tensor]
    fake_parts: dict[str, Parts]
    rebuilt: dict[str, Tensor]
    excluded: dict[str, Tensor]


class Translators(nn.Module):
    """The player that learns to translate: encoders and decoders of both domains, and exclusive decoders.

    An exclusive decoder of one domain learns to rebuild its images from the other domain's E. E gets the reversed gradient, so
    that it loses what the domains share.
    """

    def __init__(
        self, spec: TranslatorSpec, parts: RepresentationSpec, image: ImageSpec, has_exclusive_decoders: bool = True
    ) -> None:
        super().__init__()
        halvings(image)  # refuses other sizes
        self.encoders = nn.ModuleDict({d: Encoder(spec, parts, image) for d in DOMAINS})
        self.decoders = nn.ModuleDict({d: Decoder(spec, parts.shared, parts.exclusive, image) for d in DOMAINS})
        exclusive = DOMAINS if has_exclusive_decoders else ()
        self.exclusive_decoders = nn.ModuleDict({d: Decoder(spec, 0, parts.exclusive, image) for d in exclusive})
        normal_weights(self, norms=True)
        for encoder in self.encoders.values():
            assert isinstance(encoder, Encoder)
            xavier_weights(encoder.exclusive)  # N(0, 0.02) over that many numbers begins five times wider than E's prior

    def encode(self, domain: str, images: Tensor) -> Parts:
        """Images (B, C, s, s) in [-1, 1] of one domain → S (B, shared, 8, 8) and E (B, exclusive)."""
        parts: Parts = self.encoders[domain](images)
        return parts

    def decode(self, domain: str, shared: Tensor, exclusive: Tensor) -> Tensor:
        """S (B, shared, 8, 8) and E (B, exclusive) → images (B, C, s, s) of one domain, without noise."""
        images: Tensor = self.decoders[domain](exclusive, shared)
        return images

    def forward(
        self, images: dict[str, Tensor], noises: Noises, reversal: float, encodes_again: bool, rebuilds: bool
    ) -> Translation:
        """All outputs that losses need.

        Args:
            images: (B, C, s, s) of each domain; rows are pairs.
            reversal: scale of the reversed gradient.
            encodes_again: compute ``fake_parts``.
            rebuilds: compute ``rebuilt``.
        """
        parts = {d: self.encode(d, images[d]) for d in DOMAINS}
        shared = {d: parts[OTHER[d]].shared for d in DOMAINS}
        fake = {d: self.decoders[d](noises.exclusive[d], shared[d], noises.translation[d]) for d in DOMAINS}
        fake_parts = {}
        if encodes_again:
            with kept_statistics(self.encoders):
                fake_parts = {d: self.encode(d, fake[d]) for d in DOMAINS}
        rebuilt = {}
        if rebuilds:
            rebuilt = {d: self.decoders[d](parts[d].exclusive, shared[d], noises.reconstruction[d]) for d in DOMAINS}
        excluded = {
            d: decoder(reverse_gradient(parts[OTHER[d]].exclusive, reversal)) for d, decoder in self.exclusive_decoders.items()
        }
        return Translation(noises.exclusive, parts, fake, fake_parts, rebuilt, excluded)


def _doubled(spec: TranslatorSpec, channels: int, width: int, bias: bool) -> list[nn.Module]:
    """Layers that double height and width of maps."""
    if spec.upsampling == "resized":
        return [nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(channels, width, 3, 1, 1, bias=bias)]
    return [nn.ConvTranspose2d(channels, width, 4, 2, 1, bias=bias)]


def _convolution(channels: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)]
