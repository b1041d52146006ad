"""The pose branch's update (Ma et al., CVPR 2018, section 3.1): an auto-encoder of pose vectors, on squared error."""

import torch

from unbraid.models.dpig.embeddings import PoseAutoencoder
from unbraid.models.dpig.pose import pose_vectors
from unbraid.models.losses import pose_loss
from unbraid.trainers.data import Batch
from unbraid.trainers.step.adversaries import Adversaries
from unbraid.trainers.step.distributed import World
from unbraid.trainers.step.player import Player, adam_player
from unbraid.trainers.system import Scalars
from unbraid.trainers.systems.dpig.batch import training_batch
from unbraid.trainers.systems.dpig.pose.config import Config
from unbraid.trainers.systems.dpig.pose.model import Model


class PoseSystem(Adversaries):
    """One player, which learns to compress poses."""

    def __init__(self, config: Config, device: torch.device, world: World) -> None:
        optim = config.optim
        autoencoder = PoseAutoencoder(config.networks.pose).to(device)
        self.autoencoder: Player[PoseAutoencoder] = adam_player(
            "autoencoder", autoencoder, optim.lr, optim.betas, config, world, ema=True
        )
        super().__init__(config, (self.autoencoder,), optim, device, world)
        self.config = config
        self.size = (config.networks.image.height, config.networks.image.width)

    @property
    def model(self) -> Model:
        """The moving average."""
        return Model(self.autoencoder.ema, self.size, self.device)

    def step(self, batch: Batch) -> Scalars:
        """One update on the poses of a batch, min λ·E[(p̂ − p)²]; its images are not used."""
        self.begin_update()
        _, keypoints = training_batch(batch, self.config.data.augment, self.random)
        vectors = pose_vectors(keypoints, self.size)
        with self.autocast():
            rebuilt = self.autoencoder(vectors)
        loss = pose_loss(rebuilt.float(), vectors, counts_missing=self.config.loss.missing == "counted")
        self.autoencoder.update(self.config.loss.reconstruction * loss)
        return self.end_update({"loss/pose": loss.detach()})


def build(config: Config, device: torch.device, world: World) -> PoseSystem:
    """A fresh pose auto-encoder; weights come from torch's global seed."""
    return PoseSystem(config, device, world)
