"""InfoGAN's networks (Chen et al., NIPS 2016, appendix C): the generator, the trunk that D and Q share, and their heads.

Layers before a batch norm have no bias: the norm subtracts it again, and Adam would turn its rounding errors into steps.
"""

import torch
from torch import Tensor, nn

from unbraid.models.image_spec import ImageSpec
from unbraid.models.infogan.specs import CodeSpec, GeneratorSpec, LayerSpec, TrunkSpec
from unbraid.models.initialisation import normal_weights
from unbraid.models.normalization import NORMS


class Generator(nn.Module):
    """Generates images in [0, 1] (sigmoid) or [-1, 1] (tanh) from latents."""

    def __init__(self, spec: GeneratorSpec, codes: CodeSpec, image: ImageSpec) -> None:
        super().__init__()
        self.latent_width = codes.latent_width
        self.start = (spec.start_channels, *image.divided(spec.upsampling, "the generator"))
        width = self.latent_width
        fully_connected: list[nn.Module] = []
        for out in [spec.hidden, self.start[0] * self.start[1] * self.start[2]]:
            if out is not None:
                fully_connected += [nn.Linear(width, out, bias=False), nn.BatchNorm1d(out), nn.ReLU(inplace=True)]
                width = out
        self.fully_connected = nn.Sequential(*fully_connected)
        channels = spec.start_channels
        layers: list[nn.Module] = []
        for layer in spec.layers:
            layers += _up(channels, layer)
            channels = layer.channels
        layers.append(nn.ConvTranspose2d(channels, image.channels, 4, 2, 1))
        layers.append(nn.Sigmoid() if spec.output == "sigmoid" else nn.Tanh())
        self.layers = nn.Sequential(*layers)
        normal_weights(self)

    def forward(self, latent: Tensor) -> Tensor:
        """(B, latent_width) → images (B, C, H, W).

        Raises:
            ValueError: when latents have another shape.
        """
        if latent.ndim != 2 or latent.shape[1] != self.latent_width:
            raise ValueError(f"the generator takes (B, {self.latent_width}) latents, got {tuple(latent.shape)}")
        x: Tensor = self.fully_connected(latent)
        image: Tensor = self.layers(x.view(-1, *self.start))
        return image


class Trunk(nn.Module):
    """The layers that D and Q share."""

    def __init__(self, spec: TrunkSpec, image: ImageSpec) -> None:
        super().__init__()
        self.image = image
        height, width = image.divided(spec.downsampling, "the trunk")
        channels = image.channels
        layers: list[nn.Module] = []
        for layer in spec.layers:
            layers += _down(channels, layer, spec.slope)
            channels = layer.channels
        layers.append(nn.Flatten())
        self.width = channels * height * width
        if spec.hidden is not None:
            layers += [
                nn.Linear(self.width, spec.hidden, bias=False),
                nn.BatchNorm1d(spec.hidden),
                nn.LeakyReLU(spec.slope, inplace=True),
            ]
            self.width = spec.hidden
        self.layers = nn.Sequential(*layers)
        normal_weights(self)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) → features (B, width).

        Raises:
            ValueError: when images have another shape.
        """
        if image.ndim != 4 or tuple(image.shape[1:]) != self.image.shape:
            raise ValueError(f"the trunk takes (B, {', '.join(map(str, self.image.shape))}) images, got {tuple(image.shape)}")
        features: Tensor = self.layers(image)
        return features

    def forward_pair(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) each → features (B, width) each, as two calls of :meth:`forward` give them, in less time.

        Convolutions and matrix products run once on both, which uses the processor better and computes one weight gradient
        instead of two and their sum. Each half is normalised by its own statistics.
        """
        x = torch.cat([real, fake])
        for layer in self.layers:
            if isinstance(layer, NORMS):
                of_real, of_fake = x.split([len(real), len(fake)])
                x = torch.cat([layer(of_real), layer(of_fake)])
            else:
                x = layer(x)
        of_real, of_fake = x.split([len(real), len(fake)])
        return of_real, of_fake


class QHead(nn.Module):
    """Predicts the parameters of Q(c | x), see :func:`unbraid.models.infogan.codes.split_head`."""

    def __init__(self, spec: TrunkSpec, codes: CodeSpec, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, spec.q_hidden, bias=False),
            nn.BatchNorm1d(spec.q_hidden),
            nn.LeakyReLU(spec.slope, inplace=True),
            nn.Linear(spec.q_hidden, codes.head_width),
        )
        normal_weights(self)

    def forward(self, features: Tensor) -> Tensor:
        """(B, width) → (B, head_width)."""
        head: Tensor = self.layers(features)
        return head


class Discriminator(nn.Module):
    """D and Q in one module, which is the player against G: a shared trunk, and a head for each.

    Attributes:
        head: of D, features (B, width) → (B, 1).
        q_head: of Q, features (B, width) → (B, head_width).
    """

    def __init__(self, spec: TrunkSpec, codes: CodeSpec, image: ImageSpec) -> None:
        super().__init__()
        self.trunk = Trunk(spec, image)
        self.head = nn.Linear(self.trunk.width, 1)
        normal_weights(self.head)
        self.q_head = QHead(spec, codes, self.trunk.width)

    def forward(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images (B, C, H, W) → D's logits of real and of fake ones (B,), Q's parameters of fake ones (B, head_width)."""
        of_real, of_fake = self.trunk.forward_pair(real, fake)
        return self.head(of_real).squeeze(1), self.head(of_fake).squeeze(1), self.q_head(of_fake)

    def forward_fake(self, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Generated images (B, C, H, W) → D's logits (B,) and Q's parameters (B, head_width), for G's loss."""
        features = self.trunk(fake)
        return self.head(features).squeeze(1), self.q_head(features)

    def q(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) → Q's parameters (B, head_width)."""
        parameters: Tensor = self.q_head(self.trunk(images))
        return parameters


def _up(channels: int, layer: LayerSpec) -> list[nn.Module]:
    before, after = layer.padding
    # a transposed convolution crops its result by its padding, the same on both sides; the surplus is cropped here
    surplus: list[nn.Module] = [nn.ZeroPad2d((0, before - after, 0, before - after))] if after > before else []
    norm: list[nn.Module] = [nn.BatchNorm2d(layer.channels)] if layer.norm else []
    return [
        nn.ConvTranspose2d(channels, layer.channels, layer.kernel, layer.stride, before, bias=not layer.norm),
        *surplus,
        *norm,
        nn.ReLU(inplace=True),
    ]


def _down(channels: int, layer: LayerSpec, slope: float) -> list[nn.Module]:
    before, after = layer.padding
    surplus: list[nn.Module] = [nn.ZeroPad2d((0, after - before, 0, after - before))] if after > before else []
    norm: list[nn.Module] = [nn.BatchNorm2d(layer.channels)] if layer.norm else []
    return [
        *surplus,
        nn.Conv2d(channels, layer.channels, layer.kernel, layer.stride, before, bias=not layer.norm),
        *norm,
        nn.LeakyReLU(slope, inplace=True),
    ]
