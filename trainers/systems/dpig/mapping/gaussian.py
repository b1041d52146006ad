"""Stage II without learning: each factor's embeddings are drawn from the Gaussian of their mean and covariance.

It is the least that a mapping must beat, and a sampler that can be inverted exactly.
"""

from __future__ import annotations

import torch

from unbraid.models.dpig.embeddings import NoiseMappings
from unbraid.trainers.data import Batch
from unbraid.trainers.step.distributed import World
from unbraid.trainers.system import Scalars
from unbraid.trainers.systems.dpig.mapping.config import Config
from unbraid.trainers.systems.dpig.mapping.embedding import EmbeddingSystem, StageOne
from unbraid.trainers.systems.dpig.model import Model
from unbraid.trainers.systems.dpig.networks import frozen


class GaussianSystem(EmbeddingSystem):
    """No player: an update counts a batch into the moments, so that one pass over the training split is all there is to do.

    After every update the mappings are those of all images so far.
    """

    def __init__(self, config: Config, stage_one: StageOne, device: torch.device, world: World) -> None:
        widths = stage_one.widths(config.factors)
        self.mappings = frozen(NoiseMappings(config.mapping_specs, widths, correlated=True).to(device))
        super().__init__(config, stage_one, (), device, world, {"mappings": self.mappings}, has_moments=True)

    @property
    def model(self) -> Model:
        """Stage I, and the Gaussians fitted so far."""
        return self.model_with(self.mappings)

    def step(self, batch: Batch) -> Scalars:
        """Count a batch's embeddings into mean and covariance."""
        self.begin_update()
        scalars = self.fit(self.embedded(batch), self.mappings)
        return self.end_update(scalars)
