"""A conditional auto-encoder: the number of strokes is given to the decoder, so that the code need not hold it."""

import torch
from torch import Tensor, nn

from unbraid.models.image_spec import ImageSpec
from unbraid.models.tally.specs import AutoencoderSpec


class Autoencoder(nn.Module):
    """Images (B, C, H, W) in [-1, 1] and counts (B,) → images (B, C, H, W) and style (B, style)."""

    def __init__(self, spec: AutoencoderSpec, image: ImageSpec) -> None:
        super().__init__()
        self.image = image
        pixels = image.channels * image.height * image.width
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(pixels, spec.hidden), nn.ReLU(), nn.Linear(spec.hidden, spec.style)
        )
        self.counts = nn.Embedding(spec.counts, spec.hidden)
        self.style = nn.Linear(spec.style, spec.hidden)
        self.decoder = nn.Sequential(nn.ReLU(), nn.Linear(spec.hidden, pixels), nn.Tanh())

    def forward(self, images: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        style = self.encode(images)
        return self.decode(style, counts), style

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) → style (B, style)."""
        style: Tensor = self.encoder(images)
        return style

    def decode(self, style: Tensor, counts: Tensor) -> Tensor:
        """Style (B, style) and counts (B,) → images (B, C, H, W)."""
        pixels: Tensor = self.decoder(self.style(style) + self.counts(counts))
        return torch.unflatten(pixels, 1, self.image.shape)
