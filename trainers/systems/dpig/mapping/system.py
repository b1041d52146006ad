"""Stage II's update (Ma et al., CVPR 2018, section 3.2): noise is mapped to stage I's embeddings, by a WGAN a factor."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from unbraid.models.dpig.embeddings import EmbeddingCritics, NoiseMappings, PoseAutoencoder
from unbraid.models.dpig.generator import Generator
from unbraid.models.dpig.pose import pose_vectors
from unbraid.models.losses import wasserstein_distance
from unbraid.trainers.data import Batch
from unbraid.trainers.step.adversaries import Adversaries
from unbraid.trainers.step.distributed import World, mean_over_ranks
from unbraid.trainers.step.images import sample_deviation
from unbraid.trainers.step.player import Network, Player, adam_player, rmsprop_player
from unbraid.trainers.system import FAKE_DEVIATION, REAL_DEVIATION, Scalars
from unbraid.trainers.systems.dpig.appearance.config import Config as AppearanceConfig
from unbraid.trainers.systems.dpig.appearance.networks import load_generator, new_generator
from unbraid.trainers.systems.dpig.batch import training_batch
from unbraid.trainers.systems.dpig.mapping.config import Config
from unbraid.trainers.systems.dpig.model import CHUNK, Model
from unbraid.trainers.systems.dpig.pose.config import Config as PoseConfig
from unbraid.trainers.systems.dpig.pose.networks import load_pose_autoencoder, new_pose_autoencoder
from unbraid.trainers.systems.dpig.stages import read_stage

Embeddings = dict[str, Tensor]
"""(B, width) by factor."""


class MappingSystem(Adversaries):
    """Two players, mappings and critics, one of each a factor; stage I is fixed, and travels in this run's checkpoints."""

    def __init__(
        self, config: Config, generator: Generator, pose_autoencoder: PoseAutoencoder, device: torch.device, world: World
    ) -> None:
        widths = {
            "foreground": generator.encoder.spec.foreground,
            "background": generator.encoder.spec.background,
            "pose": pose_autoencoder.spec.embedding,
        }
        specs, optim = config.mapping_specs, config.optim
        self.config = config
        self._world = world
        self.mappings = self._player("mappings", NoiseMappings(specs, widths).to(device), optim.lr_mapping, ema=True)
        self.critics = self._player("critics", EmbeddingCritics(specs, widths).to(device), optim.lr_critic, ema=False)
        fixed = {"generator": generator, "pose_autoencoder": pose_autoencoder}
        super().__init__(config, (self.mappings, self.critics), optim, device, world, fixed)
        self.size = (config.networks.image.height, config.networks.image.width)
        self.generator, self.pose_autoencoder = generator, pose_autoencoder
        self.widths = {factor: widths[factor] for factor in specs}

    def _player(self, name: str, network: Network, rate: float, ema: bool) -> Player[Network]:
        optim = self.config.optim
        if optim.kind == "rmsprop":
            return rmsprop_player(name, network, rate, self.config, self._world, ema)
        return adam_player(name, network, rate, optim.betas, self.config, self._world, ema)

    @property
    def model(self) -> Model:
        """Stage I, and the mappings' moving average."""
        image, mappings = self.config.networks.image, self.mappings.ema.as_dict()
        return Model(image, self.generator, self.pose_autoencoder, mappings, self.config.noise_std, self.device)

    def step(self, batch: Batch) -> Scalars:
        """``loss.critic_updates`` updates of the critics, each on its share of the batch, then one of the mappings."""
        self.begin_update()
        images, keypoints = training_batch(batch, self.config.data.augment, self.random)
        embeddings = self.embed(images, keypoints)
        if self.config.standardise and self.updates == 0:
            self._fit_scales(embeddings)
        mappings = self.mappings.network.as_dict()
        standardised = {factor: mappings[factor].standardise(values) for factor, values in embeddings.items()}
        scalars: Scalars = {}
        for real in self._dealt(standardised):
            scalars = self._update_critics(real)
        scalars |= self._update_mappings(len(images) // self.config.loss.critic_updates)
        scalars[REAL_DEVIATION] = sample_deviation(torch.cat(list(standardised.values()), 1))
        self.end_update()
        return scalars

    @torch.no_grad()
    def _fit_scales(self, embeddings: Embeddings) -> None:
        averages = self.mappings.ema.as_dict()
        for factor, mapping in self.mappings.network.as_dict().items():
            mean = mean_over_ranks(embeddings[factor], self._world)
            std = mean_over_ranks((embeddings[factor] - mean).square(), self._world).sqrt()
            # a number that hardly ever changes is not blown up to the size of the others
            std = std.maximum(0.01 * std.mean()).clamp_min(1e-6)
            for scaled in (mapping, averages[factor]):
                scaled.mean.copy_(mean)
                scaled.std.copy_(std)

    @torch.no_grad()
    def embed(self, images: Tensor, keypoints: Tensor) -> Embeddings:
        """Real embeddings (B, width) by factor, float32."""
        real: Embeddings = {}
        with self.autocast():
            if "foreground" in self.widths or "background" in self.widths:
                chunks = zip(images.split(CHUNK), keypoints.split(CHUNK), strict=True)
                foregrounds, backgrounds = zip(*(self.generator.encoder(i, k) for i, k in chunks), strict=True)
                real["foreground"], real["background"] = torch.cat(foregrounds), torch.cat(backgrounds)
            if "pose" in self.widths:
                real["pose"] = self.pose_autoencoder.encode(pose_vectors(keypoints, self.size))
        return {factor: real[factor].float() for factor in self.widths}

    def _dealt(self, real: Embeddings) -> Iterator[Embeddings]:
        """Every so many-th row to each of the critics' updates: then these see the same rows on any number of workers."""
        count = self.config.loss.critic_updates
        for i in range(count):
            yield {factor: values[i :: count * self._thinning(factor)] for factor, values in real.items()}

    def _thinning(self, factor: str) -> int:
        return self.config.mapping_specs[factor].thinning

    def _noise(self, batch: int) -> Embeddings:
        """Noise by factor, for an update of so many rows, of which each factor has its part."""
        std, random = self.config.noise_std, self.random
        return {factor: std * random.normal(batch // self._thinning(factor), width) for factor, width in self.widths.items()}

    def _update_critics(self, real: Embeddings) -> Scalars:
        """Each critic f: min −(E[f(e)] − E[f(Φ(z))]), its weights clipped, or + λ·E[(‖∇f(ê)‖ − 1)²]."""
        loss = self.config.loss
        factor, values = next(iter(real.items()))
        batch = len(values) * self._thinning(factor)
        with torch.no_grad():
            fake = self.mappings.network(self._noise(batch))
        share = self.random.uniform(batch, 1) if loss.smoothness == "penalty" else None
        results = self.critics(real, fake, share)
        distances = {factor: wasserstein_distance(of_real, of_fake) for factor, (of_real, of_fake, _) in results.items()}
        penalties = [penalty for _, _, penalty in results.values() if penalty is not None]
        total = -torch.stack(list(distances.values())).sum()
        self.critics.update(total + loss.penalty * torch.stack(penalties).sum() if penalties else total)
        if loss.smoothness == "clipping":
            with torch.no_grad():
                for parameter in self.critics.network.parameters():
                    parameter.clamp_(-loss.clip, loss.clip)
        return {f"wasserstein/{factor}": distance.detach() for factor, distance in distances.items()}

    def _update_mappings(self, batch: int) -> Scalars:
        """Each mapping Φ: min −E[f(Φ(z))]."""
        with self.critics.frozen():
            fake = self.mappings(self._noise(batch))
            scores = self.critics.network.scores(fake)
            losses = {f"loss/{factor}": -of_factor.mean() for factor, of_factor in scores.items()}
            self.mappings.update(torch.stack(list(losses.values())).sum())
        scalars = {name: loss.detach() for name, loss in losses.items()}
        shortest = min(map(len, fake.values()))
        return scalars | {FAKE_DEVIATION: sample_deviation(torch.cat([values[:shortest] for values in fake.values()], 1))}


def build(config: Config, device: torch.device, world: World) -> MappingSystem:
    """A fresh stage II; weights come from torch's global seed.

    It starts from the stage I that the configuration names; on the meta device from one of published size, so that what an
    update needs can be counted without any run. That one has a background where the mappings have one.
    """
    if device.type == "meta":
        image = vars(config.networks.image)
        encoder = {} if "background" in config.factors else {"background": 0}
        appearance = AppearanceConfig.model_validate({"networks": {"image": image, "encoder": encoder}})
        generator = new_generator(appearance).to(device)
        autoencoder = new_pose_autoencoder(PoseConfig.model_validate({"networks": {"image": image}})).to(device)
        return MappingSystem(config, generator, autoencoder, device, world)
    appearance, pose = config.stage_configs()
    stages, storage = config.stages, config.run.storage
    generator = load_generator(read_stage(stages.appearance, storage)[0], appearance, device)
    autoencoder = load_pose_autoencoder(read_stage(stages.pose, storage)[0], pose, device)
    torch.manual_seed(config.run.seed)  # making stage I has drawn from it
    return MappingSystem(config, generator, autoencoder, device, world)
