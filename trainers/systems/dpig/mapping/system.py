"""Stage II's update (Ma et al., CVPR 2018, section 3.2): noise is mapped to stage I's embeddings, by a WGAN a factor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer, RMSprop

from unbraid.models.dpig.embeddings import EmbeddingCritics, Mappings, PoseAutoencoder
from unbraid.models.dpig.generator import Painter
from unbraid.models.dpig.pose import pose_vectors
from unbraid.models.ema import averaged, follow_when_due
from unbraid.models.losses import wasserstein_distance
from unbraid.trainers.runs.open import find_run
from unbraid.trainers.step.distributed import World, frozen, mean_over_ranks, player
from unbraid.trainers.step.images import sample_deviation
from unbraid.trainers.step.precision import autocast, resolve_precision
from unbraid.trainers.step.schedule import rate_factor, set_learning_rates
from unbraid.trainers.system import Batch
from unbraid.trainers.systems.dpig.appearance.config import Config as AppearanceConfig
from unbraid.trainers.systems.dpig.batch import training_batch
from unbraid.trainers.systems.dpig.mapping.config import Config
from unbraid.trainers.systems.dpig.mapping.measures import Seen, evaluate
from unbraid.trainers.systems.dpig.mapping.pictures import explanation_grids, preview_grids
from unbraid.trainers.systems.dpig.model import CHUNK, Model
from unbraid.trainers.systems.dpig.pose.config import Config as PoseConfig
from unbraid.trainers.systems.dpig.stages import load_painter, load_poses, new_painter, new_poses

Embeddings = dict[str, Tensor]


class Mapping:
    """Two players, mappings and critics, one of each a factor; stage I stands still, and travels in this run's checkpoints."""

    def __init__(self, config: Config, painter: Painter, poses: PoseAutoencoder, device: torch.device, world: World) -> None:
        self.config = config
        self.device = device
        self._world = world
        self.size = (config.networks.image.height, config.networks.image.width)
        self.painter, self.poses = painter, poses
        widths = {
            "foreground": painter.encoder.spec.foreground,
            "background": painter.encoder.spec.background,
            "pose": poses.spec.embedding,
        }
        specs = config.mapping_specs
        self.mappings = Mappings(specs, widths).to(device)
        self.critics = EmbeddingCritics(specs, widths).to(device)
        self.average = averaged(self.mappings)
        self.widths = {factor: widths[factor] for factor in specs}
        self.networks: dict[str, nn.Module] = {
            "mappings": self.mappings,
            "critics": self.critics,
            "mappings_average": self.average,
            "painter": painter,
            "poses": poses,
        }
        self._player_m, self._player_c = player(self.mappings, world), player(self.critics, world)
        optim = config.optim
        self._optimizer_m = self._optimizer(self.mappings, optim.lr_mapping)
        self._optimizer_c = self._optimizer(self.critics, optim.lr_critic)
        self.optimizers: dict[str, Optimizer] = {"mappings": self._optimizer_m, "critics": self._optimizer_c}
        self.random = world.random(config.run.seed, device)
        self._dtype = resolve_precision(config.run.precision, device)
        self.updates = 0
        self.seen: Seen | None = None

    def _optimizer(self, network: nn.Module, rate: float) -> Optimizer:
        optim = self.config.optim
        if optim.kind == "rmsprop":
            return RMSprop(network.parameters(), rate)
        return Adam(network.parameters(), rate, optim.betas, fused=self.device.type in ("cpu", "cuda"))

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """``loss.critic_updates`` updates of the critics, each on its share of the batch, then one of the mappings."""
        self.random.seek(self.updates)
        optim, run = self.config.optim, self.config.run
        factor = rate_factor(optim, self.updates, run.updates)
        set_learning_rates([(self._optimizer_m, optim.lr_mapping), (self._optimizer_c, optim.lr_critic)], factor)
        images, keypoints = training_batch(batch, self.config.data.augment, self.random)
        embeddings = self.embed(images, keypoints)
        if self.config.standardise and self.updates == 0:
            self._fit_scales(embeddings)
        real_ones = {f: self.mappings.as_dict()[f].standardise(values) for f, values in embeddings.items()}
        scalars: dict[str, Tensor] = {}
        for real in self._dealt(real_ones):
            scalars = self._update_critics(real)
        scalars.update(self._update_mappings(len(images) // self.config.loss.critic_updates))
        scalars["samples/real_deviation"] = sample_deviation(torch.cat(list(real_ones.values()), 1))
        self.updates += 1
        follow_when_due(self.average, self.mappings, self.updates, optim.ema_decay, optim.ema_every)
        return scalars

    @torch.no_grad()
    def _fit_scales(self, embeddings: Embeddings) -> None:
        averages = self.average.as_dict()
        for factor, mapping in self.mappings.as_dict().items():
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
        with autocast(self.device, self._dtype):
            if "foreground" in self.widths or "background" in self.widths:
                chunks = zip(images.split(CHUNK), keypoints.split(CHUNK), strict=True)
                foregrounds, backgrounds = zip(*(self.painter.encoder(i, k) for i, k in chunks), strict=True)
                real["foreground"], real["background"] = torch.cat(foregrounds), torch.cat(backgrounds)
            if "pose" in self.widths:
                real["pose"] = self.poses.encode(pose_vectors(keypoints, self.size))
        return {factor: real[factor].float() for factor in self.widths}

    def _dealt(self, real: Embeddings) -> Iterator[Embeddings]:
        """Every so many-th row to each of the critics' updates: then these see the same rows on any number of workers."""
        count = self.config.loss.critic_updates
        for i in range(count):
            yield {factor: values[i::count] for factor, values in real.items()}

    def _noise(self, batch: int) -> Embeddings:
        return {factor: self.config.noise_std * self.random.normal(batch, width) for factor, width in self.widths.items()}

    def _update_critics(self, real: Embeddings) -> dict[str, Tensor]:
        loss = self.config.loss
        batch = len(next(iter(real.values())))
        with torch.no_grad():
            made = self.mappings(self._noise(batch))
        share = self.random.uniform(batch, 1) if loss.smoothness == "penalty" else None
        results = self._player_c(real, made, share)
        total: Tensor | None = None
        scalars: dict[str, Tensor] = {}
        for factor, (real_scores, made_scores, penalty) in results.items():
            distance = wasserstein_distance(real_scores, made_scores)
            term = -distance if penalty is None else -distance + loss.penalty * penalty
            total = term if total is None else total + term
            scalars[f"wasserstein/{factor}"] = distance.detach()
        assert total is not None
        self._optimizer_c.zero_grad()
        self._world.backward(total)
        self._optimizer_c.step()
        if loss.smoothness == "clipping":
            with torch.no_grad():
                for parameter in self.critics.parameters():
                    parameter.clamp_(-loss.clip, loss.clip)
        return scalars

    def _update_mappings(self, batch: int) -> dict[str, Tensor]:
        with frozen(self.critics):
            made = self._player_m(self._noise(batch))
            scores = self.critics.judge(made)
            losses = {f"loss/{factor}": -of_factor.mean() for factor, of_factor in scores.items()}
            self._optimizer_m.zero_grad()
            self._world.backward(torch.stack(list(losses.values())).sum())
        self._optimizer_m.step()
        scalars = {name: loss.detach() for name, loss in losses.items()}
        return scalars | {"samples/made_deviation": sample_deviation(torch.cat(list(made.values()), 1))}

    @property
    def model(self) -> Model:
        """What pictures and measures use: stage I, and the averaged mappings."""
        return Model(
            self.config.networks.image, self.painter, self.poses, self.average.as_dict(), self.config.noise_std, self.device
        )

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Remember real embeddings and poses of training images, which measures compare with."""
        self.seen = Seen.of(self, batches)

    def preview(self) -> dict[str, Tensor]:
        """People nobody has seen, and held-out people with each factor drawn anew."""
        return preview_grids(self)

    def evaluate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """How near drawn embeddings come to real ones, and whether drawn poses could be somebody's."""
        return evaluate(self, batches)

    def figures(self, batches: Iterable[Batch]) -> dict[str, Tensor]:
        """From one drawn person to another, and drawn embeddings among real ones."""
        return explanation_grids(self, batches)


def untrained(config: Config, device: torch.device) -> Mapping:
    """Stage II on an untrained stage I of published size: what its update needs can be counted without any run."""
    networks = {"networks": {"image": vars(config.networks.image)}}
    painter = new_painter(AppearanceConfig.model_validate(networks)).to(device)
    poses = new_poses(PoseConfig.model_validate(networks)).to(device)
    return Mapping(config, painter, poses, device, World())


def build(config: Config, device: torch.device, world: World) -> Mapping:
    """A fresh stage II on the stage I that the configuration names; weights come from torch's global seed."""
    appearance, pose = config.stage_configs()
    storage = config.run.storage
    painter = load_painter(find_run(config.stages.appearance, storage), appearance, device)
    poses = load_poses(find_run(config.stages.pose, storage), pose, device)
    torch.manual_seed(config.run.seed)  # making stage I has drawn from it
    return Mapping(config, painter, poses, device, world)
