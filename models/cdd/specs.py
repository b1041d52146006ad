"""Sizes of CDD's networks, as numbers only: nothing here imports torch, see :mod:`unbraid.models.infogan.specs`."""

from dataclasses import dataclass

from unbraid.models.image_spec import ImageSpec

SHARED_SIDE = 8
"""Height and width of the shared representation, for images of any size."""
DOMAINS = ("x", "y")
OTHER = {"x": "y", "y": "x"}
"""The domain that one is translated from and to."""


@dataclass(frozen=True)
class RepresentationSpec:
    """What an image is split into.

    Attributes:
        shared: channels C of the shared part S, (C, 8, 8).
        exclusive: length of the exclusive part E.
        noise_std: of the Gaussian noise on both where they are decoded in training; without it loss 1 shrinks S to nothing.
    """

    shared: int = 512
    exclusive: int = 8
    noise_std: float = 0.1

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
    """Encoders and decoders, one of each a domain.

    Attributes:
        channels: n; maps have n, 2n, 4n, then 8n channels, from the image on.
        extra: convolutions of stride 1 on every map between the image and S: images of few halvings see nothing far without.
        slope: of the encoders' leaky ReLU.
        dropout: of the first two layers of a decoder.
        rectified: whether a decoder begins with a ReLU, which drops what is negative in S and E, as the reference code does.
    """

    channels: int = 64
    extra: int = 0
    slope: float = 0.2
    dropout: float = 0.5
    rectified: bool = True

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
    """Critics of images.

    Attributes:
        channels: of the convolutions, each halving the image.
        slope: of their leaky ReLU.
    """

    channels: tuple[int, ...] = (64, 128, 256, 512)
    slope: float = 0.2

    def __post_init__(self) -> None:
        if not self.channels or min(self.channels) < 1:
            raise ValueError(f"channels must name at least one layer, each of 1 channel or more, got {list(self.channels)}")


@dataclass(frozen=True)
class FeatureCriticSpec:
    """Critics of exclusive parts: fully connected.

    Attributes:
        hidden: width of each of ``layers`` hidden layers.
        slope: of their leaky ReLU.
    """

    hidden: int = 128
    layers: int = 3
    slope: float = 0.2

    def __post_init__(self) -> None:
        if min(self.hidden, self.layers) < 1:
            raise ValueError(f"hidden and layers must be at least 1, got {self.hidden} and {self.layers}")


def halvings(image: ImageSpec) -> int:
    """How often an image is halved down to S.

    Raises:
        ValueError: when its side is not 8·2^k with k of 1 at least.
    """
    side = image.height
    times = (side // SHARED_SIDE).bit_length() - 1
    if image.width != side or times < 1 or SHARED_SIDE << times != side:
        raise ValueError(
            f"image is {image.height}x{image.width}; S is 8x8, so that images must be squares of 8·2^k pixels: "
            "16, 32, 64, 128, 256 or more (pack the set with --size)"
        )
    return times
