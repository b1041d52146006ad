"""Pix2pix's networks (Isola et al., CVPR 2017, section 6.1): the U-Net that translates, and the PatchGAN discriminator.

All convolutions are 4×4. Layers before a batch norm have no bias: the norm subtracts it again. The smallest map has no batch
norm, as in the authors' code: where it is 1×1, statistics of a batch of one image would make it zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unbraid.models.image_spec import ImageSpec
from unbraid.models.initialisation import normal_weights
from unbraid.models.pix2pix.specs import DiscriminatorSpec, GeneratorSpec
from unbraid.models.random import RandomSource


class Generator(nn.Module):
    """Translates images by a U-Net: each map of the encoder is joined to the decoder's map of its size.

    Dropout is not a layer here: its masks are an input, as noise is, so that they come from seeded generators.

    Attributes:
        mask_shapes: (C, h, w) of the maps that dropout is for, from the smallest on.
    """

    def __init__(self, spec: GeneratorSpec, image: ImageSpec) -> None:
        super().__init__()
        self.slope, self.dropout = spec.slope, spec.dropout
        widths = spec.widths(image)
        self.encoder = nn.ModuleList()
        channels = image.channels
        for i, width in enumerate(widths):
            has_norm = 0 < i < len(widths) - 1
            norm = [nn.BatchNorm2d(width)] if has_norm else []
            self.encoder.append(nn.Sequential(nn.Conv2d(channels, width, 4, 2, 1, bias=not has_norm), *norm))
            channels = width
        self.decoder = nn.ModuleList()
        for width in reversed(widths[:-1]):
            layer = nn.ConvTranspose2d(channels, width, 4, 2, 1, bias=False)
            self.decoder.append(nn.Sequential(layer, nn.BatchNorm2d(width)))
            channels = 2 * width
        self.image = nn.ConvTranspose2d(channels, image.channels, 4, 2, 1)
        depths = range(len(widths) - 1, 0, -1)
        self.mask_shapes = [(widths[i - 1], image.height >> i, image.width >> i) for i in depths][: spec.dropped]
        if not spec.dropout:
            self.mask_shapes = []
        normal_weights(self, norms=True)

    def draw_masks(self, source: RandomSource, batch: int) -> list[Tensor]:
        """Draw dropout's masks, (B, C, h, w) for each of ``mask_shapes``: 0, or 1 / (1 − p) where a number is kept."""
        return [
            (source.uniform(batch, *shape) >= self.dropout).float() / (1 - self.dropout) for shape in self.mask_shapes
        ]  # fmt: skip

    def encode(self, images: Tensor) -> list[Tensor]:
        """Images (B, C, H, W) in [-1, 1] → the encoder's maps, each of half the sides of the one before."""
        maps: list[Tensor] = []
        x = images
        for i, layer in enumerate(self.encoder):
            x = layer(F.leaky_relu(x, self.slope) if i else x)
            maps.append(x)
        return maps

    def forward(self, images: Tensor, masks: Sequence[Tensor]) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] of one domain → of the other.

        Args:
            masks: see :meth:`draw_masks`.
        """
        *kept, x = self.encode(images)
        for i, (layer, joined) in enumerate(zip(self.decoder, reversed(kept), strict=True)):
            x = layer(F.relu(x))
            x = x * masks[i].to(x.dtype) if i < len(masks) else x
            x = torch.cat([x, joined], 1)
        return torch.tanh(self.image(F.relu(x)))


class Discriminator(nn.Module):
    """Judges patches of pairs: of the image that is translated, and of a real or a fake image of the other domain."""

    def __init__(self, spec: DiscriminatorSpec, image: ImageSpec) -> None:
        super().__init__()
        spec.patches(image)  # refuses other sizes
        channels = 2 * image.channels
        layers: list[nn.Module] = []
        for i, width in enumerate(spec.channels):
            stride = 1 if i == len(spec.channels) - 1 else 2
            layers += [nn.Conv2d(channels, width, 4, stride, 1, bias=not i)]
            layers += [nn.BatchNorm2d(width)] if i else []
            layers.append(nn.LeakyReLU(spec.slope))
            channels = width
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, 4, 1, 1))
        normal_weights(self, norms=True)

    def logits(self, given: Tensor, images: Tensor) -> Tensor:
        """Images (B, C, H, W) that are translated, and images of the other domain → logits (B, patches)."""
        logits: Tensor = self.layers(torch.cat([given, images.to(given.dtype)], 1))
        return logits.flatten(1)

    def forward(self, given: Tensor, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) each → logits (B, patches) of real and of fake pairs, each with batch statistics of their own."""
        return self.logits(given, real), self.logits(given, fake)
