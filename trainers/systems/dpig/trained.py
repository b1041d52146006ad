"""DPIG, and its baseline PG², as their users hold them: people in other poses, with others' factors, or drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import TypedDict  # pydantic reads none but this one before Python 3.12

from unbraid.datasets.errors import DataError
from unbraid.datasets.untrusted.documents import DocumentError, parse_json
from unbraid.datasets.untrusted.text import in_one_line
from unbraid.models.dpig.embeddings import NoiseMapping
from unbraid.models.dpig.pose import KEYPOINTS
from unbraid.trainers.data import EvaluationData
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.step.images import normalised, unit_range
from unbraid.trainers.systems.dpig.model import Model
from unbraid.trainers.systems.dpig.people import People, shown_people
from unbraid.trainers.systems.dpig.pictures import Posing, skeleton_images
from unbraid.trainers.use.explorer import MOST_PIXELS, Axis, Explorer
from unbraid.trainers.use.images import Images, ImagesIn, pixels_of, sizes_of
from unbraid.trainers.use.trained import TrainedModel

DRAWN_AT_ONCE = 64
KeypointsIn = str | Path | NDArray[np.floating[Any]] | Tensor | Sequence[Any]
"""Of one person or of N: numbers (18, 3) or (N, 18, 3) of row, column and whether it was found; or a JSON file, see
:func:`read_keypoints`."""


Points = list[list[float]]


class _Person(TypedDict):
    pose_keypoints_2d: list[float]


class _OpenPose(TypedDict):
    """What OpenPose writes for an image; its other keys are passed over."""

    people: list[_Person]


_FILE: Any = _OpenPose | Points | list[Points]
"""What a file of keypoints may hold."""


class PosedPeople(TrainedModel):
    """A model that draws people in other poses."""

    methods: ClassVar[tuple[str, ...]] = ("transfer",)
    example: ClassVar[str] = (
        'images = model.transfer("person.png", "person.json", "pose.json", resize=True)\nimages.grid().save("posed.png")'
    )
    networks: Posing

    def transfer(self, images: ImagesIn, keypoints: KeypointsIn, target: KeypointsIn, *, resize: bool = False) -> Images:
        """Draw people in other poses.

        Args:
            images: of N people, see :data:`unbraid.trainers.use.images.ImagesIn`.
            keypoints: of these images.
            target: poses in pixels of the model's images: N, or one for all.
            resize: whether images of another size are resized, and their keypoints with them.

        Raises:
            ConfigError: when an image, or keypoints, are not of the expected shape.
            DataError: when a file cannot be read.
        """
        people = self._people(images, keypoints, resize)
        poses = keypoints_of(target, "target").to(self.device)
        if len(poses) not in (1, len(people)):
            raise ConfigError(f"target: {len(poses)} poses for {len(people)} images; give one, or one for each")
        there = People(people.images, poses.expand(len(people), -1, -1), people.person, people.background, people.pose)
        return Images.of_unit_range(unit_range(self.networks.posed(people, there)))

    def _people(self, images: ImagesIn, keypoints: KeypointsIn, resize: bool) -> People:
        shape = self.config.image_shape
        assert shape is not None
        pixels = pixels_of(images, shape, resize)
        found = keypoints_of(keypoints, "keypoints")
        if len(found) != len(pixels):
            raise ConfigError(f"keypoints: {len(found)} people for {len(pixels)} images; give one for each")
        if resize:
            scales = torch.tensor([[shape[1] / height, shape[2] / width, 1.0] for height, width in sizes_of(images)])
            found = found * scales[:, None]
        unknown = torch.full((len(pixels),), -1, device=self.device)
        return People(normalised(pixels.to(self.device)), found.to(self.device), unknown, unknown, unknown)


class DPIG(PosedPeople):
    """People by foreground, background and pose."""

    methods: ClassVar[tuple[str, ...]] = ("transfer", "swap", "reconstruct", "sample")
    networks: Model

    @property
    def factors(self) -> tuple[str, ...]:
        """Into which images are taken apart."""
        return self.networks.factors

    def swap(self, images: ImagesIn, keypoints: KeypointsIn, factor: str = "foreground", *, resize: bool = False) -> Images:
        """Exchange one factor between N people: N x N images; rows are people, columns give the factor.

        Args, Raises: as of :meth:`transfer`.
        """
        if factor not in self.factors:
            raise ConfigError(f"factor={factor}: expected {', '.join(self.factors)}")
        people = self._people(images, keypoints, resize)
        factors, count = self.networks.encode(people.images, people.keypoints), len(people)
        drawn = self.networks.decode(factors.repeated(count).exchanged(factor, factors.tiled(count)))
        return Images.of_unit_range(unit_range(drawn), count)

    def reconstruct(self, images: ImagesIn, keypoints: KeypointsIn, *, resize: bool = False) -> Images:
        """Take people apart and draw them again.

        Args, Raises: as of :meth:`transfer`.
        """
        people = self._people(images, keypoints, resize)
        return Images.of_unit_range(unit_range(self.networks.decode(self.networks.encode(people.images, people.keypoints))))

    def sample(self, count: int = 16, *, seed: int = 0) -> Images:
        """Draw people who do not exist; needs a model of stage II.

        Raises:
            ConfigError: when this is a model of stage I.
        """
        return Images.of_unit_range(unit_range(self.networks.decode(self.networks.sample(count, self.random(seed)))))

    def explorer(self) -> Explorer:
        """Whose foreground, whose background, whose pose: every combination of a few held-out people."""
        size = self.networks.image.height * self.networks.image.width
        most = next((n for n in (8, 6, 5, 4, 3) if n ** len(self.factors) * size <= MOST_PIXELS), 2)
        people = shown_people(EvaluationData(self.config, self.device, self.config.data.reported_split), most)
        factors, count = self.networks.encode(people.images, people.keypoints), len(people)
        every = torch.cartesian_prod(*(torch.arange(count, device=self.device) for _ in self.factors))
        values = {f: getattr(factors, f)[every[:, i]] for i, f in enumerate(self.factors)}
        drawn = self.networks.decode(self.networks.joined(values))
        shown = Images.of_unit_range(unit_range(people.images))
        poses = Images.of_unit_range(skeleton_images(people.keypoints, self.networks.size))
        labels = [f"person {i + 1}" for i in range(count)]
        axes = [Axis(factor, labels, 0, poses if factor == "pose" else shown) for factor in self.factors]
        return Explorer(axes, Images.of_unit_range(unit_range(drawn)), "A person drawn from the factors of others.")

    def stream(self, count: int, *, seed: int = 0) -> Iterator[Images]:
        """Draw any number of people who do not exist, a batch at a time.

        Args, Raises: as of :meth:`sample`.
        """
        source = self.random(seed)
        for batch, first in enumerate(range(0, count, DRAWN_AT_ONCE)):
            source.seek(batch)
            drawn = self.networks.sample(min(DRAWN_AT_ONCE, count - first), source)
            yield Images.of_unit_range(unit_range(self.networks.decode(drawn)))

    def programs(self) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
        """The decoder, from embeddings and keypoints; each mapping, from noise to embeddings."""
        spec = self.networks.generator.encoder.spec
        pose = torch.zeros(2, KEYPOINTS, 3, device=self.device)
        inputs = torch.zeros(2, spec.foreground, device=self.device), torch.zeros(2, spec.background, device=self.device), pose
        found: dict[str, tuple[nn.Module, tuple[Tensor, ...]]] = {"decoder": (self.networks.generator.decoder, inputs)}
        for factor, mapping in self.networks.mappings.items():
            found[f"mapping_{factor}"] = (_Drawn(mapping), (torch.zeros(2, mapping.width, device=self.device),))
        return found


class _Drawn(nn.Module):
    """Noise (B, width) to embeddings as the decoder takes them."""

    def __init__(self, mapping: NoiseMapping) -> None:
        super().__init__()
        self.mapping = mapping

    def forward(self, noise: Tensor) -> Tensor:
        return self.mapping.draw(noise)


def keypoints_of(keypoints: KeypointsIn, name: str) -> Tensor:
    """Keypoints (N, 18, 3) of row, column and whether it was found, float32.

    Args:
        name: of the argument, for messages.

    Raises:
        ConfigError: when they are of another shape.
        DataError: when a file cannot be read.
    """
    if isinstance(keypoints, str | Path):
        return read_keypoints(Path(keypoints))
    if isinstance(keypoints, Sequence) and keypoints and all(isinstance(one, str | Path) for one in keypoints):
        return torch.cat([read_keypoints(Path(one)) for one in keypoints])
    try:
        found = torch.as_tensor(np.asarray(keypoints, dtype=np.float32))
    except (TypeError, ValueError):
        raise ConfigError(f"{name}: expected numbers (N, {KEYPOINTS}, 3): row, column, found") from None
    found = found[None] if found.ndim == 2 else found
    if found.ndim != 3 or found.shape[1:] != (KEYPOINTS, 3) or not found.isfinite().all():
        raise ConfigError(
            f"{name}: is of the shape {tuple(found.shape)}; expected finite numbers (N, {KEYPOINTS}, 3): row, column, found"
        )
    return found


def read_keypoints(file: Path) -> Tensor:
    """Keypoints (N, 18, 3) in a JSON file.

    It holds a list of 18 [row, column, found], a list of such lists, or what OpenPose writes: ``people``, each with
    ``pose_keypoints_2d``, 18 times x, y and confidence.

    Raises:
        DataError: when it cannot be read, or holds something else.
    """
    try:
        text = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); expected a JSON file of keypoints") from None
    try:
        content = parse_json(text, _FILE, str(file))
        return keypoints_of(
            [_of_openpose(person) for person in content["people"]] if isinstance(content, dict) else content, ""
        )
    except (ConfigError, DocumentError, KeyError, ValueError) as error:
        raise DataError(
            f"{file}: expected {KEYPOINTS} lists of row, column and found, or OpenPose's people with pose_keypoints_2d of "
            f"{KEYPOINTS} points ({in_one_line(error, 200)})"
        ) from None


def _of_openpose(person: _Person) -> NDArray[np.float32]:
    """OpenPose's x, y, confidence to row, column, found."""
    points = np.asarray(person["pose_keypoints_2d"], dtype=np.float32).reshape(KEYPOINTS, 3)
    return np.stack([points[:, 1], points[:, 0], (points[:, 2] > 0).astype(np.float32)], 1)
