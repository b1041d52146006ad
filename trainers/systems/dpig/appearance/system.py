"""Stage I's update (Ma et al., CVPR 2018, section 3.1): a generator against a discriminator, on L1 and adversarial loss."""

import torch
from torch import Tensor
from torch.nn import functional as F

from unbraid.models.dpig.generator import Generator
from unbraid.trainers.data import Batch
from unbraid.trainers.monitor.judge import FAKE_DEVIATION, REAL_DEVIATION
from unbraid.trainers.step.distributed import World
from unbraid.trainers.step.images import sample_deviation
from unbraid.trainers.system import Scalars
from unbraid.trainers.systems.dpig.appearance.config import Config
from unbraid.trainers.systems.dpig.batch import training_batch
from unbraid.trainers.systems.dpig.discrimination import AgainstDiscriminator
from unbraid.trainers.systems.dpig.model import Model


class Appearance(AgainstDiscriminator[Generator]):
    """Two players: the generator (encoder and decoder of appearance) and its discriminator."""

    def __init__(self, config: Config, device: torch.device, world: World) -> None:
        sizes = config.networks
        super().__init__(config, Generator(sizes.encoder, sizes.decoder, sizes.drawing, sizes.image), device, world)
        self.config = config

    @property
    def model(self) -> Model:
        """The generator's moving average."""
        return Model(self.config.networks.image, self.generator.ema, device=self.device)

    def step(self, batch: Batch) -> Scalars:
        """One update of the discriminator, then one of the generator, both on the same rebuilt images."""
        self.begin_update()
        images, keypoints = training_batch(batch, self.config.data.augment, self.random)
        with self.autocast():
            rebuilt = self.generator(images, keypoints)
        scalars = self.update_discriminator(images, rebuilt.detach())
        scalars |= self.update_generator(images, rebuilt)
        scalars |= {REAL_DEVIATION: sample_deviation(images), FAKE_DEVIATION: sample_deviation(rebuilt)}
        return self.end_update(scalars)

    def update_generator(self, images: Tensor, rebuilt: Tensor) -> Scalars:
        """G: min λ_rec·E[|x̂ − x|] − λ_adv·E[log D(x̂)]."""
        reconstruction = F.l1_loss(rebuilt.float(), images)
        return {"loss/l1": reconstruction.detach()} | self.update_generator_by(reconstruction, images, rebuilt)


def build(config: Config, device: torch.device, world: World) -> Appearance:
    """A fresh stage I; weights come from torch's global seed."""
    return Appearance(config, device, world)
