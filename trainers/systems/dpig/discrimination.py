"""A generator of people that learns against a discriminator: what is the same for every generator of DPIG and its baseline."""

from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from unbraid.models.dpig.generator import Discriminator
from unbraid.models.losses import discriminator_loss, generator_loss
from unbraid.trainers.monitor.judge import DISCRIMINATOR_LOSS
from unbraid.trainers.step.adversaries import Adversaries
from unbraid.trainers.step.distributed import World
from unbraid.trainers.step.player import Player, adam_player
from unbraid.trainers.system import Scalars
from unbraid.trainers.systems.dpig.sections import AdversarialConfig

Network = TypeVar("Network", bound=nn.Module)


class AgainstDiscriminator(Adversaries, Generic[Network]):
    """Two players: a generator and its discriminator (Ma et al., CVPR 2018, section 3.1), which may come in later.

    Systems derive from this; their ``step`` says what is generated of what, and by which reconstruction it is judged.

    Args:
        generator: with fresh weights.
    """

    def __init__(self, config: AdversarialConfig, generator: Network, device: torch.device, world: World) -> None:
        sizes, optim = config.networks, config.optim
        discriminator = Discriminator(sizes.discriminator, sizes.image).to(device)
        self.generator: Player[Network] = adam_player(
            "generator", generator.to(device), optim.lr_generator, optim.betas, config, world, ema=True
        )
        self.discriminator: Player[Discriminator] = adam_player(
            "discriminator", discriminator, optim.lr_discriminator, optim.betas, config, world
        )
        super().__init__(config, (self.generator, self.discriminator), optim, device, world)
        self._loss = config.loss

    @property
    def has_discriminator(self) -> bool:
        """Whether the discriminator takes part in the update that comes next."""
        return self._loss.adversarial > 0 and self.updates >= self._loss.adversarial_from * self._budget

    def update_discriminator(self, real: Tensor, fake: Tensor) -> Scalars:
        """D: min (−E[log D(x)] − E[log(1 − D(x̂))]) / 2; nothing where it takes no part.

        Args:
            fake: without its gradient.
        """
        if not self.has_discriminator:
            return {}
        with self.autocast():
            real_logits, fake_logits = self.discriminator(real, fake)
        loss = discriminator_loss(real_logits, fake_logits) / 2
        self.discriminator.update(loss)
        return {
            DISCRIMINATOR_LOSS: loss.detach(),
            "logit/real": real_logits.detach().float().mean(),
            "logit/fake": fake_logits.detach().float().mean(),
        }

    def update_generator_by(self, reconstruction: Tensor, real: Tensor, fake: Tensor) -> Scalars:
        """G: min λ_rec·``reconstruction`` − λ_adv·E[log D(x̂)]; without the second term where D takes no part."""
        weight = self._loss
        if not self.has_discriminator:
            self.generator.update(weight.reconstruction * reconstruction)
            return {}
        with self.discriminator.frozen():
            with self.autocast():
                logits = self.discriminator.network.forward_fake(real, fake)
            adversarial = generator_loss(logits)
            self.generator.update(weight.reconstruction * reconstruction + weight.adversarial * adversarial)
        return {"loss/g": adversarial.detach()}
