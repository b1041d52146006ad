"""The update: one player, the auto-encoder."""

import torch

from unbraid.models.tally.networks import Autoencoder
from unbraid.trainers.data import Batch
from unbraid.trainers.step.adversaries import Adversaries
from unbraid.trainers.step.augmentation import augmented
from unbraid.trainers.step.distributed import World
from unbraid.trainers.step.images import normalised
from unbraid.trainers.step.player import Player, adam_player
from unbraid.trainers.system import Scalars
from unbraid.trainers.systems.tally.config import Config
from unbraid.trainers.systems.tally.model import Model


class Tally(Adversaries):
    """An auto-encoder whose decoder is given the number of strokes."""

    def __init__(self, config: Config, device: torch.device, world: World) -> None:
        network = Autoencoder(config.networks.autoencoder, config.networks.image).to(device)
        optim = config.optim
        self.autoencoder: Player[Autoencoder] = adam_player(
            "autoencoder", network, optim.lr, optim.betas, config, world, ema=True
        )
        super().__init__(config, (self.autoencoder,), optim, device, world)
        self.config = config

    @property
    def model(self) -> Model:
        """The moving average."""
        return Model(self.autoencoder.ema, self.device)

    def step(self, batch: Batch) -> Scalars:
        """min λ_r·|G(E(x), n) − x| + λ_s·|E(x)|²."""
        self.begin_update()
        images = augmented(normalised(batch["image"]), self.config.data.augment, self.random)
        with self.autocast():
            rebuilt, style = self.autoencoder(images, batch["count"])
        reconstruction, size = (rebuilt.float() - images).abs().mean(), style.float().square().mean()
        loss = self.config.loss
        self.autoencoder.update(loss.reconstruction * reconstruction + loss.style * size)
        return self.end_update({"loss/reconstruction": reconstruction.detach(), "loss/style": size.detach()})


def build(config: Config, device: torch.device, world: World) -> Tally:
    """Build the system with fresh weights, from torch's global seed."""
    return Tally(config, device, world)
