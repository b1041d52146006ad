"""CDD's update (Gonzalez-Garcia et al., NeurIPS 2018): critics first, then encoders and decoders on the sum of five losses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from unbraid.models.cdd.critics import Critics, detached
from unbraid.models.cdd.specs import DOMAINS, SHARED_SIDE
from unbraid.models.cdd.translators import Noises, Translation, Translators
from unbraid.models.ema import averaged, follow_when_due
from unbraid.models.losses import wasserstein_distance
from unbraid.models.normalization import synchronise_batch_norm
from unbraid.trainers.step.augmentation import augmented
from unbraid.trainers.step.distributed import World, frozen, player
from unbraid.trainers.step.images import normalised, sample_deviation
from unbraid.trainers.step.precision import autocast, resolve_precision
from unbraid.trainers.step.schedule import rate_factor, set_learning_rates
from unbraid.trainers.system import Batch
from unbraid.trainers.systems.cdd.config import Config
from unbraid.trainers.systems.cdd.losses import loss_terms
from unbraid.trainers.systems.cdd.measures import evaluate
from unbraid.trainers.systems.cdd.model import Model
from unbraid.trainers.systems.cdd.pairs import SHOWN, Pairs, held_out
from unbraid.trainers.systems.cdd.pictures import explanation_grids, preview_grids

Images = dict[str, Tensor]


class CDD:
    """Two players: the translators (encoders, decoders, exclusive decoders of both domains), and their critics."""

    def __init__(self, config: Config, device: torch.device, world: World) -> None:
        self.config = config
        self._world = world
        self.device = device
        sizes, loss = config.networks, config.loss
        self.translators = Translators(sizes.translator, sizes.parts, sizes.image, loss.exclusive > 0).to(device)
        self.average = averaged(self.translators)
        if config.run.batch_norm == "global" and world.size > 1:
            synchronise_batch_norm(self.translators)
        self.networks: dict[str, nn.Module] = {"translators": self.translators, "translators_average": self.average}
        fused = device.type in ("cpu", "cuda")
        optim = config.optim
        self._player_t = player(self.translators, world)
        self._adam_t = Adam(self.translators.parameters(), optim.lr_translators, optim.betas, fused=fused)
        self.optimizers: dict[str, Optimizer] = {"translators": self._adam_t}
        self.critics: Critics | None = None
        if loss.critics:
            self.critics = Critics(sizes.critic, sizes.feature_critic, sizes.parts, sizes.image, loss.critics).to(device)
            self._player_c = player(self.critics, world)
            self._adam_c = Adam(self.critics.parameters(), optim.lr_critics, optim.betas, fused=fused)
            self.networks["critics"] = self.critics
            self.optimizers["critics"] = self._adam_c
        self.random = world.random(config.run.seed, device)
        self._dtype = resolve_precision(config.run.precision, device)
        self.updates = 0
        self._scores: dict[str, float] = {}

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """``loss.critic_updates`` updates of the critics, each on its share of the pairs, then one of the translators."""
        self.random.seek(self.updates)
        self._set_learning_rates()
        *earlier, images = self._dealt(self.training_pairs(batch))
        for part in earlier:
            with torch.no_grad():
                translation = self._translate(self.translators, part)
            self._update_critics(part, translation)
        translation = self._translate(self._player_t, images)
        scalars = self._update_critics(images, translation)
        scalars.update(self._update_translators(images, translation))
        self.updates += 1
        optim = self.config.optim
        follow_when_due(self.average, self.translators, self.updates, optim.ema_decay, optim.ema_every)
        return scalars

    def _set_learning_rates(self) -> None:
        optim = self.config.optim
        rates: list[tuple[Optimizer, float]] = [(self._adam_t, optim.lr_translators)]
        if self.critics is not None:
            rates.append((self._adam_c, optim.lr_critics))
        set_learning_rates(rates, rate_factor(optim, self.updates, self.config.run.updates))

    def training_pairs(self, batch: Batch) -> Images:
        """Images of both domains in [-1, 1]; what moves one of a pair moves the other."""
        both = torch.cat([normalised(batch[domain]) for domain in DOMAINS], 1)
        x, y = augmented(both, self.config.data.augment, self.random).chunk(2, 1)
        return {"x": x, "y": y}

    def _dealt(self, images: Images) -> Iterator[Images]:
        """Every so many-th row to each of the critics' updates: then these see the same rows on any number of workers."""
        count = self.config.loss.critic_updates
        for i in range(count):
            yield {domain: of_domain[i::count] for domain, of_domain in images.items()}

    def _translate(self, translators: nn.Module, images: Images) -> Translation:
        loss = self.config.loss
        noises = self._noises(len(images["x"]))
        with autocast(self.device, self._dtype):
            translation: Translation = translators(images, noises, loss.reversal, loss.encodes_again, loss.autoencoder > 0)
        return translation

    def _noises(self, batch: int) -> Noises:
        parts = self.config.networks.parts

        def maps(channels: int) -> dict[str, Tensor | None]:
            if not parts.noise_std:
                return dict.fromkeys(DOMAINS)
            return {d: parts.noise_std * self.random.normal(batch, channels, SHARED_SIDE, SHARED_SIDE) for d in DOMAINS}

        both = parts.shared + parts.exclusive
        return Noises(self._normal(batch), maps(both), maps(both), maps(parts.exclusive))

    def _normal(self, batch: int) -> dict[str, Tensor]:
        """z of each direction."""
        return {d: self.random.normal(batch, self.config.networks.parts.exclusive) for d in DOMAINS}

    def _update_critics(self, images: Images, translation: Translation) -> dict[str, Tensor]:
        if self.critics is None:
            return {}
        batch = len(images["x"])
        normal, share = self._normal(batch), self.random.uniform(batch, 1)
        with autocast(self.device, self._dtype):
            judgements = self._player_c(images, detached(translation), normal, share)
        scalars, terms = {}, []
        for name, judgement in judgements.items():
            distance = wasserstein_distance(judgement.real, judgement.made)
            terms.append(self.config.loss.penalty * judgement.penalty - distance)
            scalars[f"wasserstein/{name}"] = distance.detach()
        self._adam_c.zero_grad()
        self._world.backward(torch.stack(terms).sum())
        self._adam_c.step()
        return scalars

    def _update_translators(self, images: Images, translation: Translation) -> dict[str, Tensor]:
        weights = self.config.loss
        terms = loss_terms(images, translation)
        total = torch.stack([weights.of_term(name) * term for name, term in terms.items()]).sum()
        if self.critics is not None:
            with frozen(self.critics), autocast(self.device, self._dtype):
                scores = self.critics.score(images, translation)
            for name, of_critic in scores.items():
                total = total - weights.of_critic(name) * of_critic.float().mean()
        self._adam_t.zero_grad()
        self._world.backward(total)
        self._adam_t.step()
        scalars = {f"loss/{name}": term.detach() for name, term in terms.items()}
        for name, shown in (("real", images), ("made", translation.made)):
            scalars[f"samples/{name}_deviation"] = sample_deviation(torch.cat(list(shown.values()), 1))
        return scalars

    @property
    def model(self) -> Model:
        """What pictures and measures use: the averaged translators."""
        return Model(self.config.networks.image, self.config.networks.parts, self.average, self.device)

    @cached_property
    def shown(self) -> Pairs:
        """The held-out pairs in this run's pictures."""
        return held_out(self.config, self.device, SHOWN)

    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Nothing is needed."""

    def preview(self) -> dict[str, Tensor]:
        """Held-out pairs: translated with several draws of E, and with the E of others."""
        return preview_grids(self)

    def evaluate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """What S and E know, and how good translations and rebuilt images are."""
        self._scores = evaluate(self.config, self.model, batches)
        return self._scores

    def figures(self, batches: Iterable[Batch]) -> dict[str, Tensor]:
        """Retrieval, interpolation, and what each part knows."""
        return explanation_grids(self, batches, self._scores)


def build(config: Config, device: torch.device, world: World) -> CDD:
    """A fresh CDD; weights come from torch's global seed."""
    return CDD(config, device, world)
