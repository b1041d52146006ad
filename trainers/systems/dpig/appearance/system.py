"""Stage I's update (Ma et al., CVPR 2018, section 3.1): the painter against a DCGAN critic, on L1 and adversarial loss."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from unbraid.models.dpig.generator import Discriminator, Painter
from unbraid.models.ema import averaged, follow_when_due
from unbraid.models.losses import discriminator_loss, generator_loss
from unbraid.models.normalization import synchronise_batch_norm
from unbraid.trainers.step.distributed import World, frozen, player
from unbraid.trainers.step.images import sample_deviation
from unbraid.trainers.step.precision import autocast, resolve_precision
from unbraid.trainers.step.schedule import rate_factor, set_learning_rates
from unbraid.trainers.system import Batch
from unbraid.trainers.systems.dpig.appearance.config import Config
from unbraid.trainers.systems.dpig.appearance.measures import evaluate
from unbraid.trainers.systems.dpig.appearance.pictures import explanation_grids, preview_grids
from unbraid.trainers.systems.dpig.batch import training_batch
from unbraid.trainers.systems.dpig.model import Model


class Appearance:
    """Two players: the painter (encoder and decoder of appearance) and its critic."""

    def __init__(self, config: Config, device: torch.device, world: World) -> None:
        self.config = config
        self._world = world
        self.device = device
        sizes = config.networks
        self.painter = Painter(sizes.encoder, sizes.decoder, sizes.drawing, sizes.image).to(device)
        self.discriminator = Discriminator(sizes.critic, sizes.image).to(device)
        self.average = averaged(self.painter)
        if config.run.batch_norm == "global" and world.size > 1:
            synchronise_batch_norm(self.discriminator)
        self.networks: dict[str, nn.Module] = {
            "painter": self.painter,
            "discriminator": self.discriminator,
            "painter_average": self.average,
        }
        self._player_g, self._player_d = player(self.painter, world), player(self.discriminator, world)
        fused = device.type in ("cpu", "cuda")
        optim = config.optim
        self._adam_g = Adam(self.painter.parameters(), optim.lr_painter, optim.betas, fused=fused)
        self._adam_d = Adam(self.discriminator.parameters(), optim.lr_discriminator, optim.betas, fused=fused)
        self.optimizers: dict[str, Optimizer] = {"painter": self._adam_g, "discriminator": self._adam_d}
        self.random = world.random(config.run.seed, device)
        self._dtype = resolve_precision(config.run.precision, device)
        self.updates = 0

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One update of the critic on the painter's images, then one of the painter, which made them."""
        self.random.seek(self.updates)
        optim = self.config.optim
        factor = rate_factor(optim, self.updates, self.config.run.updates)
        set_learning_rates([(self._adam_g, optim.lr_painter), (self._adam_d, optim.lr_discriminator)], factor)
        images, keypoints = training_batch(batch, self.config.data.augment, self.random)
        with autocast(self.device, self._dtype):
            rebuilt = self._player_g(images, keypoints)
        judged = self._has_critic
        scalars = self._update_discriminator(images, rebuilt.detach()) if judged else {}
        scalars.update(self._update_painter(images, rebuilt, judged))
        scalars["samples/real_deviation"] = sample_deviation(images)
        scalars["samples/made_deviation"] = sample_deviation(rebuilt)
        self.updates += 1
        follow_when_due(self.average, self.painter, self.updates, optim.ema_decay, optim.ema_every)
        return scalars

    def _update_discriminator(self, images: Tensor, rebuilt: Tensor) -> dict[str, Tensor]:
        with autocast(self.device, self._dtype):
            real_logits, made_logits = self._player_d(images, rebuilt)
        loss = discriminator_loss(real_logits, made_logits) / 2
        self._adam_d.zero_grad()
        self._world.backward(loss)
        self._adam_d.step()
        return {
            "loss/d": loss.detach(),
            "logit/real": real_logits.detach().float().mean(),
            "logit/made": made_logits.detach().float().mean(),
        }

    @property
    def _has_critic(self) -> bool:
        loss = self.config.loss
        return loss.adversarial > 0 and self.updates >= loss.adversarial_from * self.config.run.updates

    def _update_painter(self, images: Tensor, rebuilt: Tensor, judged: bool) -> dict[str, Tensor]:
        weights = self.config.loss
        reconstruction = F.l1_loss(rebuilt.float(), images)
        total = weights.reconstruction * reconstruction
        scalars = {"loss/l1": reconstruction.detach()}
        with frozen(self.discriminator):
            if judged:
                with autocast(self.device, self._dtype):
                    logits = self.discriminator.judge(rebuilt)
                adversarial = generator_loss(logits)
                total = total + weights.adversarial * adversarial
                scalars["loss/g"] = adversarial.detach()
            self._adam_g.zero_grad()
            self._world.backward(total)
        self._adam_g.step()
        return scalars

    @property
    def model(self) -> Model:
        """What pictures and measures use: the averaged painter."""
        return Model(self.config.networks.image, self.average, device=self.device)

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Nothing is needed."""

    def preview(self) -> dict[str, Tensor]:
        """Held-out people rebuilt, and each factor exchanged among them."""
        return preview_grids(self)

    def evaluate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Quality of rebuilt and of re-posed images, and how well the factors are separated."""
        return evaluate(self, batches)

    def figures(self, batches: Iterable[Batch]) -> dict[str, Tensor]:
        """Pose transfer beside what it should have been; the leakage matrix where the truth is known."""
        return explanation_grids(self, batches)


def build(config: Config, device: torch.device, world: World) -> Appearance:
    """A fresh stage I; weights come from torch's global seed."""
    return Appearance(config, device, world)
