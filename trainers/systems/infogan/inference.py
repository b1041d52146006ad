"""InfoGAN as its users hold it: images by codes, codes of images."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unbraid.models.infogan.codes import CodePosterior, CodeSample, latent_vector, sample_codes
from unbraid.models.infogan.networks import Discriminator
from unbraid.models.random import RandomSource
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.config.words import nearest
from unbraid.trainers.data import EvaluationData
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.system import Model as AnyModel
from unbraid.trainers.systems.infogan.measures import real_reader
from unbraid.trainers.systems.infogan.model import Model, Reader
from unbraid.trainers.systems.infogan.pictures import traversal
from unbraid.trainers.use.explorer import MOST_PIXELS, Axis, Explorer
from unbraid.trainers.use.images import Images, ImagesIn, pixels_of
from unbraid.trainers.use.trained import Origin, TrainedModel

if TYPE_CHECKING:
    import pandas

FARTHEST = 2.0
"""Of a continuous code from 0. Its prior ends at 1; the paper's figures go to 2."""
DRAWN_AT_ONCE = 256
READ_AT_ONCE = 500

Value = float | tuple[float, float] | Sequence[float]
"""Of a code: a number for all images, a range (LOW, HIGH) of a continuous code to draw from, or a list with one number each."""


@dataclass(frozen=True)
class Reading:
    """What Q reads from N images.

    Attributes:
        probabilities: of each class of each categorical code, by name: (N, classes).
        mean, deviation: of each continuous code, by name: (N,).
    """

    probabilities: dict[str, NDArray[np.float32]]
    mean: dict[str, NDArray[np.float32]]
    deviation: dict[str, NDArray[np.float32]]

    def __len__(self) -> int:
        return len(next(iter((self.probabilities | self.mean).values())))

    def codes(self, row: int) -> dict[str, float]:
        """The most likely codes of one image, as :meth:`InfoGAN.sample` takes them."""
        classes = {name: float(table[row].argmax()) for name, table in self.probabilities.items()}
        return classes | {name: float(np.clip(means[row], -FARTHEST, FARTHEST)) for name, means in self.mean.items()}

    def table(self) -> pandas.DataFrame:
        """A row for each image: the likeliest class of each categorical code, its probability, and each continuous code."""
        import pandas

        columns: dict[str, NDArray[np.generic]] = {}
        for name, table in self.probabilities.items():
            columns |= {name: table.argmax(1), f"{name}_probability": table.max(1)}
        for name, means in self.mean.items():
            columns |= {name: means, f"{name}_deviation": self.deviation[name]}
        return pandas.DataFrame(columns)


