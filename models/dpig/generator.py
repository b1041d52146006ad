"""DPIG's networks of stage I (Ma et al., CVPR 2018): encoder of appearance, decoder of appearance and pose, discriminator.

Convolutions are 3×3, but for the 1×1 ones after each upsampling, and have ReLU; embeddings and the image itself are linear.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unbraid.models.dpig.pose import KEYPOINTS, body_mask, crop_regions, heat_maps, region_boxes
from unbraid.models.dpig.specs import DecoderSpec, DiscriminatorSpec, DrawingSpec, EncoderSpec
from unbraid.models.image_spec import ImageSpec
from unbraid.models.initialisation import xavier_weights

Change = Callable[[Tensor], Tensor]
"""Changes feature maps (B, C, H, W)."""


class ResidualBlock(nn.Module):
    """Two convolutions with a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, 1, 1)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, H, W)."""
        return x + F.relu(self.second(F.relu(self.first(x))))


class Pyramid(nn.Module):
    """Residual blocks k = 1…R of n·k channels; a convolution of stride 2 before each but the first halves the image."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(channels * k) for k in range(1, blocks + 1))
        self.halvings = nn.ModuleList(nn.Conv2d(channels * k, channels * (k + 1), 3, 2, 1) for k in range(1, blocks))

    def forward(self, x: Tensor, changes: Sequence[Change] = ()) -> list[Tensor]:
        """(B, n, H, W) → the output of each block, (B, n·k, H / 2^(k−1), W / 2^(k−1)), sizes rounded up.

        Args:
            changes: one for each block's input; empty changes nothing.
        """
        kept: list[Tensor] = []
        for i, block in enumerate(self.blocks):
            if i:
                x = F.relu(self.halvings[i - 1](kept[-1]))
            kept.append(block(changes[i](x) if changes else x))
        return kept


class Modulation(nn.Module):
    """Scales and shifts channels of feature maps by vectors, each within its mask (FiLM; Perez et al., AAAI 2018).

    With the first weights, which are 0, it changes nothing.

    Args:
        widths: lengths of the vectors.
        channels: of the maps.
    """

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(width, 2 * channels) for width in widths)

    def forward(self, maps: Tensor, vectors: Sequence[Tensor], masks: Sequence[Tensor | None]) -> Tensor:
        """(B, C, H, W) → (B, C, H, W).

        Args:
            vectors: (B, width) each.
            masks: one for each vector, (B, 1, H', W') in [0, 1], H' and W' multiples of H and W; None is everywhere.
        """
        scale, shift = 1.0, 0.0
        for linear, vector, mask in zip(self.linears, vectors, masks, strict=True):
            mine, added = linear(vector)[:, :, None, None].chunk(2, 1)
            where = 1.0 if mask is None else F.adaptive_avg_pool2d(mask, (maps.shape[2], maps.shape[3]))
            scale, shift = scale + where * mine, shift + where * added
        return maps * scale + shift


