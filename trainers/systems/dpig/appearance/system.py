"""Stage I's update (Ma et al., CVPR 2018, section 3.1): a generator against a discriminator, on L1 and adversarial loss."""

import torch
from torch import Tensor
from torch.nn import functional as F

from unbraid.models.dpig.generator import Discriminator, Generator
from unbraid.models.losses import discriminator_loss, generator_loss
from unbraid.trainers.data import Batch
from unbraid.trainers.step.adversaries import Adversaries
from unbraid.trainers.step.distributed import World
from unbraid.trainers.step.images import sample_deviation
from unbraid.trainers.step.player import Player, adam_player
from unbraid.trainers.system import DISCRIMINATOR_LOSS, FAKE_DEVIATION, REAL_DEVIATION, Scalars
from unbraid.trainers.systems.dpig.appearance.config import Config
from unbraid.trainers.systems.dpig.batch import training_batch
from unbraid.trainers.systems.dpig.model import Model


class Appearance(Adversaries):
    """Two players: the generator (encoder and decoder of appearance) and its discriminator."""

    def __init__(self, config: Config, device: torch.device, world: World) -> None:
        sizes, optim = config.networks, config.optim
        generator = Generator(sizes.encoder, sizes.decoder, sizes.drawing, sizes.image).to(device)
        discriminator = Discriminator(sizes.discriminator, sizes.image).to(device)
        self.generator: Player[Generator] = adam_player(
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
        return Model(self.config.networks.image, self.generator.ema, device=self.device)

    def step(self, batch: Batch) -> Scalars:
        """One update of the discriminator, then one of the generator, both on the same rebuilt images."""
        self.begin_update()
        images, keypoints = training_batch(batch, self.config.data.augment, self.random)
        with self.autocast():
            rebuilt = self.generator(images, keypoints)
        scalars: Scalars = {}
        if self._has_discriminator:
            scalars |= self._update_discriminator(images, rebuilt.detach())
        scalars |= self._update_generator(images, rebuilt)
        scalars |= {REAL_DEVIATION: sample_deviation(images), FAKE_DEVIATION: sample_deviation(rebuilt)}
        self.end_update()
        return scalars

    @property
    def _has_discriminator(self) -> bool:
        loss = self.config.loss
        return loss.adversarial > 0 and self.updates >= loss.adversarial_from * self.config.run.updates

    def _update_discriminator(self, images: Tensor, rebuilt: Tensor) -> Scalars:
        """D: min (−E[log D(x)] − E[log(1 − D(x̂))]) / 2."""
        with self.autocast():
            real_logits, fake_logits = self.discriminator(images, rebuilt)
        loss = discriminator_loss(real_logits, fake_logits) / 2
        self.discriminator.update(loss)
        return {
            DISCRIMINATOR_LOSS: loss.detach(),
            "logit/real": real_logits.detach().float().mean(),
            "logit/fake": fake_logits.detach().float().mean(),
        }

    def _update_generator(self, images: Tensor, rebuilt: Tensor) -> Scalars:
        """G: min λ_rec·E[|x̂ − x|] − λ_adv·E[log D(x̂)]."""
        weight = self.config.loss
        reconstruction = F.l1_loss(rebuilt.float(), images)
        if not self._has_discriminator:
            self.generator.update(weight.reconstruction * reconstruction)
            return {"loss/l1": reconstruction.detach()}
        with self.discriminator.frozen():
            with self.autocast():
                logits = self.discriminator.network.forward_fake(images, rebuilt)
            adversarial = generator_loss(logits)
            self.generator.update(weight.reconstruction * reconstruction + weight.adversarial * adversarial)
        return {"loss/l1": reconstruction.detach(), "loss/g": adversarial.detach()}


def build(config: Config, device: torch.device, world: World) -> Appearance:
    """A fresh stage I; weights come from torch's global seed."""
    return Appearance(config, device, world)
