"""Sizes of DPIG's networks, as numbers only: nothing here imports torch, see :mod:`unbraid.models.infogan.specs`."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["factored", "plain"]
"""Of an encoder or a decoder: DPIG's, or its control without factors."""
Conditioning = Literal["tiled", "modulated"]
Statistics = Literal["joint", "each"]
FACTORS = ("foreground", "background", "pose")
REGION_COUNT = 7


@dataclass(frozen=True)
class DrawingSpec:
    """How keypoints become maps, in pixels.

    Attributes:
        heat_radius: of the disc of each keypoint.
        mask_radius: of the limbs of the body mask; the mask that the reference code calls r6 has 7. ``closing`` is the side of
            the square that closes the mask's gaps.
        region_margin: by which a region's box exceeds its keypoints; ``lone_margin`` where it has only one keypoint.
    """

    heat_radius: float = 4.0
    mask_radius: float = 7.0
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
    """Encoder of appearance: image and keypoints → embeddings of 7 regions and the background.

    Attributes:
        kind: ``factored`` is DPIG's: regions are cut out of the masked features, the background has the inverse mask.
            ``plain`` has the same layers, but both branches take the whole image: the control.
        channels: n; the stem has n channels, residual block k has n·k.
        blocks: of the background branch, R in the paper; ``region_blocks`` of the branch that the regions share.
        crop: side of the square to which regions are resized.
        region, background: lengths of the embedding of one region, and of the background; a background of 0 leaves its branch
            out, as is published for DeepFashion. People then have two factors, foreground and pose.
        masked: whether the factored branches see features under the body mask and under its inverse; without, both see all
            features, as is published for DeepFashion.
    """

    kind: Kind = "factored"
    channels: int = 128
    blocks: int = 5
    region_blocks: int = 5
    crop: int = 48
    region: int = 32
    background: int = 128
    masked: bool = True

    def __post_init__(self) -> None:
        if self.background < 0:
            raise ValueError(f"background must not be negative, got {self.background}; 0 leaves its branch out")

    @property
    def factors(self) -> tuple[str, ...]:
        """The factors that images are taken apart into."""
        return FACTORS if self.background else ("foreground", "pose")

    @property
    def foreground(self) -> int:
        """Length of the foreground's embedding."""
        return REGION_COUNT * self.region


@dataclass(frozen=True)
class DecoderSpec:
    """Decoder of appearance and pose: a U-Net.

    Attributes:
        channels, blocks: n and R, as in the encoder.
        bottleneck: width of the fully connected layer between descent and ascent.
        conditioning: ``tiled`` is the paper's: appearance enters as constant maps beside the heat-maps, through n channels.
            ``modulated`` also scales and shifts the input of every block (FiLM, Perez et al., AAAI 2018), because few channels
            do not carry an embedding of 350 numbers.
        rectified: a ReLU after the 1×1 convolution that follows each upsampling, as in the paper.
        kind: where ``modulated`` conditioning acts. ``factored``: the foreground within the pose's body mask, the background
            outside of it. ``plain``: both everywhere, the control. ``tiled`` conditioning is the same for both.
    """

    channels: int = 128
    blocks: int = 5
    bottleneck: int = 64
    conditioning: Conditioning = "tiled"
    kind: Kind = "factored"
    rectified: bool = True


@dataclass(frozen=True)
class PosedSpec:
    """Generator of PG², the baseline without embeddings: the U-Net of :class:`DecoderSpec` over an image and heat-maps.

    Attributes:
        channels, blocks, bottleneck, rectified: as of :class:`DecoderSpec`.
    """

    channels: int = 128
    blocks: int = 5
    bottleneck: int = 64
    rectified: bool = True


@dataclass(frozen=True)
class DiscriminatorSpec:
    """DCGAN's discriminator: 5×5 convolutions of stride 2, all but the first with batch norm.

    Attributes:
        channels: of the convolutions.
        slope: of the leaky ReLU.
        statistics: of batch norm. ``joint``, of real and rebuilt images together, is the reference code's, which takes both as
            one batch in the generator's update too; ``each`` has those of its own kind only.
    """

    channels: tuple[int, ...] = (64, 128, 256, 512)
    slope: float = 0.2
    statistics: Statistics = "joint"


@dataclass(frozen=True)
class PoseSpec:
    """Pose auto-encoder.

    Attributes:
        hidden: units of the fully connected layers.
        pairs: residual pairs of layers in the encoder, and in the decoder.
        embedding: length of the pose's embedding.
        slope: of the leaky ReLU.
    """

    hidden: int = 512
    pairs: int = 4
    embedding: int = 32
    slope: float = 0.3


@dataclass(frozen=True)
class MappingSpec:
    """One mapping Φ from noise to an embedding, and its critic.

    Attributes:
        hidden: units of Φ's fully connected layers.
        pairs: residual pairs of layers of Φ.
        critic_hidden, critic_layers: units of each hidden layer of the critic, and how many.
        slope: of Φ's leaky ReLU; ``critic_slope`` of the critic's.
        thinning: both learn from every so-manieth person of an update: with 2 from half of those that ``data.batch`` gives.
        residual: Φ adds its layers' output, at first 0, to the noise. With ``standardise: correlated`` and ``noise_std: 1`` it
            begins as the Gaussian of the embeddings' mean and covariance, and learns what is different.
    """

    hidden: int = 512
    pairs: int = 4
    critic_hidden: int = 512
    critic_layers: int = 4
    slope: float = 0.3
    critic_slope: float = 0.2
    thinning: int = 1
    residual: bool = False

    def __post_init__(self) -> None:
        if self.thinning < 1:
            raise ValueError(f"thinning must be at least 1, got {self.thinning}")
