"""Samples the factor *foreground*, an identity: build, skin, hair, clothes, shoes and bag, independent of pose and place."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Colour = NDArray[np.float32]
"""(3,) red, green, blue in [0, 1]."""
Pattern = Literal["plain", "rings", "stripes", "checks", "block", "logo"]
Hair = Literal["short", "long", "cap", "bald"]
Lower = Literal["trousers", "shorts", "skirt"]
Bag = Literal["none", "backpack", "shoulder", "hand"]

SKIN = np.array([[0.93, 0.76, 0.65], [0.85, 0.65, 0.52], [0.72, 0.52, 0.38], [0.52, 0.36, 0.26], [0.36, 0.25, 0.19]])
HAIR = np.array([[0.09, 0.07, 0.06], [0.16, 0.11, 0.08], [0.3, 0.2, 0.12], [0.62, 0.48, 0.28], [0.5, 0.49, 0.48]])
DENIM = np.array([[0.12, 0.15, 0.25], [0.2, 0.27, 0.42], [0.08, 0.08, 0.1], [0.32, 0.31, 0.3], [0.52, 0.46, 0.36]])


@dataclass(frozen=True)
class Garment:
    """Two colours of cloth and their pattern; ``scale`` is the number of bands from neck to hip."""

    colour: Colour
    second: Colour
    pattern: Pattern
    scale: float


@dataclass(frozen=True)
class Appearance:
    """Describes one identity.

    Attributes:
        girth: of trunk and limbs, as a factor of the mean.
        sleeve: covered share of the arm from the shoulder; 1 reaches the wrist.
        coat: length of the upper garment below the hips, in torso lengths.
        hem: covered share of the leg for shorts and skirts.
        flare: factor by which a skirt widens to its hem.
    """

    skin: Colour
    hair: Hair
    hair_colour: Colour
    cap_colour: Colour
    girth: float
    upper: Garment
    sleeve: float
    coat: float
    lower: Lower
    lower_garment: Garment
    hem: float
    flare: float
    shoes: Colour
    bag: Bag
    bag_colour: Colour
    bag_left: bool


def sample_appearance(rng: np.random.Generator) -> Appearance:
    """Sample an identity, dressed as in a street in spring."""
    lower: Lower = get_args(Lower)[rng.choice(3, p=(0.62, 0.2, 0.18))]
    hair: Hair = get_args(Hair)[rng.choice(4, p=(0.5, 0.3, 0.13, 0.07))]
    sleeve = float(rng.choice([0.3, 1.0, 0.0], p=(0.55, 0.37, 0.08)))
    return Appearance(
        skin=_near(rng, SKIN, 0.03),
        hair=hair,
        hair_colour=_near(rng, HAIR, 0.02),
        cap_colour=_colour(rng),
        girth=float(np.clip(rng.normal(1.0, 0.12), 0.78, 1.35)),
        upper=_garment(rng, _colour(rng), (0.42, 0.14, 0.1, 0.1, 0.12, 0.12)),
        sleeve=sleeve,
        coat=float(rng.uniform(0.25, 0.6)) if sleeve == 1.0 and rng.random() < 0.3 else float(rng.uniform(0.0, 0.1)),
        lower=lower,
        lower_garment=_garment(
            rng, _near(rng, DENIM, 0.03) if rng.random() < 0.65 else _colour(rng), (0.8, 0.05, 0.05, 0.1, 0, 0)
        ),
        hem=float(rng.uniform(0.38, 0.52)) if lower == "shorts" else float(rng.uniform(0.35, 0.75)),
        flare=float(rng.uniform(1.05, 1.5)),
        shoes=_near(rng, np.array([[0.08, 0.08, 0.08], [0.85, 0.85, 0.83], [0.3, 0.2, 0.13], [0.55, 0.1, 0.12]]), 0.05),
        bag=get_args(Bag)[rng.choice(4, p=(0.5, 0.24, 0.16, 0.1))],
        bag_colour=_colour(rng),
        bag_left=bool(rng.random() < 0.5),
    )


def _garment(rng: np.random.Generator, colour: Colour, chances: tuple[float, ...]) -> Garment:
    pattern: Pattern = get_args(Pattern)[rng.choice(len(chances), p=chances)]
    second = _colour(rng)
    if np.abs(second - colour).sum() < 0.5:  # a pattern must be visible
        second = (colour + 0.5) % 1.0
    return Garment(colour, second, pattern, float(rng.uniform(3.0, 6.0)))


def _colour(rng: np.random.Generator) -> Colour:
    """Sample the colour of cloth: in a third of cases a grey, else a hue of some saturation."""
    if rng.random() < 0.35:
        grey = rng.choice([0.08, 0.2, 0.45, 0.8, 0.92])
        return np.asarray(np.clip(grey + rng.normal(0, 0.02, 3), 0.03, 0.96), np.float32)
    hue, saturation, value = rng.random(), rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.8)
    wheel = np.clip(np.abs((hue + np.array([0.0, 2 / 3, 1 / 3])) % 1 * 6 - 3) - 1, 0, 1)
    return np.asarray(value * (1 - saturation * (1 - wheel)), np.float32)


def _near(rng: np.random.Generator, choices: NDArray[np.float64], spread: float) -> Colour:
    colour = choices[rng.integers(len(choices))] + rng.normal(0, spread)
    return np.asarray(np.clip(colour + rng.normal(0, spread / 3, 3), 0.03, 0.97), np.float32)
