"""What is known of MNIST-CD/CB: where the ink is, which colour, which digit; and so how right a transfer is."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unbraid.datasets.stream.stream import read_split

INKED, BARE = 0.95, 0.05
"""Pixels of more ink than the one are the digit, of less than the other the background."""
FAINTEST = 1 / 255
"""Brightness of the darkest digit that can be seen."""
SIDE = 32
STEPS, EPOCHS, BATCH, RATE = 800, 60, 100, 2e-3
"""Updates of the classifier, at most, and times that it sees a small set."""
READER_SEED = 1998
READ, READ_AT_ONCE = 10_000, 500
"""Training pairs whose digits a classifier learns, and how many of them are read at a time."""
SAME_INK = 0.02
"""Mean difference of ink up to which the sides of pairs show the same glyph."""


def ink_of(images: Tensor, domain: str) -> Tensor:
    """How much of each pixel the digit covers, (N, 1, s, s) in [0, 1], whatever the colour.

    A digit in X is as bright as its colour, in the channel in which that is brightest, and the rest is black. In Y the digit is
    white, and the background, which most pixels are, as far from white as its colour: their median, because the background of
    a translation is not as even as that of a drawing.

    Args:
        images: (N, 3, s, s) in [0, 1] of one domain.
    """
    distance = (images if domain == "x" else 1 - images).amax(1, keepdim=True)
    flat = distance.flatten(2)
    whole = (flat.amax(2) if domain == "x" else flat.median(2).values)[:, :, None, None]
    share = (distance / whole.clamp_min(FAINTEST)).clamp(0, 1)
    return share if domain == "x" else 1 - share


def shared_ink(x: Tensor, y: Tensor) -> Tensor | None:
    """The ink of pairs whose sides show the same glyph, (N, 1, s, s); None where they show different ones.

    Args:
        x, y: images (N, 3, s, s) in [0, 1] of each domain.
    """
    ink = ink_of(x, "x")
    return ink if bool((ink - ink_of(y, "y")).abs().mean() < SAME_INK) else None


def colour_of(images: Tensor, ink: Tensor, domain: str) -> Tensor:
    """Mean colour (N, 3) of the digit (X) or of the background (Y), where ``ink`` (N, 1, s, s) says that it is."""
    where = (ink > INKED if domain == "x" else ink < BARE).to(images.dtype)
    return (images * where).sum((2, 3)) / where.sum((2, 3)).clamp_min(1)


class DigitReader(nn.Module):
    """A small convolutional classifier of ink (N, 1, s, s): logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 5, 2, 2), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, 2, 1), nn.BatchNorm2d(64), nn.ReLU(),
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * (SIDE // 8) ** 2, 10),
        )  # fmt: skip

    def forward(self, ink: Tensor) -> Tensor:
        if ink.shape[2] != SIDE:
            ink = F.interpolate(ink, (SIDE, SIDE), mode="bilinear", antialias=True)
        logits: Tensor = self.layers(ink)
        return logits

    @torch.no_grad()
    def read(self, ink: Tensor) -> Tensor:
        """The digit of each, (N,)."""
        return torch.cat([self(chunk).argmax(1) for chunk in ink.split(500)])


@lru_cache(maxsize=1)
def digit_reader(url: str, split: str, device: str, fit: tuple[int, int] | None) -> DigitReader:
    """A classifier of the digits of a packed MNIST-CD/CB."""
    read = [(batch["x"], batch["label"]) for batch in read_split(url, split, READ_AT_ONCE, READ, fit=fit)]
    ink = torch.cat([ink_of(images.float() / 255, "x") for images, _ in read])
    return train_reader(ink.to(device), torch.cat([labels for _, labels in read]).to(device))


def train_reader(ink: Tensor, labels: Tensor) -> DigitReader:
    """A classifier of real digits; torch's own random numbers are left as they were.

    Args:
        ink: (N, 1, s, s) of training images.
        labels: (N,).
    """
    with torch.random.fork_rng(devices=[ink.device] if ink.device.type == "cuda" else []), torch.enable_grad():
        torch.manual_seed(READER_SEED)
        reader = DigitReader().to(ink.device)
        adam = torch.optim.Adam(reader.parameters(), RATE)
        steps = min(STEPS, -(-EPOCHS * len(ink) // BATCH))
        rate = torch.optim.lr_scheduler.OneCycleLR(adam, 2 * RATE, total_steps=steps)
        for _ in range(steps):
            rows = torch.randint(len(ink), (BATCH,)).to(ink.device)
            loss = F.cross_entropy(reader(_moved(ink[rows])), labels[rows])
            adam.zero_grad()
            loss.backward()
            adam.step()
            rate.step()
    return reader.eval().requires_grad_(False)


def _moved(ink: Tensor) -> Tensor:
    """A batch shifted by a pixel or two: a few thousand digits are few."""
    rows, columns = torch.randint(-2, 3, (2,)).tolist()
    return ink.roll((rows, columns), (2, 3))
