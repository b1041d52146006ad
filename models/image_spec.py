"""The shape of an image, as numbers only: nothing here imports torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageSpec:
    """Shape of one image, (channels, height, width)."""

    channels: int = 1
    height: int = 28
    width: int = 28

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return (self.channels, self.height, self.width)

    def divided(self, factor: int, part: str) -> tuple[int, int]:
        """Divide height and width by ``factor``.

        Raises:
            ValueError: naming ``part``, when ``factor`` does not divide both.
        """
        if self.height % factor or self.width % factor or min(self.height, self.width) < factor:
            raise ValueError(
                f"{part} changes the image by a factor of {factor}, which does not divide {self.height}x{self.width}: "
                "use an image whose sides are multiples of it, or other strides"
            )
        return self.height // factor, self.width // factor
