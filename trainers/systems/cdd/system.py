"""CDD's update (Gonzalez-Garcia et al., NeurIPS 2018): critics first, then encoders and decoders on the sum of five losses."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from unbraid.models.cdd.critics import Critics, detached
from unbraid.models.cdd.specs import SHARED_SIDE
from unbraid.models.cdd.translators import Noises, Translation, Translators
from unbraid.models.domains import DOMAINS
from unbraid.models.losses import wasserstein_distance
from unbraid.trainers.data import Batch
from unbraid.trainers.monitor.judge import FAKE_DEVIATION, REAL_DEVIATION
from unbraid.trainers.step.adversaries import Adversaries
from unbraid.trainers.step.augmentation import augmented
from unbraid.trainers.step.distributed import World
from unbraid.trainers.step.images import normalised, sample_deviation
from unbraid.trainers.step.player import Player, adam_player
from unbraid.trainers.system import Scalars
from unbraid.trainers.systems.cdd.config import Config
from unbraid.trainers.systems.cdd.losses import loss_terms
from unbraid.trainers.systems.cdd.model import Model

Images = dict[str, Tensor]
"""By domain."""


class CDD(Adversaries):
    """Two players: the translators (encoders, decoders, exclusive decoders of both domains), and their critics, if any."""

    def __init__(self, config: Config, device: torch.device, world: World) -> None:
        sizes, loss, optim = config.networks, config.loss, config.optim
        translators = Translators(sizes.translator, sizes.parts, sizes.image, loss.exclusive > 0).to(device)
        self.translators: Player[Translators] = adam_player(
            "translators", translators, optim.lr_translators, optim.betas, config, world, ema=True
        )
        self.critics: Player[Critics] | None = None
        if loss.critics:
            critics = Critics(sizes.critic, sizes.feature_critic, sizes.parts, sizes.image, loss.critics).to(device)
            self.critics = adam_player("critics", critics, optim.lr_critics, optim.betas, config, world)
        players = (self.translators,) if self.critics is None else (self.translators, self.critics)
        super().__init__(config, players, optim, device, world)
        self.config = config

    @property
    def model(self) -> Model:
        """The translators' moving average."""
        sizes = self.config.networks
        return Model(sizes.image, sizes.parts, self.translators.ema, self.device)

    def step(self, batch: Batch) -> Scalars:
        """``loss.critic_updates`` updates of the critics, each on its share of the pairs, then one of the translators."""
        self.begin_update()
        *earlier, images = self._dealt(self.training_pairs(batch))
        for part in earlier:
            with torch.no_grad():
                translation = self._translate(self.translators.network, part)
            self._update_critics(part, translation)
        translation = self._translate(self.translators, images)
        scalars = self._update_critics(images, translation)
        scalars |= self._update_translators(images, translation)
        return self.end_update(scalars)

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

    def _translate(self, translators: nn.Module | Player[Translators], images: Images) -> Translation:
        loss = self.config.loss
        noises = self._noises(len(images["x"]))
        with self.autocast():
            translation: Translation = translators(images, noises, loss.reversal, loss.encodes_again, loss.autoencoder > 0)
        return translation

    def _noises(self, batch: int) -> Noises:
        parts = self.config.networks.parts

        def maps(channels: int) -> dict[str, Tensor | None]:
            if not parts.noise_std:
                return dict.fromkeys(DOMAINS)
            return {d: parts.noise_std * self.random.normal(batch, channels, SHARED_SIDE, SHARED_SIDE) for d in DOMAINS}

        both = parts.shared + parts.exclusive
        return Noises(self._normal(batch), maps(both), maps(both))

    def _normal(self, batch: int) -> dict[str, Tensor]:
        """z of each direction."""
        return {d: self.random.normal(batch, self.config.networks.parts.exclusive) for d in DOMAINS}

    def _update_critics(self, images: Images, translation: Translation) -> Scalars:
        """Each critic f: min −(E[f(x)] − E[f(x̃)]) + λ·E[(‖∇f(x̂)‖ − 1)²], losses 3 and 4 for this player (WGAN-GP)."""
        if self.critics is None:
            return {}
        batch = len(images["x"])
        normal, share = self._normal(batch), self.random.uniform(batch, 1)
        with self.autocast():
            scores = self.critics(images, detached(translation), normal, share)
        distances = {name: wasserstein_distance(of_critic.real, of_critic.fake) for name, of_critic in scores.items()}
        penalties = [of_critic.penalty for of_critic in scores.values()]
        self.critics.update(
            self.config.loss.penalty * torch.stack(penalties).sum() - torch.stack(list(distances.values())).sum()
        )
        return {f"wasserstein/{name}": distance.detach() for name, distance in distances.items()}

    def _update_translators(self, images: Images, translation: Translation) -> Scalars:
        """Encoders and decoders: min of the weighted sum of the five losses."""
        weight, term = self.config.loss, loss_terms(images, translation)
        score = self._scores(images, translation)
        self.translators.update(
            weight.shared * term.shared  # 1: |S_X − S_Y|
            + weight.norm * term.norm  # keeps S from shrinking
            + weight.latent * (term.latent_shared + term.latent_exclusive)  # 2: |S' − S| + |E' − z|
            + weight.prior_reconstruction * term.latent_exclusive  # 3, by reconstruction: |E' − z|
            - weight.prior_gan * score["prior"]  # 3, by a GAN: E[f(E)]
            - weight.image * score["image"]  # 4: E[f(G(S, z))]
            - weight.exclusive * score["exclusive"]  # 4: E[f(G(E))]; E gets this gradient reversed
            + weight.autoencoder * term.autoencoder  # 5: |G_X(S_Y, E_X) − X| + |G_Y(S_X, E_Y) − Y|
        )
        computed = {"shared": True, "norm": True, "autoencoder": bool(translation.rebuilt)}
        computed |= dict.fromkeys(("latent_shared", "latent_exclusive"), bool(translation.fake_parts))
        scalars = {f"loss/{name}": getattr(term, name).detach() for name, is_computed in computed.items() if is_computed}
        for name, shown in ((REAL_DEVIATION, images), (FAKE_DEVIATION, translation.fake)):
            scalars[name] = sample_deviation(torch.cat(list(shown.values()), 1))
        return scalars

    def _scores(self, images: Images, translation: Translation) -> dict[str, Tensor]:
        """What the frozen critics say of the translators' work, the mean over images and the sum over domains, by kind."""
        scores = dict.fromkeys(("image", "exclusive", "prior"), images["x"].new_zeros(()))
        if self.critics is not None:
            with self.critics.frozen(), self.autocast():
                of_critics = self.critics.network.score(images, translation)
            scores |= {kind: of_kind.float().mean(1).sum() for kind, of_kind in of_critics.items()}
        return scores


def build(config: Config, device: torch.device, world: World) -> CDD:
    """A fresh CDD; weights come from torch's global seed."""
    return CDD(config, device, world)