class Branch(nn.Module):
    """Encodes feature maps by a pyramid and a linear layer on its last, flattened map."""

    def __init__(self, channels: int, blocks: int, size: tuple[int, int], width: int) -> None:
        super().__init__()
        self.pyramid = Pyramid(channels, blocks)
        height, columns = halved(size, blocks - 1)
        self.linear = nn.Linear(channels * blocks * height * columns, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, H, W) → embedding (B, width)."""
        embedding: Tensor = self.linear(self.pyramid(x)[-1].flatten(1))
        return embedding


class AppearanceEncoder(nn.Module):
    """DPIG's encoder of appearance: a shared stem and two branches.

    The foreground branch encodes 7 body regions, cut out of the masked features, with the same weights. The background branch
    encodes the features under the inverse mask; without it the background's embedding has the length 0.
    """

    def __init__(self, spec: EncoderSpec, drawing: DrawingSpec, image: ImageSpec) -> None:
        super().__init__()
        self.spec, self.drawing, self.size = spec, drawing, (image.height, image.width)
        self.stem = nn.Sequential(nn.Conv2d(image.channels, spec.channels, 3, 1, 1), nn.ReLU(), ResidualBlock(spec.channels))
        width = spec.region if spec.kind == "factored" else spec.foreground
        self.foreground = Branch(spec.channels, spec.region_blocks, (spec.crop, spec.crop), width)
        has_background = spec.background > 0
        self.background = Branch(spec.channels, spec.blocks, self.size, spec.background) if has_background else None
        initialise(self)

    def forward(self, images: Tensor, keypoints: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W) and keypoints (B, 18, 3) → foreground (B, 7·region) and background (B, background)."""
        features: Tensor = self.stem(images)
        if self.spec.kind == "plain":
            resized = F.interpolate(features, (self.spec.crop, self.spec.crop), mode="bilinear", align_corners=True)
            return self._pair(self.foreground(resized), features)
        drawing, of_person, of_rest = self.drawing, features, features
        if self.spec.masked:
            mask = body_mask(keypoints, self.size, drawing.mask_radius, drawing.closing).to(features.dtype)
            of_person, of_rest = features * mask, features * (1 - mask)
        boxes, visible = region_boxes(keypoints, self.size, drawing.region_margin, drawing.lone_margin)
        crops = crop_regions(of_person, boxes, self.spec.crop)
        regions = self.foreground(crops).view(len(images), -1, self.spec.region) * visible[:, :, None]
        return self._pair(regions.flatten(1), of_rest)

    def _pair(self, foreground: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """The foreground's embedding, and the background's of features (B, n, H, W): (B, 0) where there is no such branch."""
        if self.background is None:
            return foreground, foreground.new_zeros(len(foreground), 0)
        return foreground, self.background(features)


class TiledConvolution(nn.Module):
    """A 3×3 convolution of maps and a vector tiled over the image, computed without tiling.

    Over constant maps a convolution is a matrix product for each of its 9 taps, added at the pixels where that tap lies inside
    of the image. The results are the same, for 1 / (H·W) of the arithmetic.

    Attributes:
        inside: (9, H·W), 1 where a tap lies inside of the image.
    """

    inside: Tensor

    def __init__(self, vector: int, maps: int, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.maps = nn.Conv2d(maps, channels, 3, 1, 1)
        self.vector = nn.Parameter(torch.empty(channels, vector, 3, 3))
        inside = F.unfold(torch.ones(1, 1, *size), 3, padding=1).view(9, -1)
        self.register_buffer("inside", inside, persistent=False)

    def forward(self, vector: Tensor, maps: Tensor) -> Tensor:
        """Vector (B, V) and maps (B, M, H, W) → (B, channels, H, W)."""
        taps = F.linear(vector, self.vector.permute(0, 2, 3, 1).flatten(0, 2))
        spread = taps.view(-1, 9) @ self.inside.to(taps.dtype)
        convolved: Tensor = self.maps(maps)
        return convolved + spread.view(convolved.shape)


class UNet(nn.Module):
    """A pyramid down to a bottleneck and up again, where each level also gets what the pyramid kept of it.

    Args:
        first: makes feature maps (B, channels, H, W) of what the network takes.
        channels, blocks, bottleneck, rectified: see :class:`unbraid.models.dpig.specs.DecoderSpec`.
        image: that is made.

    Attributes:
        widths: channels of each block's input, on the way down and up.
    """

    def __init__(
        self, first: nn.Module, channels: int, blocks: int, bottleneck: int, rectified: bool, image: ImageSpec
    ) -> None:
        super().__init__()
        self.size = (image.height, image.width)
        self.first = first
        self.pyramid = Pyramid(channels, blocks)
        self.smallest = (channels, *halved(self.size, blocks - 1))
        flat = self.smallest[1] * self.smallest[2]
        self.squeeze = nn.Linear(channels * blocks * flat, bottleneck)
        self.widen = nn.Linear(bottleneck, channels * flat)
        self.ascent = nn.ModuleList()
        self.narrowing = nn.ModuleList()
        self.widths = [channels * level for level in range(1, blocks + 1)]
        below = channels
        for level in range(blocks, 0, -1):
            joined = below + channels * level
            self.ascent.append(ResidualBlock(joined))
            self.widths.append(joined)
            below = channels * max(level - 1, 1)
            if level > 1:
                activation = nn.ReLU() if rectified else nn.Identity()
                self.narrowing.append(nn.Sequential(nn.Conv2d(joined, below, 1), activation))
        self.last = nn.Conv2d(joined, image.channels, 3, 1, 1)

    def drawn(self, features: Tensor, changes: Sequence[Change] = ()) -> Tensor:
        """What ``first`` has made (B, channels, H, W) → images (B, 3, H, W).

        Args:
            changes: one for each block's input, on the way down and up; empty changes nothing.
        """
        kept = self.pyramid(F.relu(features), changes[: len(self.ascent)])
        x: Tensor = self.widen(self.squeeze(kept[-1].flatten(1))).view(-1, *self.smallest)
        for i, (block, features) in enumerate(zip(self.ascent, reversed(kept), strict=True)):
            x = torch.cat([x, features], 1)
            x = block(changes[len(self.ascent) + i](x) if changes else x)
            if i < len(self.narrowing):
                x = self.narrowing[i](F.interpolate(x, scale_factor=2, mode="nearest"))
        images: Tensor = self.last(x)
        return images


class Decoder(UNet):
    """DPIG's decoder: a U-Net over heat-maps of the pose and the tiled embeddings of appearance."""

    first: TiledConvolution

    def __init__(self, spec: DecoderSpec, encoder: EncoderSpec, drawing: DrawingSpec, image: ImageSpec) -> None:
        appearance = encoder.foreground + encoder.background
        first = TiledConvolution(appearance, KEYPOINTS, spec.channels, (image.height, image.width))
        super().__init__(first, spec.channels, spec.blocks, spec.bottleneck, spec.rectified, image)
        self.drawing = drawing
        self.is_factored = spec.kind == "factored" and encoder.background > 0
        vectors = (encoder.foreground, encoder.background) if self.is_factored else (appearance,)
        modulated = self.widths if spec.conditioning == "modulated" else []
        self.modulations = nn.ModuleList(Modulation(vectors, width) for width in modulated)
        initialise(self)

    def forward(self, foreground: Tensor, background: Tensor, keypoints: Tensor) -> Tensor:
        """Foreground (B, 7·region), background (B, background) and keypoints (B, 18, 3) → images (B, 3, H, W)."""
        heat = heat_maps(keypoints, self.size, self.drawing.heat_radius).to(foreground.dtype)
        features = self.first(torch.cat([foreground, background], 1), heat)
        return self.drawn(features, self._changes(foreground, background, keypoints))

    def _changes(self, foreground: Tensor, background: Tensor, keypoints: Tensor) -> list[Change]:
        """The modulation of every block's input by the embeddings; empty if ``conditioning`` is ``tiled``."""
        if not len(self.modulations):
            return []
        vectors: list[Tensor] = [torch.cat([foreground, background], 1)]
        masks: list[Tensor | None] = [None]
        if self.is_factored:
            mask = body_mask(keypoints, self.size, self.drawing.mask_radius, self.drawing.closing).to(foreground.dtype)
            vectors, masks = [foreground, background], [mask, 1 - mask]
        return [partial(modulation, vectors=vectors, masks=masks) for modulation in self.modulations]


class Generator(nn.Module):
    """The player of stage I: encoder and decoder as one module."""

    def __init__(self, encoder: EncoderSpec, decoder: DecoderSpec, drawing: DrawingSpec, image: ImageSpec) -> None:
        super().__init__()
        self.encoder = AppearanceEncoder(encoder, drawing, image)
        self.decoder = Decoder(decoder, encoder, drawing, image)

    def forward(self, images: Tensor, keypoints: Tensor) -> Tensor:
        """Images (B, 3, H, W) and keypoints (B, 18, 3) → the images rebuilt from their embeddings (B, 3, H, W)."""
        foreground, background = self.encoder(images, keypoints)
        rebuilt: Tensor = self.decoder(foreground, background, keypoints)
        return rebuilt


class Discriminator(nn.Module):
    """DCGAN's discriminator (Radford et al., 2016) with 5×5 kernels."""

    def __init__(self, spec: DiscriminatorSpec, image: ImageSpec) -> None:
        super().__init__()
        self.is_joint = spec.statistics == "joint"
        channels, layers = image.channels, nn.ModuleList()
        for i, out in enumerate(spec.channels):
            norm: list[nn.Module] = [nn.BatchNorm2d(out)] if i else []
            layers.append(nn.Sequential(nn.Conv2d(channels, out, 5, 2, 2, bias=not i), *norm, nn.LeakyReLU(spec.slope)))
            channels = out
        self.layers = nn.Sequential(*layers)
        height, width = halved((image.height, image.width), len(spec.channels))
        self.linear = nn.Linear(channels * height * width, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.02)

    def logits(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) → logits (B,)."""
        logits: Tensor = self.linear(self.layers(images).flatten(1))
        return logits.squeeze(1)

    def forward(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W) each → logits of real and of rebuilt ones (B,)."""
        if not self.is_joint:
            return self.logits(real), self.logits(fake)
        of_real, of_fake = self.logits(torch.cat([real, fake])).split([len(real), len(fake)])
        return of_real, of_fake

    def forward_fake(self, real: Tensor, fake: Tensor) -> Tensor:
        """The logits of rebuilt images (B,) alone, for the generator's loss; real ones count where statistics are joint."""
        return self(real, fake)[1] if self.is_joint else self.logits(fake)


def halved(size: tuple[int, int], times: int) -> tuple[int, int]:
    """Height and width after ``times`` convolutions of stride 2, which round up."""
    height, width = size
    for _ in range(times):
        height, width = (height + 1) // 2, (width + 1) // 2
    return height, width


@torch.no_grad()
def initialise(network: nn.Module) -> None:
    """Xavier's weights everywhere but in modulations, which start at 0."""
    xavier_weights(network)
    for module in network.modules():
        if isinstance(module, TiledConvolution):  # its weight is one convolution's, in two parts
            joined = torch.empty(module.vector.shape[0], module.vector.shape[1] + KEYPOINTS, 3, 3, device=module.vector.device)
            nn.init.xavier_uniform_(joined)
            module.vector.copy_(joined[:, : module.vector.shape[1]])
            module.maps.weight.copy_(joined[:, module.vector.shape[1] :])
        elif isinstance(module, Modulation):
            for weight in module.parameters():
                nn.init.zeros_(weight)
