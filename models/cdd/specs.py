"""Sizes of CDD's networks, as numbers only: nothing here imports torch, see :mod:`unbraid.models.infogan.specs`."""

from dataclasses import dataclass
from typing import Literal

from unbraid.models.image_spec import ImageSpec

Upsampling = Literal["transposed", "resized"]
SHARED_SIDE = 8
"""Height and width of the shared representation, for images of any size."""


@dataclass(frozen=True)
class RepresentationSpec:
    """The two parts of an image's representation.

    Attributes:
        shared: channels C of the shared part S, (C, 8, 8).
        exclusive: length of the exclusive part E.
        standardised: E ends in a batch norm without scale and shift, so that each of its numbers has the mean and the deviation
            of its prior from the start; the critic of E is left with their distribution.
        noise_std: standard deviation of the Gaussian noise on S and E at the decoders' input in training; without it, loss 1
            shrinks S to zero. Exclusive decoders have no noise.
    """

    shared: int = 512
    exclusive: int = 8
    noise_std: float = 0.1
    standardised: bool = False

    def __post_init__(self) -> None:
        for name in ("shared", "exclusive"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}: without that part there is nothing to disentangle"
                )
        if self.noise_std < 0:
            raise ValueError(f"noise_std must not be negative, got {self.noise_std}")


@dataclass(frozen=True)
class TranslatorSpec:
    """Encoder and decoder of a domain.

    Attributes:
        channels: n; maps have n, 2n, 4n, then 8n channels, from the image on.
        extra: convolutions of stride 1 after each one of stride 2 between the image and S: with few halvings, the field of
            view is small without them.
        slope: of the encoder's leaky ReLU.
        dropout: probability in the first two layers of the decoder.
        rectified: the decoder begins with a ReLU, which removes negative values of S and E, as the reference code does.
        upsampling: of the decoder. ``transposed`` is the paper's 4×4 convolution of stride 2; ``resized`` doubles each pixel
            before a 3×3 convolution, which leaves no checkerboards (Odena et al., Distill 2016) for 2.25 times the arithmetic.
    """

    channels: int = 64
    extra: int = 0
    slope: float = 0.2
    dropout: float = 0.5
    rectified: bool = True
    upsampling: Upsampling = "transposed"

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ValueError(f"channels must be at least 1, got {self.channels}")
        if self.extra < 0:
            raise ValueError(f"extra must not be negative, got {self.extra}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    def widths(self, image: ImageSpec) -> list[int]:
        """Channels of the maps between the image and S, from the image on."""
        return [self.channels * min(1 << i, 8) for i in range(halvings(image) - 1)]


@dataclass(frozen=True)
class CriticSpec:
    """Critic of images.

    Attributes:
        channels: of the convolutions, each of which halves the image.
        slope: of the leaky ReLU.
    """

    channels: tuple[int, ...] = (64, 128, 256, 512)
    slope: float = 0.2

    def __post_init__(self) -> None:
        if not self.channels or min(self.channels) < 1:
            raise ValueError(f"channels must name at least one layer, each of 1 channel or more, got {list(self.channels)}")


@dataclass(frozen=True)
class FeatureCriticSpec:
    """Critic of exclusive parts: fully connected.

    Attributes:
        hidden: width of each hidden layer.
        layers: number of hidden layers.
        slope: of the leaky ReLU.
    """

    hidden: int = 128
    layers: int = 3
    slope: float = 0.2

    def __post_init__(self) -> None:
        if min(self.hidden, self.layers) < 1:
            raise ValueError(f"hidden and layers must be at least 1, got {self.hidden} and {self.layers}")


def halvings(image: ImageSpec) -> int:
    """Number k of halvings from an image of 8·2^k pixels a side to S.

    Raises:
        ValueError: when the image is not a square of that size with k ≥ 1.
    """
    side = image.height
    times = (side // SHARED_SIDE).bit_length() - 1
    if image.width != side or times < 1 or SHARED_SIDE << times != side:
        raise ValueError(
            f"image is {image.height}x{image.width}; S is 8x8, so that images must be squares of 8·2^k pixels: "
            "16, 32, 64, 128, 256 or more (pack the set with --size)"
        )
    return times
