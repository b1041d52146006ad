"""Sizes of DPIG's networks, as numbers only: nothing here imports torch, see :mod:`unbraid.models.infogan.specs`."""

from dataclasses import dataclass
from typing import Literal

EncoderKind = Literal["factored", "plain"]
Conditioning = Literal["tiled", "modulated"]
FACTORS = ("foreground", "background", "pose")
REGION_COUNT = 7


@dataclass(frozen=True)
class DrawingSpec:
    """How keypoints become maps, in pixels.

    Attributes:
        heat_radius: of the disc of each keypoint.
        mask_radius: of the limbs of the body mask; ``closing`` is the side of the square that closes its gaps.
        region_margin: by which a region's box is larger than its keypoints; ``lone_margin`` where it has one only.
    """

    heat_radius: float = 4.0
    mask_radius: float = 6.0
    closing: int = 5
    region_margin: float = 6.0
    lone_margin: float = 10.0

    def __post_init__(self) -> None:
        if self.closing < 1 or self.closing % 2 == 0:
            raise ValueError(f"closing must be odd, got {self.closing}")
        if min(self.heat_radius, self.mask_radius, self.region_margin, self.lone_margin) <= 0:
            raise ValueError("radii and margins must be larger than 0 pixels")


@dataclass(frozen=True)
class EncoderSpec:
    """Image and keypoints → appearance: 7 regions and the background.

    Attributes:
        kind: ``factored`` is DPIG's: regions cut out of the masked stem, and the background under the inverse mask.
            ``plain`` has the same layers, but both branches see the whole image: a conditional auto-encoder, the control.
        channels: n of the stem, and n·k of residual block k.
        blocks: of the background branch, R in the paper; ``region_blocks`` of the branch that the regions share.
        crop: side of the square to which regions are resized.
        region, background: lengths of the embedding of one region, and of the background.
    """

    kind: EncoderKind = "factored"
    channels: int = 128
    blocks: int = 5
    region_blocks: int = 5
    crop: int = 48
    region: int = 32
    background: int = 128

    @property
    def foreground(self) -> int:
        """Length of the foreground's embedding."""
        return REGION_COUNT * self.region


@dataclass(frozen=True)
class DecoderSpec:
    """The U-Net that paints.

    Attributes:
        channels, blocks: n and R.
        bottleneck: width of its fully connected layer.
        conditioning: ``tiled`` is the paper's: appearance enters as a map beside the heat-maps, through n channels.
            ``modulated`` also scales and shifts the input of every block by it (FiLM, Perez et al., AAAI 2018): for a small n,
            which 350 numbers do not pass through. A factored encoder's foreground does so within the body mask of the pose,
            its background outside; a plain one's whole embedding does so everywhere.
    """

    channels: int = 128
    blocks: int = 5
    bottleneck: int = 64
    conditioning: Conditioning = "tiled"


@dataclass(frozen=True)
class DiscriminatorSpec:
    """DCGAN's discriminator: 5×5 convolutions of stride 2 with these channels, all but the first with batch norm."""

    channels: tuple[int, ...] = (64, 128, 256, 512)
    slope: float = 0.2


@dataclass(frozen=True)
class PoseSpec:
    """The pose auto-encoder: fully connected layers of ``hidden`` units, ``pairs`` of them residual, ``embedding`` between."""

    hidden: int = 512
    pairs: int = 4
    embedding: int = 32
    slope: float = 0.3


@dataclass(frozen=True)
class MappingSpec:
    """One mapping Φ from noise to an embedding, and its critic.

    Attributes:
        hidden: units of Φ's layers; ``pairs`` of them are residual.
        critic_hidden, critic_layers: of the critic.
    """

    hidden: int = 512
    pairs: int = 4
    critic_hidden: int = 512
    critic_layers: int = 4
    slope: float = 0.3
