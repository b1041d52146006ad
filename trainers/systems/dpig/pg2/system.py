"""PG²'s update (Ma et al., NIPS 2017): a generator that turns one image of a person into another, against a discriminator."""

import torch
from torch import Tensor

from unbraid.models.dpig.generator import Discriminator
from unbraid.models.dpig.posed import PosedGenerator
from unbraid.models.losses import discriminator_loss, generator_loss
from unbraid.trainers.data import Batch
from unbraid.trainers.step.adversaries import Adversaries
from unbraid.trainers.step.distributed import World
from unbraid.trainers.step.images import sample_deviation
from unbraid.trainers.step.player import Player, adam_player
from unbraid.trainers.system import DISCRIMINATOR_LOSS, FAKE_DEVIATION, REAL_DEVIATION, Scalars
from unbraid.trainers.systems.dpig.pg2.config import Config
from unbraid.trainers.systems.dpig.pg2.model import Model, body_masks
from unbraid.trainers.systems.dpig.pg2.pairs import Pairs, require_pairs, training_pairs


class PG2(Adversaries):
    """Two players: the generator and its discriminator."""

    def __init__(self, config: Config, device: torch.device, world: World) -> None:
        sizes, optim = config.networks, config.optim
        generator = PosedGenerator(sizes.generator, sizes.drawing, sizes.image).to(device)
        discriminator = Discriminator(sizes.discriminator, sizes.image).to(device)
        self.generator: Player[PosedGenerator] = adam_player(
            "generator", generator, optim.lr_generator, optim.betas, config, world, ema=True
        )
        self.discriminator: Player[Discriminator] = adam_player(
            "discriminator", discriminator, optim.lr_discriminator, optim.betas, config, world
        )
        super().__init__(config, (self.generator, self.discriminator), optim, device, world)
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
        if self._has_discriminator:
            scalars |= self._update_discriminator(pairs.target, fake.detach())
        scalars |= self._update_generator(pairs, fake)
        scalars |= {REAL_DEVIATION: sample_deviation(pairs.target), FAKE_DEVIATION: sample_deviation(fake)}
        self.end_update()
        return scalars

    @property
    def _has_discriminator(self) -> bool:
        loss = self.config.loss
        return loss.adversarial > 0 and self.updates >= loss.adversarial_from * self.config.run.updates

    def _update_discriminator(self, real: Tensor, fake: Tensor) -> Scalars:
        """D: min (−E[log D(x)] − E[log(1 − D(x̂))]) / 2."""
        with self.autocast():
            real_logits, fake_logits = self.discriminator(real, fake)
        loss = discriminator_loss(real_logits, fake_logits) / 2
        self.discriminator.update(loss)
        return {
            DISCRIMINATOR_LOSS: loss.detach(),
            "logit/real": real_logits.detach().float().mean(),
            "logit/fake": fake_logits.detach().float().mean(),
        }

    def _update_generator(self, pairs: Pairs, fake: Tensor) -> Scalars:
        """G: min λ_rec·E[|x̂ − x|·(1 + λ_mask·M)] − λ_adv·E[log D(x̂)], M the body mask of the target x."""
        weight = self.config.loss
        mask = body_masks(self.generator.network, pairs.keypoints)
        error = (fake.float() - pairs.target).abs()
        reconstruction = paired_mean(error * (1 + weight.mask * mask), pairs.found)
        scalars = {"loss/l1": paired_mean(error, pairs.found).detach(), "loss/masked_l1": reconstruction.detach()}
        if not self._has_discriminator:
            self.generator.update(weight.reconstruction * reconstruction)
            return scalars
        with self.discriminator.frozen():
            with self.autocast():
                logits = self.discriminator.network.forward_fake(pairs.target, fake)
            adversarial = generator_loss(logits)
            self.generator.update(weight.reconstruction * reconstruction + weight.adversarial * adversarial)
        return scalars | {"loss/g": adversarial.detach()}


def paired_mean(values: Tensor, found: Tensor) -> Tensor:
    """The mean of (K, ...) over the pairs whose ``found`` (K,) is 1; 0 where there is none."""
    mean: Tensor = (values.flatten(1).mean(1) * found).sum() / found.sum().clamp_min(1)
    return mean


def build(config: Config, device: torch.device, world: World) -> PG2:
    """A fresh PG²; weights come from torch's global seed.

    Raises:
        DataError: when the training split has no pairs; on the meta device, nothing is read.
    """
    if device.type != "meta":
        require_pairs(config.data)
    return PG2(config, device, world)
