"""InfoGAN's update (Chen et al., NIPS 2016; the order of updates and losses is the reference code's)."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from unbraid.models.augment import random_affine, random_colour, random_cutout, random_shift
from unbraid.models.ema import averaged, follow_when_due
from unbraid.models.infogan.codes import CodePosterior, latent_vector, mutual_information, sample_codes, split_head
from unbraid.models.infogan.networks import Critics, Generator
from unbraid.models.losses import discriminator_loss, generator_loss, information_loss
from unbraid.models.normalization import estimate_statistics, synchronise_batch_norm
from unbraid.trainers.step.augmentation import augmented
from unbraid.trainers.step.distributed import World, frozen, player
from unbraid.trainers.step.images import sample_deviation
from unbraid.trainers.step.precision import autocast, full_precision, resolve_precision
from unbraid.trainers.step.schedule import linear_decay, set_learning_rates
from unbraid.trainers.system import Batch
from unbraid.trainers.systems.infogan.config import Config
from unbraid.trainers.systems.infogan.measures import evaluate
from unbraid.trainers.systems.infogan.pictures import explanation_grids, traversal_grids


class InfoGAN:
    """Two players: D with the trunk and Q, and G. Both minimise their adversarial loss minus λ·L_I."""

    def __init__(self, config: Config, device: torch.device, world: World) -> None:
        self.config = config
        self._world = world
        self.device = device
        self.codes = config.codes
        sizes = config.networks
        self.generator = Generator(sizes.generator, config.codes, sizes.image).to(device)
        self.critics = Critics(sizes.trunk, config.codes, sizes.image).to(device)
        self.average = averaged(self.generator)
        self.critics_average = averaged(self.critics)
        if config.run.batch_norm == "global" and world.size > 1:
            synchronise_batch_norm(self.generator)
            synchronise_batch_norm(self.critics)
        self.networks: dict[str, nn.Module] = {
            "generator": self.generator,
            "critics": self.critics,
            "generator_average": self.average,
            "critics_average": self.critics_average,
        }
        self._player_g, self._player_d = player(self.generator, world), player(self.critics, world)
        fused = device.type in ("cpu", "cuda")
        optim = config.optim
        self._adam_d = Adam(self.critics.parameters(), optim.lr_discriminator, optim.betas, fused=fused)
        self._adam_g = Adam(self.generator.parameters(), optim.lr_generator, optim.betas, fused=fused)
        self.optimizers: dict[str, Optimizer] = {"discriminator": self._adam_d, "generator": self._adam_g}
        self.random = world.random(config.run.seed, device)
        self._dtype = resolve_precision(config.run.precision, device)
        self.updates = 0
        self._reader = self.critics_average

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One update of D, trunk and Q, then one of G, each with fresh codes."""
        self.random.seek(self.updates)
        self._set_learning_rates()
        real = augmented(self.normalise(batch["image"]), self.config.data.augment, self.random)
        scalars = self._update_discriminator(real)
        scalars.update(self._update_generator(len(real)))
        self.updates += 1
        optim = self.config.optim
        follow_when_due(self.average, self.generator, self.updates, optim.ema_decay, optim.ema_every)
        follow_when_due(self.critics_average, self.critics, self.updates, optim.ema_decay, optim.ema_every)
        return scalars

    def _update_discriminator(self, real: Tensor) -> dict[str, Tensor]:
        loss = self.config.loss
        codes = sample_codes(self.codes, self.random, len(real))
        with autocast(self.device, self._dtype):
            with torch.no_grad():
                made = self.generator(latent_vector(self.codes, codes))
            real_logits, made_logits, head = self._player_d(self._augment(real), self._augment(made))
        adversarial = discriminator_loss(real_logits, made_logits)
        information = mutual_information(self.codes, split_head(self.codes, head), codes)
        self._adam_d.zero_grad()
        self._world.backward(adversarial + information_loss(information, loss.info_categorical, loss.info_continuous))
        self._adam_d.step()
        scalars = {f"info/{name}_nats": value.detach() for name, value in information.items()}
        return scalars | {
            "loss/d": adversarial.detach(),
            "logit/real": real_logits.detach().float().mean(),
            "logit/made": made_logits.detach().float().mean(),
            "samples/real_deviation": sample_deviation(real),
            "samples/made_deviation": sample_deviation(made),
        }

    def _update_generator(self, batch: int) -> dict[str, Tensor]:
        loss = self.config.loss
        codes = sample_codes(self.codes, self.random, batch)
        with frozen(self.critics):
            with autocast(self.device, self._dtype):
                made = self._player_g(latent_vector(self.codes, codes))
                logits, head = self.critics.judge(self._augment(made))
            adversarial = total = generator_loss(logits)
            if loss.info_generator:
                information = mutual_information(self.codes, split_head(self.codes, head), codes)
                total = total + information_loss(information, loss.info_categorical, loss.info_continuous)
            self._adam_g.zero_grad()
            self._world.backward(total)
        self._adam_g.step()
        return {"loss/g": adversarial.detach()}

    def _augment(self, images: Tensor) -> Tensor:
        augment = self.config.augment
        if not augment.enabled:
            return images
        with full_precision(self.device):
            images = random_affine(
                images.float(), self.random, augment.degrees, augment.scale, augment.shear, augment.shift, augment.padding
            )
            if max(augment.brightness, augment.contrast, augment.saturation) > 0:
                images = random_colour(images, self.random, augment.brightness, augment.contrast, augment.saturation)
            if augment.translation:
                rows, columns = (round(augment.translation * side) for side in images.shape[2:])
                images = random_shift(images, self.random, rows, columns, augment.padding)
            if augment.cutout:
                images = random_cutout(images, self.random, augment.cutout)
        return images

    def _set_learning_rates(self) -> None:
        optim = self.config.optim
        factor = linear_decay(self.updates, self.config.run.updates, optim.decay_from)
        set_learning_rates([(self._adam_d, optim.lr_discriminator), (self._adam_g, optim.lr_generator)], factor)

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

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Make the reader of real images that measures use; the critics that train are left alone."""
        self._reader = self.reader(self.normalise(batch["image"]) for batch in batches)

    def reader(self, images: Iterable[Tensor]) -> Critics:
        """The averaged critics of this moment in evaluation mode, with the batch statistics of ``images``, normalised batches.

        Averaged, because Q's reading of real images swings from update to update while G and Q agree on made ones.
        """
        sizes = self.config.networks
        reader = Critics(sizes.trunk, self.codes, sizes.image).to(self.device)
        reader.load_state_dict(self.critics_average.state_dict())
        estimate_statistics(reader, reader.read, images)
        return reader

    @torch.no_grad()
    def infer(self, images: Tensor) -> CodePosterior:
        """Q(c | x) for normalised real images, as the averaged critics were at the last :meth:`calibrate`."""
        return split_head(self.codes, self._reader.read(images))

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
