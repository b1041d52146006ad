"""What both kinds of stage II do: embed batches by a stage I that is fixed, and sum up the embeddings' moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unbraid.models.dpig.embeddings import NoiseMappings, PoseAutoencoder
from unbraid.models.dpig.generator import Generator
from unbraid.models.dpig.moments import Moments
from unbraid.models.dpig.pose import pose_vectors
from unbraid.trainers.data import Batch
from unbraid.trainers.step.adversaries import Adversaries
from unbraid.trainers.step.distributed import World, sum_over_ranks
from unbraid.trainers.step.player import Player
from unbraid.trainers.system import Scalars
from unbraid.trainers.systems.dpig.batch import training_batch
from unbraid.trainers.systems.dpig.mapping.config import Config
from unbraid.trainers.systems.dpig.model import CHUNK, Model

Embeddings = dict[str, Tensor]
"""(B, width) by factor."""


@dataclass(frozen=True)
class StageOne:
    """The networks of stage I, frozen."""

    generator: Generator
    pose_autoencoder: PoseAutoencoder

    def widths(self, factors: Sequence[str]) -> dict[str, int]:
        """Length of each factor's embedding."""
        spec = self.generator.encoder.spec
        widths = {"foreground": spec.foreground, "background": spec.background, "pose": self.pose_autoencoder.spec.embedding}
        return {factor: widths[factor] for factor in factors}


class EmbeddingSystem(Adversaries):
    """Stage II without its update; stage I travels in this run's checkpoints.

    Args:
        players: of the update.
        fixed: further networks that no player trains, and checkpoints hold.
        has_moments: whether moments are summed up over several updates, so that checkpoints hold them.
    """

    def __init__(
        self,
        config: Config,
        stage_one: StageOne,
        players: tuple[Player[Any], ...],
        device: torch.device,
        world: World,
        fixed: dict[str, nn.Module],
        has_moments: bool,
    ) -> None:
        self.config = config
        self.world = world
        self.generator, self.pose_autoencoder = stage_one.generator, stage_one.pose_autoencoder
        self.widths = stage_one.widths(config.factors)
        self.size = (config.networks.image.height, config.networks.image.width)
        self.moments = {factor: Moments(width).to(device) for factor, width in self.widths.items()}
        stored = {"generator": self.generator, "pose_autoencoder": self.pose_autoencoder} | fixed
        if has_moments:
            stored["moments"] = nn.ModuleDict(self.moments)
        super().__init__(config, players, config.optim, device, world, stored)

    def model_with(self, mappings: NoiseMappings) -> Model:
        """Stage I and these mappings."""
        config = self.config
        return Model(
            config.networks.image, self.generator, self.pose_autoencoder, mappings.as_dict(), config.input_std, self.device
        )

    def embedded(self, batch: Batch) -> Embeddings:
        """Embeddings of a training batch, changed as configured."""
        return self.embed(*training_batch(batch, self.config.data.augment, self.random))

    @torch.no_grad()
    def embed(self, images: Tensor, keypoints: Tensor) -> Embeddings:
        """Real embeddings (B, width) by factor, float32."""
        real: Embeddings = {}
        with self.autocast():
            if "foreground" in self.widths or "background" in self.widths:
                chunks = zip(images.split(CHUNK), keypoints.split(CHUNK), strict=True)
                foregrounds, backgrounds = zip(*(self.generator.encoder(i, k) for i, k in chunks), strict=True)
                real["foreground"], real["background"] = torch.cat(foregrounds), torch.cat(backgrounds)
            if "pose" in self.widths:
                real["pose"] = self.pose_autoencoder.encode(pose_vectors(keypoints, self.size))
        return {factor: real[factor].float() for factor in self.widths}

    def fit(self, embeddings: Embeddings, *networks: NoiseMappings) -> Scalars:
        """Count the global batch's embeddings into the moments, and standardise mappings by them.

        Args:
            embeddings: this rank's.
        """
        scalars: Scalars = {}
        for factor, moments in self.moments.items():
            of_batch = Moments(self.widths[factor]).to(self.device)
            of_batch.add(embeddings[factor])
            for summed in of_batch.buffers():
                summed.copy_(sum_over_ranks(summed, self.world))
            moments.merge(of_batch)
            for mappings in networks:
                mappings.as_dict()[factor].fit(moments)
            scalars[f"gaussian/{factor}_deviation"] = moments.std.mean().float()
            scalars["gaussian/images"] = moments.count.float()
        return scalars
