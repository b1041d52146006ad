"""The generator of PG², pose-guided person generation without embeddings (Ma et al., NIPS 2017)."""

import torch
from torch import Tensor, nn

from unbraid.models.dpig.generator import UNet, initialise
from unbraid.models.dpig.pose import KEYPOINTS, heat_maps
from unbraid.models.dpig.specs import DrawingSpec, PosedSpec
from unbraid.models.image_spec import ImageSpec


class PosedGenerator(UNet):
    """A U-Net over a person's image and the heat-maps of another pose, without an embedding of appearance."""

    def __init__(self, spec: PosedSpec, drawing: DrawingSpec, image: ImageSpec) -> None:
        first = nn.Conv2d(image.channels + KEYPOINTS, spec.channels, 3, 1, 1)
        super().__init__(first, spec.channels, spec.blocks, spec.bottleneck, spec.rectified, image)
        self.drawing = drawing
        initialise(self)

    def forward(self, images: Tensor, keypoints: Tensor) -> Tensor:
        """Images (B, 3, H, W) and the keypoints of the wanted poses (B, 18, 3) → these people in these poses (B, 3, H, W)."""
        heat = heat_maps(keypoints, self.size, self.drawing.heat_radius).to(images.dtype)
        return self.drawn(self.first(torch.cat([images, heat], 1)))
