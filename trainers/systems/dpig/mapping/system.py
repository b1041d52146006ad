"""Stage II's update (Ma et al., CVPR 2018, section 3.2): noise is mapped to stage I's embeddings, by a WGAN a factor."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from unbraid.models.dpig.embeddings import EmbeddingCritics, NoiseMappings
from unbraid.models.losses import wasserstein_distance
from unbraid.trainers.data import Batch
from unbraid.trainers.monitor.judge import FAKE_DEVIATION, REAL_DEVIATION
from unbraid.trainers.step.distributed import World
from unbraid.trainers.step.images import sample_deviation
from unbraid.trainers.step.player import Network, Player, adam_player, rmsprop_player
from unbraid.trainers.system import Scalars
from unbraid.trainers.systems.dpig.appearance.config import Config as AppearanceConfig
from unbraid.trainers.systems.dpig.appearance.networks import load_generator, new_generator
from unbraid.trainers.systems.dpig.mapping.config import Config
from unbraid.trainers.systems.dpig.mapping.embedding import Embeddings, EmbeddingSystem, StageOne
from unbraid.trainers.systems.dpig.mapping.gaussian import GaussianSystem
from unbraid.trainers.systems.dpig.model import Model
from unbraid.trainers.systems.dpig.pose.config import Config as PoseConfig
from unbraid.trainers.systems.dpig.pose.networks import load_pose_autoencoder, new_pose_autoencoder
from unbraid.trainers.systems.dpig.stages import read_stage


class MappingSystem(EmbeddingSystem):
    """Two players, mappings and critics, one of each a factor."""

    def __init__(self, config: Config, stage_one: StageOne, device: torch.device, world: World) -> None:
        widths, correlated = stage_one.widths(config.factors), config.is_correlated
        mappings = NoiseMappings(config.mapping_specs, widths, correlated).to(device)
        critics = EmbeddingCritics(config.critic_specs, widths).to(device)
        self.mappings = _player("mappings", mappings, config.optim.lr_mapping, config, world, ema=True)
        self.critics = _player("critics", critics, config.optim.lr_critic, config, world, ema=False)
        super().__init__(config, stage_one, (self.mappings, self.critics), device, world, {}, has_moments=correlated)

    @property
    def model(self) -> Model:
        """Stage I, and the mappings' moving average."""
        return self.model_with(self.mappings.ema)

    def step(self, batch: Batch) -> Scalars:
        """``loss.critic_updates`` updates of the critics, each on its share of the batch, then one of the mappings.

        Where embeddings are standardised, the first updates fit that: with ``correlated`` so many as ``fit_updates``, which do
        nothing else, otherwise the first one.
        """
        self.begin_update()
        embeddings = self.embedded(batch)
        scalars: Scalars = {}
        if self.config.standardise and self.updates < self.config.fitted_updates:
            scalars = self.fit(embeddings, self.mappings.network, self.mappings.ema)
        if self.updates >= self.config.unlearnt_updates:
            scalars |= self._learn(embeddings)
        return self.end_update(scalars)

    def _learn(self, embeddings: Embeddings) -> Scalars:
        mappings = self.mappings.network.as_dict()
        standardised = {factor: mappings[factor].standardise(values) for factor, values in embeddings.items()}
        scalars: Scalars = {}
        for real in self._dealt(standardised):
            scalars = self._update_critics(real)
        images = len(next(iter(standardised.values())))
        scalars |= self._update_mappings(images // self.config.loss.critic_updates)
        scalars[REAL_DEVIATION] = sample_deviation(torch.cat(list(standardised.values()), 1))
        return scalars

    def _dealt(self, real: Embeddings) -> Iterator[Embeddings]:
        """Every so many-th row to each of the critics' updates: then these see the same rows on any number of workers."""
        count = self.config.loss.critic_updates
        for i in range(count):
            yield {factor: values[i :: count * self._thinning(factor)] for factor, values in real.items()}

    def _thinning(self, factor: str) -> int:
        return self.config.critic_specs[factor].thinning

    def _noise(self, batch: int) -> Embeddings:
        """Noise by factor, for an update of so many rows, of which each factor has its part."""
        std, random = self.config.input_std, self.random
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


def build(config: Config, device: torch.device, world: World) -> EmbeddingSystem:
    """A fresh stage II of the configured kind; weights come from torch's global seed.

    It starts from the stage I that the configuration names; on the meta device from one of published size, so that what an
    update needs can be counted without any run. That one has a background where the mappings have one.
    """
    stage_one = _published_sizes(config, device) if device.type == "meta" else _trained_stage_one(config, device)
    if config.kind == "gaussian":
        return GaussianSystem(config, stage_one, device, world)
    torch.manual_seed(config.run.seed)  # making stage I has drawn from it
    return MappingSystem(config, stage_one, device, world)


def _trained_stage_one(config: Config, device: torch.device) -> StageOne:
    appearance, pose = config.stage_configs()
    stages, storage = config.stages, config.run.storage
    generator = load_generator(read_stage(stages.appearance, storage)[0], appearance, device)
    return StageOne(generator, load_pose_autoencoder(read_stage(stages.pose, storage)[0], pose, device))


def _published_sizes(config: Config, device: torch.device) -> StageOne:
    image = vars(config.networks.image)
    encoder = {} if "background" in config.factors else {"background": 0}
    appearance = AppearanceConfig.model_validate({"networks": {"image": image, "encoder": encoder}})
    pose = PoseConfig.model_validate({"networks": {"image": image}})
    return StageOne(new_generator(appearance).to(device), new_pose_autoencoder(pose).to(device))


def _player(name: str, network: Network, rate: float, config: Config, world: World, ema: bool) -> Player[Network]:
    if config.optim.kind == "rmsprop":
        return rmsprop_player(name, network, rate, config, world, ema)
    return adam_player(name, network, rate, config.optim.betas, config, world, ema)
