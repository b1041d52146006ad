"""InfoGAN's update (Chen et al., NIPS 2016; the order of updates and losses is the reference code's)."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from models.augment import random_affine
from models.codes import CodePosterior, latent_vector, mutual_information, sample_codes, split_head
from models.infogan import DiscriminatorHead, Generator, QHead, Trunk
from models.losses import discriminator_loss, generator_loss, information_loss
from models.normalization import synchronise_batch_norm, untracked
from models.random import RandomSource
from trainers.distributed import PlayerGradients, World, broadcast_from_main, frozen
from trainers.infogan.config import Config
from trainers.infogan.measures import evaluate
from trainers.infogan.pictures import explanation_grids, traversal_grids
from trainers.precision import autocast, resolve_precision
from trainers.system import Batch


class InfoGAN:
    """Two players: D with the trunk and Q, and G. Both minimise their adversarial loss minus λ·L_I."""

    def __init__(self, config: Config, device: torch.device, world: World) -> None:
        self.config = config
        self.device = device
        self.codes = config.codes
        sizes = config.networks
        self.generator = Generator(sizes.generator, config.codes, sizes.image).to(device)
        self.trunk = Trunk(sizes.trunk, sizes.image).to(device)
        self.discriminator_head = DiscriminatorHead(self.trunk.width).to(device)
        self.q_head = QHead(sizes.trunk, config.codes, self.trunk.width).to(device)
        self.average = copy.deepcopy(self.generator).requires_grad_(False).eval()
        trained: list[nn.Module] = [self.generator, self.trunk, self.discriminator_head, self.q_head]
        if config.run.batch_norm == "global" and world.size > 1:
            for network in trained:
                synchronise_batch_norm(network)
        broadcast_from_main(trained, world)
        self.networks: dict[str, nn.Module] = {
            "generator": self.generator,
            "trunk": self.trunk,
            "discriminator_head": self.discriminator_head,
            "q_head": self.q_head,
            "generator_average": self.average,
        }
        self._critics: tuple[nn.Module, ...] = (self.trunk, self.discriminator_head, self.q_head)
        self._gradients_d = PlayerGradients(self._critics, world)
        self._gradients_g = PlayerGradients([self.generator], world)
        fused = device.type in ("cpu", "cuda")
        optim = config.optim
        self._adam_d = Adam(self._gradients_d.parameters, optim.lr_discriminator, optim.betas, fused=fused)
        self._adam_g = Adam(self._gradients_g.parameters, optim.lr_generator, optim.betas, fused=fused)
        self.optimizers: dict[str, Optimizer] = {"discriminator": self._adam_d, "generator": self._adam_g}
        self.random = RandomSource(config.run.seed, device, world.rank, world.size)
        self._dtype = resolve_precision(config.run.precision, device)
        self.updates = 0

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One update of D, trunk and Q, then one of G, each with fresh codes."""
        self.random.seek(self.updates)
        self._set_learning_rates()
        real = self.normalise(batch["image"])
        scalars = self._update_discriminator(real)
        scalars.update(self._update_generator(len(real)))
        self.updates += 1
        if self.updates % self.config.optim.ema_every == 0:
            self._follow()
        return scalars

    def _update_discriminator(self, real: Tensor) -> dict[str, Tensor]:
        loss = self.config.loss
        codes = sample_codes(self.codes, self.random, len(real))
        with autocast(self.device, self._dtype):
            with torch.no_grad():
                fake = self.generator(latent_vector(self.codes, codes))
            real_logits = self.discriminator_head(self.trunk(self._augment(real)))
            with untracked(self.trunk):  # what is kept for evaluation describes real images
                features = self.trunk(self._augment(fake))
            fake_logits, posterior = self.discriminator_head(features), self._posterior(features)
        adversarial = discriminator_loss(real_logits, fake_logits)
        information = mutual_information(self.codes, posterior, codes)
        self._gradients_d.backward(adversarial + information_loss(information, loss.info_categorical, loss.info_continuous))
        self._adam_d.step()
        scalars = {f"info/{name}_nats": value.detach() for name, value in information.items()}
        return scalars | {
            "loss/d": adversarial.detach(),
            "logit/real": real_logits.detach().float().mean(),
            "logit/fake": fake_logits.detach().float().mean(),
        }

    def _update_generator(self, batch: int) -> dict[str, Tensor]:
        loss = self.config.loss
        codes = sample_codes(self.codes, self.random, batch)
        with frozen(*self._critics), untracked(*self._critics):
            with autocast(self.device, self._dtype):
                fake = self.generator(latent_vector(self.codes, codes))
                features = self.trunk(self._augment(fake))
                adversarial = generator_loss(self.discriminator_head(features))
                total = adversarial
                if loss.info_generator:
                    information = mutual_information(self.codes, self._posterior(features), codes)
                    total = total + information_loss(information, loss.info_categorical, loss.info_continuous)
            self._gradients_g.backward(total)
        self._adam_g.step()
        return {"loss/g": adversarial.detach()}

    def _posterior(self, features: Tensor) -> CodePosterior:
        return split_head(self.codes, self.q_head(features))

    def _augment(self, images: Tensor) -> Tensor:
        augment = self.config.augment
        if not augment.enabled:
            return images
        return random_affine(images, self.random, augment.degrees, augment.scale, augment.shear, augment.shift, augment.padding)

    def _set_learning_rates(self) -> None:
        optim, done = self.config.optim, self.updates / self.config.run.updates
        factor = 1.0 if done < optim.decay_from else (1 - done) / (1 - optim.decay_from)
        for adam, rate in ((self._adam_d, optim.lr_discriminator), (self._adam_g, optim.lr_generator)):
            for group in adam.param_groups:
                group["lr"] = rate * factor

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the average towards G; buffers (batch norm's statistics) are taken over as they are."""
        optim = self.config.optim
        # young weights are forgotten faster, or the average would show the first ones for long
        decay = min(optim.ema_decay, (1 + self.updates) / (10 + self.updates))
        weight = 1 - decay**optim.ema_every
        torch._foreach_lerp_(list(self.average.parameters()), list(self.generator.parameters()), weight)
        for mine, theirs in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            mine.copy_(theirs)

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (B, C, H, W) → float in the range that the generator's output has.

        Raises:
            ValueError: when the images are not of the size that the networks were built for.
        """
        if tuple(images.shape[1:]) != self.config.networks.image.shape:
            raise ValueError(
                f"images are {tuple(images.shape[1:])}, but networks.image is {self.config.networks.image.shape}: "
                "set networks.image to the data set's shape, or data.url to another set"
            )
        unit = images.to(torch.float32).div_(255)
        return unit if self.config.networks.generator.output == "sigmoid" else unit.mul_(2).sub_(1)

    def unit_range(self, images: Tensor) -> Tensor:
        """Images as the generator makes them → [0, 1]."""
        return images if self.config.networks.generator.output == "sigmoid" else (images + 1) / 2

    def infer(self, images: Tensor) -> CodePosterior:
        """Q(c | x) for normalised images, with the statistics kept for evaluation."""
        for network in self._critics:
            network.eval()
        try:
            with torch.no_grad():
                return self._posterior(self.trunk(images))
        finally:
            for network in self._critics:
                network.train()

    @torch.no_grad()
    def draw(self, latent: Tensor) -> Tensor:
        """Images of the averaged generator, as it makes them."""
        images: Tensor = self.average(latent)
        return images

    def preview(self) -> dict[str, Tensor]:
        """Samples and one traversal for each code, at latents that never change."""
        return traversal_grids(self)

    def evaluate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Code-as-classifier accuracy, NMI, ARI, and L_I of each code."""
        return evaluate(self, batches)

    def figures(self, batches: Iterable[Batch]) -> dict[str, Tensor]:
        """Real digits sorted by the code, and real beside made."""
        return explanation_grids(self, batches)


def build(config: Config, device: torch.device, world: World) -> InfoGAN:
    """A fresh InfoGAN; weights come from torch's global seed."""
    return InfoGAN(config, device, world)