class InfoGAN(TrainedModel):
    """Images by codes, codes of images."""

    methods: ClassVar[tuple[str, ...]] = ("sample", "traverse", "interpolate", "read")
    task: ClassVar[str] = "unconditional-image-generation"
    example: ClassVar[str] = 'images = model.sample(16, seed=0)\nimages.grid().save("samples.png")'
    networks: Model

    @property
    def codes(self) -> dict[str, str]:
        """The model's codes and their values, by name."""
        spec = self.networks.codes
        found = {f"categorical_{i}": f"0 to {classes - 1}" for i, classes in enumerate(spec.categorical)}
        return found | {f"continuous_{i}": f"-{FARTHEST:g} to {FARTHEST:g}" for i in range(spec.continuous)}

    def sample(self, count: int = 16, *, seed: int = 0, **codes: Value) -> Images:
        """Draw images. What is not said of the codes is drawn from their priors.

        Args:
            count: of images.
            seed: of noise and codes; the same seed gives the same images.
            codes: by name, such as ``categorical_0=3, continuous_1=0.5``.

        Raises:
            ConfigError: when the model has no such code, or a value lies outside of its range.
        """
        return self._drawn(self._codes(count, seed, codes))

    def stream(self, count: int, *, seed: int = 0, **codes: Value) -> Iterator[Images]:
        """Draw any number of images, a batch at a time.

        Args, Raises: as of :meth:`sample`; lists of values are for :meth:`sample` alone.
        """
        source = self.random(seed)
        for batch, first in enumerate(range(0, count, DRAWN_AT_ONCE)):
            source.seek(batch)
            yield self._drawn(self._codes_of(min(DRAWN_AT_ONCE, count - first), source, codes))

    def traverse(
        self,
        code: str,
        *,
        rows: int = 5,
        steps: int = 11,
        low: float = -FARTHEST,
        high: float = FARTHEST,
        seed: int = 0,
        **codes: Value,
    ) -> Images:
        """Vary one code along the columns and hold the rest of each row.

        Args:
            rows: draws of noise and of the other codes.
            steps: of a continuous code from ``low`` to ``high``; a categorical code has a column for each class.
            codes: of the other codes, as of :meth:`sample`.

        Raises:
            ConfigError: as of :meth:`sample`.
        """
        self._require(code)
        if code.startswith("continuous"):
            for end in (low, high):
                self._require_value(code, end)
        images, columns = traversal(self.networks, self._codes(rows, seed, codes), code, steps, (low, high))
        return Images.of_unit_range(images, columns)

    def interpolate(self, *, rows: int = 5, steps: int = 9, seed: int = 0, **codes: Value) -> Images:
        """Go from one draw to another in equal steps of noise and continuous codes, one pair in each row.

        Categorical codes stay as at the row's start.

        Args, Raises: as of :meth:`sample`.
        """
        ends = self._codes(2 * rows, seed, codes)
        weights = torch.linspace(0, 1, steps, device=self.device).repeat(rows)[:, None]

        def between(values: Tensor) -> Tensor:
            first, last = (part.repeat_interleave(steps, 0) for part in (values[0::2], values[1::2]))
            return first + weights.to(first.dtype) * (last - first)

        categorical = ends.categorical[0::2].repeat_interleave(steps, 0)
        return self._drawn(CodeSample(between(ends.noise), categorical, between(ends.continuous)), steps)

    def read(self, images: ImagesIn, *, resize: bool = False) -> Reading:
        """Read the codes of images.

        Q's batch statistics are those of training images, so a run's data set must be readable; an export holds them.

        Args:
            images: see :data:`unbraid.trainers.use.images.ImagesIn`.
            resize: whether images of another size or mode are resized and converted.

        Raises:
            ConfigError: naming an image of another size or mode.
            DataError: when a file, or the run's data set, cannot be read.
        """
        pixels = pixels_of(images, self.networks.sizes.image.shape, resize)
        parts = [self.reader.read(self.networks.normalise(chunk.to(self.device))) for chunk in pixels.split(READ_AT_ONCE)]
        return _reading(parts)

    @cached_property
    def reader(self) -> Reader:
        """Q with the batch statistics of training images."""
        if not self.origin.extras:
            return real_reader(self.networks, EvaluationData(self.config, self.device, self.config.data.split))
        network = Discriminator(self.networks.sizes.trunk, self.networks.codes, self.networks.sizes.image).to(self.device)
        network.load_state_dict(dict(self.origin.extras))
        return Reader(network.requires_grad_(False).eval(), self.networks.codes)

    def extras(self) -> dict[str, Tensor]:
        """The reader's weights and statistics."""
        return dict(self.reader.network.state_dict())

    def programs(self) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
        """The generator, from latent vectors; Q, from normalised images to the parameters of all codes."""
        sizes = self.networks.sizes
        latent = torch.zeros(2, self.networks.codes.latent_width, device=self.device)
        image = torch.zeros(2, *sizes.image.shape, device=self.device)
        return {"generator": (self.networks.generator, (latent,)), "reader": (_Head(self.reader.network), (image,))}

    def explorer(self) -> Explorer:
        """A slider for each code, as many as fit, and one for the noise."""
        spec, size = self.networks.codes, self.networks.sizes.image
        most = MOST_PIXELS // (size.height * size.width)
        steps = next((n for n in (9, 7, 5, 3) if math.prod(spec.categorical) * n**spec.continuous <= most), 3)
        axes: list[Axis] = []
        for name in self.codes:
            is_class = name.startswith("categorical")
            labels = [str(i) for i in range(self._classes(name))] if is_class else [f"{v:g}" for v in _even(steps)]
            if math.prod(len(axis.labels) for axis in axes) * len(labels) <= most:
                axes.append(Axis(name, labels, 0 if is_class else len(labels) // 2))
        draws = min(4, max(1, most // math.prod(len(axis.labels) for axis in axes)))
        held = [name for name in self.codes if name not in {axis.name for axis in axes}]
        axes = [Axis("noise", [str(i + 1) for i in range(draws)]), *axes] if draws > 1 else axes
        grid = list(itertools.product(*(range(len(axis.labels)) for axis in axes)))
        columns = dict(zip((axis.name for axis in axes), zip(*grid, strict=True), strict=True))
        drawn = self._codes(draws, 0, dict.fromkeys(held, 0.0))
        rows = torch.tensor(columns.pop("noise", (0,) * len(grid)), device=self.device)
        codes = CodeSample(drawn.noise[rows], drawn.categorical[rows], drawn.continuous[rows])
        for axis in axes:
            if axis.name in columns:
                values = [float(axis.labels[i]) for i in columns[axis.name]]
                kind, _, index = axis.name.rpartition("_")
                part = codes.categorical if kind == "categorical" else codes.continuous
                part[:, int(index)] = torch.tensor(values, device=self.device).to(part.dtype)
        more = f"; {', '.join(held)} are held at 0" if held else ""
        return Explorer(axes, self._drawn(codes), f"What the generator draws from these codes{more}.")

    def _drawn(self, codes: CodeSample, columns: int = 0) -> Images:
        latent = latent_vector(self.networks.codes, codes)
        parts = [self.networks.unit_range(self.networks.draw(part)) for part in latent.split(DRAWN_AT_ONCE)]
        return Images.of_unit_range(torch.cat(parts), columns)

    def _codes(self, count: int, seed: int, values: Mapping[str, Value]) -> CodeSample:
        return self._codes_of(count, self.random(seed), values)

    def _codes_of(self, count: int, source: RandomSource, values: Mapping[str, Value]) -> CodeSample:
        """Codes from their priors, with the given ones in their place."""
        drawn = sample_codes(self.networks.codes, source, count)
        for name, value in values.items():
            self._require(name)
            kind, _, index = name.rpartition("_")
            column = (drawn.categorical if kind == "categorical" else drawn.continuous)[:, int(index)]
            if isinstance(value, tuple):
                if kind == "categorical" or len(value) != 2:
                    raise ConfigError(
                        f"{name}={value}: a range (LOW, HIGH) is for continuous codes; expected {self.codes[name]}"
                    )
                for end in value:
                    self._require_value(name, end)
                column.copy_(source.uniform(count, low=min(value), high=max(value)))
                continue
            each = [float(value)] * count if isinstance(value, int | float) else [float(one) for one in value]
            if len(each) != count:
                raise ConfigError(f"{name}: has {len(each)} values for {count} images; give one, or one for each")
            for one in set(each):
                self._require_value(name, one)
            column.copy_(torch.tensor(each, device=self.device))
        return drawn

    def _require(self, name: str) -> None:
        if name not in self.codes:
            raise ConfigError(f"{name}: the model's codes are {', '.join(self.codes)}{nearest(name, self.codes)}")

    def _require_value(self, name: str, value: float) -> None:
        if name.startswith("continuous"):
            if not -FARTHEST <= value <= FARTHEST:
                raise ConfigError(f"{name}={value:g}: expected -{FARTHEST:g} to {FARTHEST:g}; its prior is -1 to 1")
        elif value not in range(self._classes(name)):
            raise ConfigError(f"{name}={value:g}: expected a class from {self.codes[name]}")

    def _classes(self, name: str) -> int:
        return self.networks.codes.categorical[int(name.rpartition("_")[2])]


def _even(steps: int) -> list[float]:
    """Equal steps over a continuous code's range."""
    return [round(float(value), 3) for value in np.linspace(-FARTHEST, FARTHEST, steps)]


class _Head(nn.Module):
    """Images to Q's output, (B, head_width)."""

    def __init__(self, network: Discriminator) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        head: Tensor = self.network.q(images)
        return head


def parse_values(words: Sequence[str]) -> dict[str, Value]:
    """Codes as they are given to a command: ``categorical_0=3``, ``continuous_1=-2..2``, ``continuous_0=0.5``.

    Raises:
        ConfigError: naming the word that is none.
    """
    found: dict[str, Value] = {}
    for word in words:
        name, separator, text = word.partition("=")
        try:
            if not separator:
                raise ValueError
            low, dots, high = text.partition("..")
            found[name] = (float(low), float(high)) if dots else float(text)
        except ValueError:
            raise ConfigError(f"--set {word}: expected CODE=NUMBER or CODE=LOW..HIGH, such as continuous_0=-2..2") from None
    return found


def _reading(parts: Sequence[CodePosterior]) -> Reading:
    """The posteriors of several batches as one."""
    tables = [torch.cat(of_code).softmax(1).cpu().numpy() for of_code in zip(*(part.logits for part in parts), strict=True)]
    mean = torch.cat([part.mean for part in parts]).cpu().numpy()
    deviation = torch.cat([part.log_variance for part in parts]).div(2).exp().cpu().numpy()
    return Reading(
        {f"categorical_{i}": table for i, table in enumerate(tables)},
        {f"continuous_{i}": mean[:, i] for i in range(mean.shape[1])},
        {f"continuous_{i}": deviation[:, i] for i in range(mean.shape[1])},
    )


def trained(config: SystemConfig, model: AnyModel, origin: Origin) -> InfoGAN:
    """See :func:`unbraid.trainers.use.trained.trained_model`."""
    assert isinstance(model, Model)
    return InfoGAN(config, model, origin)
