"""Pix2pix's update (Isola et al., CVPR 2017, section 3): D on pairs of input and output first, then G against it and by L1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unbraid.models.domains import DOMAINS
from unbraid.models.losses import discriminator_loss, generator_loss
from unbraid.models.pix2pix.networks import Discriminator, Generator
from unbraid.trainers.data import Batch
from unbraid.trainers.monitor.judge import DISCRIMINATOR_LOSS, FAKE_DEVIATION, REAL_DEVIATION
from unbraid.trainers.step.adversaries import Adversaries
from unbraid.trainers.step.augmentation import augmented
from unbraid.trainers.step.distributed import World
from unbraid.trainers.step.images import normalised, sample_deviation
from unbraid.trainers.step.player import Player, adam_player
from unbraid.trainers.system import Scalars
from unbraid.trainers.systems.pix2pix.config import Config
from unbraid.trainers.systems.pix2pix.model import Model


class Pix2Pix(Adversaries):
    """Two players: G translates images x of one domain to the other, D tells pairs (x, y) from pairs (x, G(x))."""

    def __init__(self, config: Config, device: torch.device, world: World) -> None:
        sizes, optim = config.networks, config.optim
        generator = Generator(sizes.generator, sizes.image).to(device)
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
        config = self.config
        return Model(config.networks.image, config.source, config.target, self.generator.ema, self.device)

    def step(self, batch: Batch) -> Scalars:
        """One update of D, then one of G, on the same translations."""
        self.begin_update()
        given, real = self.training_pairs(batch)
        fake = self.translate(given)
        scalars = self.update_discriminator(given, real, fake)
        scalars |= self.update_generator(given, real, fake)
        return self.end_update(scalars)

    def training_pairs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Images to translate and their partners, in [-1, 1]; what moves one of a pair moves the other."""
        both = torch.cat([normalised(batch[domain]) for domain in DOMAINS], 1)
        images = dict(zip(DOMAINS, augmented(both, self.config.data.augment, self.random).chunk(2, 1), strict=True))
        return images[self.config.source], images[self.config.target]

    def translate(self, given: Tensor) -> Tensor:
        """G(x), with dropout, which is the only noise."""
        masks = self.generator.network.draw_masks(self.random, len(given))
        with self.autocast():
            fake: Tensor = self.generator(given, masks)
        return fake

    def update_discriminator(self, given: Tensor, real: Tensor, fake: Tensor) -> Scalars:
        """D: min ½·(−E[log D(x, y)] − E[log(1 − D(x, G(x)))]), the mean over patches (equation 1 for this player)."""
        with self.autocast():
            of_real, of_fake = self.discriminator(given, real, fake.detach())
        adversarial = discriminator_loss(of_real, of_fake)
        self.discriminator.update(self.config.loss.discriminator * adversarial)
        return {
            DISCRIMINATOR_LOSS: adversarial.detach(),
            "logit/real": of_real.detach().float().mean(),
            "logit/fake": of_fake.detach().float().mean(),
            REAL_DEVIATION: sample_deviation(real),
            FAKE_DEVIATION: sample_deviation(fake),
        }

    def update_generator(self, given: Tensor, real: Tensor, fake: Tensor) -> Scalars:
        """G: min −E[log D(x, G(x))] + λ·E|y − G(x)| (equation 4, the adversarial term non-saturating as in section 3.3)."""
        loss = self.config.loss
        with self.discriminator.frozen(), self.autocast():
            logits = self.discriminator.network.logits(given, fake)
        adversarial, distance = generator_loss(logits), F.l1_loss(fake.float(), real)
        self.generator.update(loss.adversarial * adversarial + loss.l1 * distance)
        return {"loss/g": adversarial.detach(), "loss/l1": distance.detach()}


def build(config: Config, device: torch.device, world: World) -> Pix2Pix:
    """A fresh pix2pix; weights come from torch's global seed."""
    return Pix2Pix(config, device, world)
