"""Sizes of pix2pix's networks, as numbers only: nothing here imports torch, see :mod:`unbraid.models.infogan.specs`."""

from dataclasses import dataclass

from unbraid.models.image_spec import ImageSpec

FEWEST_HALVINGS = 3


@dataclass(frozen=True)
class GeneratorSpec:
    """The U-Net.

    Attributes:
        channels: n; the encoder's maps have n, 2n, 4n, then 8n channels, from the image on.
        slope: of the encoder's leaky ReLU.
        dropout: probability in the decoder's first ``dropped`` layers, in translation too: it is the only noise. With 0
            there is one translation of each image.
        dropped: number of layers with dropout, from the smallest map on; the layer that gives the image never has it.
    """

    channels: int = 64
    slope: float = 0.2
    dropout: float = 0.5
    dropped: int = 3

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ValueError(f"channels must be at least 1, got {self.channels}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.dropped < 0:
            raise ValueError(f"dropped must not be negative, got {self.dropped}")

    def widths(self, image: ImageSpec) -> list[int]:
        """Channels of the encoder's maps, from the image on; each map has half the sides of the one before."""
        return [self.channels * min(1 << i, 8) for i in range(halvings(image))]


@dataclass(frozen=True)
class DiscriminatorSpec:
    """The PatchGAN discriminator: convolutions, then one more that gives a logit for each patch.

    Attributes:
        channels: of the convolutions; all but the last halve the map.
        slope: of the leaky ReLU.
    """

    channels: tuple[int, ...] = (64, 128, 256, 512)
    slope: float = 0.2

    def __post_init__(self) -> None:
        if len(self.channels) < 2 or min(self.channels) < 1:
            raise ValueError(f"channels must name at least two layers, each of 1 channel or more, got {list(self.channels)}")

    @property
    def patch(self) -> int:
        """Side of a patch in pixels: what one logit sees."""
        side = 1
        for stride in [1, 1, *(2 for _ in self.channels[1:])]:  # from the logit back to the image, kernels of 4
            side = stride * (side - 1) + 4
        return side

    def patches(self, image: ImageSpec) -> tuple[int, int]:
        """Rows and columns of the map of logits.

        Raises:
            ValueError: when the image does not fit.
        """
        height, width = image.divided(1 << (len(self.channels) - 1), "a discriminator")
        if min(height, width) < 3:
            raise ValueError(
                f"a discriminator of {len(self.channels)} convolutions leaves a map of {height}x{width} of an image of "
                f"{image.height}x{image.width}, too small for the two convolutions of stride 1: name fewer channels"
            )
        return height - 2, width - 2


def halvings(image: ImageSpec) -> int:
    """How often both sides of an image can be halved: the depth of the U-Net, 8 for 256x256.

    Raises:
        ValueError: when that is less than three times.
    """
    both = image.height | image.width
    times = (both & -both).bit_length() - 1
    if times < FEWEST_HALVINGS:
        raise ValueError(
            f"image is {image.height}x{image.width}; the U-Net halves it {FEWEST_HALVINGS} times at least, so that both sides "
            f"must be multiples of {1 << FEWEST_HALVINGS} (pack the set with --size)"
        )
    return times
