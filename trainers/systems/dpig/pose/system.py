"""The pose branch's update (Ma et al., CVPR 2018, section 3.1): an auto-encoder of pose vectors, on squared error."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from unbraid.models.dpig.embeddings import PoseAutoencoder
from unbraid.models.dpig.pose import pose_vectors
from unbraid.models.ema import averaged, follow_when_due
from unbraid.models.losses import pose_loss
from unbraid.trainers.runs.pictures import sheet
from unbraid.trainers.step.distributed import World, player
from unbraid.trainers.step.precision import autocast, resolve_precision
from unbraid.trainers.step.schedule import rate_factor, set_learning_rates
from unbraid.trainers.system import Batch
from unbraid.trainers.systems.dpig.batch import training_batch
from unbraid.trainers.systems.dpig.people import SHOWN, People, gather, sitters
from unbraid.trainers.systems.dpig.pictures import skeleton_images
from unbraid.trainers.systems.dpig.plausibility import PoseRange
from unbraid.trainers.systems.dpig.pose.config import Config
from unbraid.trainers.systems.dpig.pose.measures import evaluate, rebuilt_poses


class PoseSystem:
    """One player that learns to compress poses."""

    def __init__(self, config: Config, device: torch.device, world: World) -> None:
        self.config = config
        self._world = world
        self.device = device
        self.size = (config.networks.image.height, config.networks.image.width)
        self.autoencoder = PoseAutoencoder(config.networks.pose).to(device)
        self.average = averaged(self.autoencoder)
        self.networks: dict[str, nn.Module] = {"autoencoder": self.autoencoder, "autoencoder_average": self.average}
        self._player = player(self.autoencoder, world)
        optim = config.optim
        self._adam = Adam(self.autoencoder.parameters(), optim.lr, optim.betas, fused=device.type in ("cpu", "cuda"))
        self.optimizers: dict[str, Optimizer] = {"autoencoder": self._adam}
        self.random = world.random(config.run.seed, device)
        self._dtype = resolve_precision(config.run.precision, device)
        self.updates = 0
        self.range: PoseRange | None = None

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One update on the poses of a batch; its images are not looked at."""
        self.random.seek(self.updates)
        optim = self.config.optim
        factor = rate_factor(optim, self.updates, self.config.run.updates)
        set_learning_rates([(self._adam, optim.lr)], factor)
        _, keypoints = training_batch(batch, self.config.data.augment, self.random)
        vectors = pose_vectors(keypoints, self.size)
        with autocast(self.device, self._dtype):
            rebuilt = self._player(vectors)
        loss = pose_loss(rebuilt.float(), vectors)
        self._adam.zero_grad()
        self._world.backward(self.config.loss.reconstruction * loss)
        self._adam.step()
        self.updates += 1
        follow_when_due(self.average, self.autoencoder, self.updates, optim.ema_decay, optim.ema_every)
        return {"loss/pose": loss.detach()}

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Learn in which range training poses lie."""
        self.range = PoseRange.of(torch.cat([batch["keypoints"] for batch in batches]), self.size)

    def preview(self) -> dict[str, Tensor]:
        """Held-out people, their poses, and the poses rebuilt."""
        return {"poses": self._sheet(sitters(self.config, self.device))}

    def evaluate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Keypoint error, visibility, and plausibility of rebuilt poses."""
        return evaluate(self, batches)

    def figures(self, batches: Iterable[Batch]) -> dict[str, Tensor]:
        """More of the same people."""
        return {"poses_held_out": self._sheet(gather(batches, 3 * SHOWN)[slice(SHOWN, 3 * SHOWN)])}

    def _sheet(self, people: People) -> Tensor:
        rebuilt = rebuilt_poses(self.average, people.keypoints, self.size)
        rows = [(people.images + 1) / 2, skeleton_images(people.keypoints, self.size), skeleton_images(rebuilt, self.size)]
        return sheet(torch.cat(rows), len(people))


def build(config: Config, device: torch.device, world: World) -> PoseSystem:
    """A fresh pose auto-encoder; weights come from torch's global seed."""
    return PoseSystem(config, device, world)
