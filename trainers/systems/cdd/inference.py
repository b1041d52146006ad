"""CDD as its users hold it: translations both ways, parts, retrieval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from unbraid.models.domains import DOMAINS, OTHER
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.measures.retrieval import distances
from unbraid.trainers.paired.pairs import held_out
from unbraid.trainers.step.images import normalised, unit_range
from unbraid.trainers.system import Model as AnyModel
from unbraid.trainers.systems.cdd.model import Model
from unbraid.trainers.systems.cdd.sheets import Representation
from unbraid.trainers.use.explorer import MOST_PIXELS, Axis, Explorer
from unbraid.trainers.use.images import Images, ImagesIn, pixels_of
from unbraid.trainers.use.trained import Origin, TrainedModel


@dataclass(frozen=True)
class Found:
    """What N queries found in a gallery.

    Attributes:
        rows: (N, k) of the gallery, nearest first.
        distances: (N, k) of these.
    """

    rows: Tensor
    distances: Tensor


class CDD(TrainedModel):
    """Translations between two domains, ``x`` and ``y``, by a shared part S and exclusive parts E."""

    methods: ClassVar[tuple[str, ...]] = ("translate", "transfer", "retrieve")
    example: ClassVar[str] = (
        'images = model.translate("image.png", to="y", samples=8, resize=True)\nimages.grid().save("translated.png")'
    )
    networks: Model

    def translate(self, images: ImagesIn, *, to: str = "y", samples: int = 1, seed: int = 0, resize: bool = False) -> Images:
        """Translate images, with E drawn from its prior.

        Args:
            images: of the other domain, see :data:`unbraid.trainers.use.images.ImagesIn`.
            to: the domain, ``x`` or ``y``.
            samples: translations of each image, which are next to each other; the draws are the same for all images.
            seed: of the draws.
            resize: whether images of another size or mode are resized and converted.

        Raises:
            ConfigError: naming an image of another size or mode, or a domain that is none.
            DataError: when a file cannot be read.
        """
        shared = self.networks.encode(self._other(to), self._pixels(images, resize)).shared
        drawn = self.networks.draw(samples, self.random(seed))
        fake = self.networks.decode(to, shared.repeat_interleave(samples, 0), drawn.repeat(len(shared), 1))
        return Images.of_unit_range(unit_range(fake), samples if samples > 1 else 0)

    def transfer(self, images: ImagesIn, references: ImagesIn, *, to: str = "y", resize: bool = False) -> Images:
        """Translate each image with the E of each reference, which is of the domain ``to``: rows keep S, columns give E.

        Args, Raises: as of :meth:`translate`.
        """
        shared = self.networks.encode(self._other(to), self._pixels(images, resize)).shared
        given = self.networks.encode(to, self._pixels(references, resize)).exclusive
        fake = self.networks.decode(to, shared.repeat_interleave(len(given), 0), given.repeat(len(shared), 1))
        return Images.of_unit_range(unit_range(fake), len(given))

    def retrieve(
        self,
        queries: ImagesIn,
        gallery: ImagesIn,
        *,
        source: str = "x",
        top: int = 5,
        by: Representation = "shared",
        resize: bool = False,
    ) -> Found:
        """Find the nearest images of the other domain.

        Args:
            queries: of the domain ``source``.
            gallery: of the other domain.
            top: how many to find for each.
            by: what is compared: ``shared``, ``exclusive`` or ``pixels``.

        Raises:
            ConfigError: as of :meth:`translate`, and when the gallery has fewer than ``top`` images.
        """
        other = OTHER[self._other(self._other(source))]
        wanted, there = self._pixels(queries, resize), self._pixels(gallery, resize)
        if top > len(there):
            raise ConfigError(f"top={top}: the gallery has {len(there)} images")
        if by != "pixels":
            wanted = getattr(self.networks.encode(source, wanted), by)
            there = getattr(self.networks.encode(other, there), by)
        found = distances(wanted, there).topk(top, largest=False)
        return Found(found.indices.cpu(), found.values.cpu())

    def explorer(self) -> Explorer:
        """S of one image of x with E of one of y, for a few held-out pairs."""
        size = self.networks.image.height * self.networks.image.width
        count = next((n for n in (10, 8, 6, 4) if n * n * size <= MOST_PIXELS), 3)
        pairs = held_out(self.config, self.device, self.config.data.reported_split, count)
        shared = self.networks.encode("x", pairs.images["x"]).shared
        given = self.networks.encode("y", pairs.images["y"]).exclusive
        fake = self.networks.decode("y", shared.repeat_interleave(len(pairs), 0), given.repeat(len(pairs), 1))
        labels = [f"image {i + 1}" for i in range(len(pairs))]
        axes = [
            Axis("shared part, of x", labels, 0, Images.of_unit_range(unit_range(pairs.images["x"]))),
            Axis("exclusive part, of y", labels, 0, Images.of_unit_range(unit_range(pairs.images["y"]))),
        ]
        return Explorer(axes, Images.of_unit_range(unit_range(fake)), "An image of y with the shared part of one of x.")

    def programs(self) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
        """An encoder and a decoder for each domain: images to S and E in one row, E and S to images."""
        network = self.networks
        image = torch.zeros(2, *network.image.shape, device=self.device)
        found: dict[str, tuple[nn.Module, tuple[Tensor, ...]]] = {}
        for domain in DOMAINS:
            parts = network.encode(domain, image)
            found[f"encoder_{domain}"] = (_Flat(network.translators.encoders[domain]), (image,))
            found[f"decoder_{domain}"] = (network.translators.decoders[domain], (parts.exclusive, parts.shared))
        return found

    def _pixels(self, images: ImagesIn, resize: bool) -> Tensor:
        return normalised(pixels_of(images, self.networks.image.shape, resize).to(self.device))

    @staticmethod
    def _other(domain: str) -> str:
        if domain not in DOMAINS:
            raise ConfigError(f"{domain}: no domain; expected {' or '.join(DOMAINS)}")
        return OTHER[domain]


class _Flat(nn.Module):
    """Images (B, C, s, s) to S and E in one row, (B, shared * 64 + exclusive)."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        parts = self.encoder(images)
        return torch.cat([parts.shared.flatten(1), parts.exclusive], 1)


def trained(config: SystemConfig, model: AnyModel, origin: Origin) -> CDD:
    """See :func:`unbraid.trainers.use.trained.trained_model`."""
    assert isinstance(model, Model)
    return CDD(config, model, origin)
