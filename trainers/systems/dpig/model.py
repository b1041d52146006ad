"""A trained DPIG: images to factors, factors to images, noise to factors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unbraid.models.dpig.embeddings import NoiseMapping, PoseAutoencoder
from unbraid.models.dpig.generator import Generator
from unbraid.models.dpig.pose import body_mask, keypoints_of, pose_vectors
from unbraid.models.dpig.specs import FACTORS
from unbraid.models.image_spec import ImageSpec
from unbraid.models.random import RandomSource
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.step.distributed import World, spread
from unbraid.trainers.systems.dpig.people import People

CHUNK = 32
"""Images that go through the networks at a time, where no gradients are kept: 256x256 ones fit a GPU of 16 GB."""


@dataclass(frozen=True)
class Factors:
    """The factors of B images.

    Attributes:
        foreground: (B, 7·region).
        background: (B, background); (B, 0) where the model has no such factor.
        pose: (B, 18, 3) keypoints.
    """

    foreground: Tensor
    background: Tensor
    pose: Tensor

    def __len__(self) -> int:
        return len(self.pose)

    def __getitem__(self, rows: Tensor | slice) -> Factors:
        return Factors(*(getattr(self, name)[rows] for name in FACTORS))

    def exchanged(self, factor: str, others: Factors) -> Factors:
        """The same factors, with one of them taken from others."""
        return replace(self, **{factor: getattr(others, factor)})

    def repeated(self, times: int) -> Factors:
        """Each row repeated so many times in succession."""
        return Factors(*(getattr(self, name).repeat_interleave(times, 0) for name in FACTORS))

    def tiled(self, times: int) -> Factors:
        """All rows repeated so many times."""
        return Factors(*(torch.cat([getattr(self, name)] * times) for name in FACTORS))


class Model:
    """The networks of one or both stages, in evaluation mode, without gradients unless asked for.

    Args:
        image: that the networks are built for.
        generator: of stage I.
        pose_autoencoder: of stage I, where stage II or a whole pipeline is at hand.
        mappings: of stage II by factor; empty for stage I alone.
        noise_std: of the noise that the mappings were trained on.
        world: of the ranks among which encoding and decoding are shared out; all of them call with the same images.
    """

    def __init__(
        self,
        image: ImageSpec,
        generator: Generator,
        pose_autoencoder: PoseAutoencoder | None = None,
        mappings: Mapping[str, NoiseMapping] | None = None,
        noise_std: float = 1.0,
        device: torch.device | None = None,
        world: World | None = None,
    ) -> None:
        self.image = image
        self.size = (image.height, image.width)
        self.generator = generator
        self.pose_autoencoder = pose_autoencoder
        self.mappings = dict(mappings or {})
        self.noise_std = noise_std
        self.device = device or torch.device("cpu")
        self.world = world or World()

    @property
    def factors(self) -> tuple[str, ...]:
        """The factors that this model takes images apart into: all, or foreground and pose."""
        return self.generator.encoder.spec.factors

    def require(self, factor: str) -> None:
        """Check that images are taken apart into this factor.

        Raises:
            ConfigError: when they are not.
        """
        if factor not in self.factors:
            raise ConfigError(
                f"this run has no {factor} (networks.encoder.{factor}=0): it takes people apart into "
                f"{' and '.join(self.factors)}; name one of these"
            )

    def shared_over(self, world: World) -> Model:
        """The same model, its work shared out over ranks."""
        return Model(self.image, self.generator, self.pose_autoencoder, self.mappings, self.noise_std, self.device, world)

    @torch.no_grad()
    def encode(self, images: Tensor, keypoints: Tensor) -> Factors:
        """Factors of images (B, 3, H, W) in [-1, 1]."""
        chunks = list(zip(images.split(CHUNK), keypoints.split(CHUNK), strict=True))
        joined = torch.cat(spread(lambda chunk: torch.cat(self.generator.encoder(*chunk), 1), chunks, self.world))
        spec = self.generator.encoder.spec
        foreground, background = joined.split([spec.foreground, spec.background], 1)
        return Factors(foreground.contiguous(), background.contiguous(), keypoints)

    @torch.no_grad()
    def decode(self, factors: Factors) -> Tensor:
        """Images (B, 3, H, W), about in [-1, 1]."""
        chunks = [factors[slice(i, i + CHUNK)] for i in range(0, len(factors), CHUNK)]
        return torch.cat(spread(lambda f: self.generator.decoder(f.foreground, f.background, f.pose), chunks, self.world))

    def posed(self, condition: People, target: People) -> Tensor:
        """People in the poses of others, (N, 3, H, W)."""
        mine = self.encode(condition.images, condition.keypoints)
        return self.decode(replace(mine, pose=target.keypoints))

    def masks(self, keypoints: Tensor) -> Tensor:
        """(N, 1, H, W) coarse body masks, as the encoder uses them."""
        drawing = self.generator.encoder.drawing
        chunks = keypoints.split(2 * CHUNK)
        return torch.cat([body_mask(chunk, self.size, drawing.mask_radius, drawing.closing) for chunk in chunks])

    def embed_pose(self, keypoints: Tensor) -> Tensor:
        """(B, 18, 3) → (B, embedding)."""
        with torch.no_grad():
            return self._autoencoder().encode(pose_vectors(keypoints, self.size))

    def draw_pose(self, embedding: Tensor) -> Tensor:
        """(B, embedding) → keypoints (B, 18, 3)."""
        with torch.no_grad():
            return keypoints_of(self._autoencoder().decode(embedding), self.size)

    def noise(self, factor: str, count: int, source: RandomSource) -> Tensor:
        """Noise (count, width) for the mapping of a factor."""
        return self.noise_std * source.normal(count, self.mapping(factor).width)

    @torch.no_grad()
    def map(self, factor: str, noise: Tensor) -> Tensor:
        """Noise → one factor as :class:`Factors` holds it: an embedding, or keypoints."""
        embedding = self.mapping(factor).draw(noise)
        return self.draw_pose(embedding) if factor == "pose" else embedding

    def sample(self, count: int, source: RandomSource) -> Factors:
        """Factors drawn from noise, of people who do not exist."""
        return self.joined({factor: self.map(factor, self.noise(factor, count, source)) for factor in self.factors})

    def joined(self, values: Mapping[str, Tensor]) -> Factors:
        """The values of each of the model's factors; a background that the model does not have is empty."""
        absent = {"background": values["pose"].new_zeros(len(values["pose"]), 0)}
        return Factors(**(absent | dict(values)))

    def embedding(self, factor: str, factors: Factors) -> Tensor:
        """The embedding of one factor; a pose goes through its encoder."""
        value: Tensor = getattr(factors, factor)
        return self.embed_pose(value) if factor == "pose" else value

    def embeddings(self, images: Tensor, keypoints: Tensor) -> dict[str, Tensor]:
        """Real embeddings (B, width) of the factors that have a mapping."""
        factors = self.encode(images, keypoints)
        return {factor: self.embedding(factor, factors) for factor in self.mappings}

    def invert(self, factor: str, embedding: Tensor, steps: int = 300, rate: float = 0.02) -> tuple[Tensor, Tensor]:
        """The noise whose embedding is nearest: exact for a Gaussian, else found by Adam on the squared distance.

        Adam starts at the mean of the noise.

        Returns:
            Noise (B, width), and for each the distance that is left, as a share of the embedding's own distance from the mean
            embedding of fresh noise.
        """
        mapping = self.mapping(factor)
        if mapping.is_gaussian:
            return mapping.noise_of(embedding), embedding.new_zeros(len(embedding))
        target = mapping.standardise(embedding)
        noise = torch.zeros_like(embedding).requires_grad_()
        adam = torch.optim.Adam([noise], lr=rate)
        for _ in range(steps):
            adam.zero_grad()
            (mapping(noise) - target).square().sum().backward()
            adam.step()
        mapping.zero_grad()
        with torch.no_grad():
            fresh = mapping(self.noise(factor, 500, RandomSource(0, self.device)))
            left = (mapping(noise) - target).norm(dim=1) / (target - fresh.mean(0)).norm(dim=1).clamp_min(1e-6)
        return noise.detach(), left

    def mapping(self, factor: str) -> NoiseMapping:
        """Φ of a factor.

        Raises:
            ConfigError: when this is a run of stage I, or one without that factor.
        """
        self.require(factor)
        if factor not in self.mappings:
            raise ConfigError(
                f"this run has no mapping for the {factor}: it draws only from images; "
                "train stage II (a dpig pipeline, or a dpig-…-mapping preset) and name that run"
            )
        return self.mappings[factor]

    def _autoencoder(self) -> PoseAutoencoder:
        if self.pose_autoencoder is None:
            raise ConfigError("this run has no pose auto-encoder; name a run of stage II (dpig-…-mapping)")
        return self.pose_autoencoder
