"""PG²'s update (Ma et al., NIPS 2017): a generator that turns one image of a person into another, against a discriminator."""

import torch
from torch import Tensor

from unbraid.models.dpig.posed import PosedGenerator
from unbraid.trainers.data import Batch
from unbraid.trainers.monitor.judge import FAKE_DEVIATION, REAL_DEVIATION
from unbraid.trainers.step.distributed import World
from unbraid.trainers.step.images import sample_deviation
from unbraid.trainers.system import Scalars
from unbraid.trainers.systems.dpig.discrimination import AgainstDiscriminator
from unbraid.trainers.systems.dpig.pg2.config import Config
from unbraid.trainers.systems.dpig.pg2.model import Model, body_masks
from unbraid.trainers.systems.dpig.pg2.pairs import Pairs, training_pairs


class PG2(AgainstDiscriminator[PosedGenerator]):
    """Two players: the generator and its discriminator."""

    def __init__(self, config: Config, device: torch.device, world: World) -> None:
        sizes = config.networks
        super().__init__(config, PosedGenerator(sizes.generator, sizes.drawing, sizes.image), device, world)
        self.config = config

    @property
    def model(self) -> Model:
        """The generator's moving average."""
        return Model(self.generator.ema, self.device)

    def step(self, batch: Batch) -> Scalars:
        """One update of the discriminator, then one of the generator, both on the same generated images."""
        self.begin_update()
        count = len(batch["person"]) // self.config.images_per_pair
        pairs = training_pairs(batch, count, self.config.data.augment.flip, self.random)
        with self.autocast():
            fake = self.generator(pairs.condition, pairs.keypoints)
        scalars: Scalars = {"pairs/found": pairs.found.mean()}
        scalars |= self.update_discriminator(pairs.target, fake.detach())
        scalars |= self.update_generator(pairs, fake)
        scalars |= {REAL_DEVIATION: sample_deviation(pairs.target), FAKE_DEVIATION: sample_deviation(fake)}
        return self.end_update(scalars)

    def update_generator(self, pairs: Pairs, fake: Tensor) -> Scalars:
        """G: min λ_rec·E[|x̂ − x|·(1 + λ_mask·M)] − λ_adv·E[log D(x̂)], M the body mask of the target x."""
        mask = body_masks(self.generator.network, pairs.keypoints)
        error = (fake.float() - pairs.target).abs()
        reconstruction = paired_mean(error * (1 + self.config.loss.mask * mask), pairs.found)
        scalars = {"loss/l1": paired_mean(error, pairs.found).detach(), "loss/masked_l1": reconstruction.detach()}
        return scalars | self.update_generator_by(reconstruction, pairs.target, fake)


def paired_mean(values: Tensor, found: Tensor) -> Tensor:
    """The mean of (K, ...) over the pairs whose ``found`` (K,) is 1; 0 where there is none."""
    mean: Tensor = (values.flatten(1).mean(1) * found).sum() / found.sum().clamp_min(1)
    return mean


def build(config: Config, device: torch.device, world: World) -> PG2:
    """A fresh PG²; weights come from torch's global seed."""
    return PG2(config, device, world)
