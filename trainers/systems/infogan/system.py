"""InfoGAN's update (Chen et al., NIPS 2016; the order of updates and losses is the reference code's)."""

import torch
from torch import Tensor

from unbraid.models.augment import random_affine, random_colour, random_cutout, random_shift
from unbraid.models.infogan.codes import latent_vector, mutual_information, sample_codes, split_head
from unbraid.models.infogan.networks import Discriminator, Generator
from unbraid.models.losses import discriminator_loss, generator_loss, information_loss
from unbraid.trainers.data import Batch
from unbraid.trainers.monitor.judge import DISCRIMINATOR_LOSS, FAKE_DEVIATION, REAL_DEVIATION
from unbraid.trainers.step.adversaries import Adversaries
from unbraid.trainers.step.augmentation import augmented
from unbraid.trainers.step.distributed import World
from unbraid.trainers.step.images import sample_deviation
from unbraid.trainers.step.player import Player, adam_player
from unbraid.trainers.step.precision import full_precision
from unbraid.trainers.system import Scalars
from unbraid.trainers.systems.infogan.config import AugmentConfig, Config
from unbraid.trainers.systems.infogan.model import Model, normalise


class InfoGAN(Adversaries):
    """Two players: D with the trunk and Q, and G. Both minimise their adversarial loss minus λ·L_I."""

    def __init__(self, config: Config, device: torch.device, world: World) -> None:
        sizes, optim = config.networks, config.optim
        generator = Generator(sizes.generator, config.codes, sizes.image).to(device)
        discriminator = Discriminator(sizes.trunk, config.codes, sizes.image).to(device)
        self.generator: Player[Generator] = adam_player(
            "generator", generator, optim.lr_generator, optim.betas, config, world, ema=True
        )
        self.discriminator: Player[Discriminator] = adam_player(
            "discriminator", discriminator, optim.lr_discriminator, optim.betas, config, world, ema=True
        )
        super().__init__(config, (self.generator, self.discriminator), optim, device, world)
        self.config = config
        self.codes = config.codes

    @property
    def model(self) -> Model:
        """The moving averages."""
        return Model(self.config.networks, self.codes, self.generator.ema, self.discriminator.ema, self.device)

    def step(self, batch: Batch) -> Scalars:
        """One update of D, trunk and Q, then one of G, each with fresh codes."""
        self.begin_update()
        real = augmented(normalise(batch["image"], self.config.networks), self.config.data.augment, self.random)
        scalars = self.update_discriminator(real)
        scalars |= self.update_generator(len(real))
        return self.end_update(scalars)

    def update_discriminator(self, real: Tensor) -> Scalars:
        """D, trunk and Q: min −E[log D(x)] − E[log(1 − D(G(z, c)))] − λ·L_I(G, Q), equation 6 for this player."""
        loss = self.config.loss
        codes = sample_codes(self.codes, self.random, len(real))
        with self.autocast():
            with torch.no_grad():
                fake = self.generator.network(latent_vector(self.codes, codes))
            real_logits, fake_logits, head = self.discriminator(self._view(real), self._view(fake))
        adversarial = discriminator_loss(real_logits, fake_logits)
        information = mutual_information(self.codes, split_head(self.codes, head), codes)
        self.discriminator.update(adversarial + information_loss(information, loss.info_categorical, loss.info_continuous))
        return {f"info/{name}_nats": value.detach() for name, value in information.items()} | {
            DISCRIMINATOR_LOSS: adversarial.detach(),
            "logit/real": real_logits.detach().float().mean(),
            "logit/fake": fake_logits.detach().float().mean(),
            REAL_DEVIATION: sample_deviation(real),
            FAKE_DEVIATION: sample_deviation(fake),
        }

    def update_generator(self, batch: int) -> Scalars:
        """G: min −E[log D(G(z, c))] − λ·L_I(G, Q), equation 6 for this player; L_I reaches G through a Q that is frozen."""
        loss = self.config.loss
        codes = sample_codes(self.codes, self.random, batch)
        with self.discriminator.frozen():
            with self.autocast():
                fake = self.generator(latent_vector(self.codes, codes))
                logits, head = self.discriminator.network.forward_fake(self._view(fake))
            adversarial = total = generator_loss(logits)
            if loss.info_generator:
                information = mutual_information(self.codes, split_head(self.codes, head), codes)
                total = adversarial + information_loss(information, loss.info_categorical, loss.info_continuous)
            self.generator.update(total)
        return {"loss/g": adversarial.detach()}

    def _view(self, images: Tensor) -> Tensor:
        """Images as D, trunk and Q see them: through a random change, fresh for each image and use, where that is enabled."""
        augment = self.config.augment
        if not augment.enabled:
            return images
        with full_precision(self.device):
            return self._changed(images.float(), augment)

    def _changed(self, images: Tensor, augment: AugmentConfig) -> Tensor:
        images = random_affine(
            images, self.random, augment.degrees, augment.scale, augment.shear, augment.shift, augment.padding
        )
        if max(augment.brightness, augment.contrast, augment.saturation) > 0:
            images = random_colour(images, self.random, augment.brightness, augment.contrast, augment.saturation)
        if augment.translation:
            rows, columns = (round(augment.translation * side) for side in images.shape[2:])
            images = random_shift(images, self.random, rows, columns, augment.padding)
        if augment.cutout:
            images = random_cutout(images, self.random, augment.cutout)
        return images


def build(config: Config, device: torch.device, world: World) -> InfoGAN:
    """A fresh InfoGAN; weights come from torch's global seed."""
    return InfoGAN(config, device, world)
