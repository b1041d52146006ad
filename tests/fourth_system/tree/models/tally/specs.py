"""Sizes of the auto-encoder, as numbers only: nothing here imports torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AutoencoderSpec:
    """An encoder of what the number of strokes does not say, and a decoder.

    Attributes:
        hidden: width of each network's hidden layer.
        style: length of the code.
        counts: numbers of strokes that there are, 0 included.
    """

    hidden: int = 32
    style: int = 4
    counts: int = 6

    def __post_init__(self) -> None:
        if min(self.hidden, self.style, self.counts) < 1:
            raise ValueError("hidden, style and counts must be at least 1")
