"""Configuration of CDD; the defaults are the paper's and the reference code's."""

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from unbraid.models.cdd.specs import CriticSpec, FeatureCriticSpec, RepresentationSpec, TranslatorSpec, halvings
from unbraid.trainers.config.schema import Bounded, PrimaryMetric
from unbraid.trainers.config.section import Section
from unbraid.trainers.config.sections import ScheduleConfig
from unbraid.trainers.paired.config import PairedConfig, PairedNetworks

LEAST_RECALL = 0.01
"""Among a hundred partners or more, no better than chance."""


class NetworksConfig(PairedNetworks):
    """Sizes, see :mod:`unbraid.models.cdd.specs`."""

    parts: RepresentationSpec = RepresentationSpec()
    translator: TranslatorSpec = TranslatorSpec()
    critic: CriticSpec = CriticSpec()
    feature_critic: FeatureCriticSpec = FeatureCriticSpec()


class LossConfig(Section):
    """Weights of the five losses; 0 switches a loss off, and networks that only it needs are not built.

    Attributes:
        shared: 1, |S_X − S_Y|. What keeps it from shrinking S: ``networks.parts.noise_std``, or ``norm``, the weight of the
            penalty on sizes of S other than 1, or neither.
        latent: 2, |S' − S| + |E' − z| of translations that are encoded again.
        prior: 3, E against N(0, I): by a ``gan``, or by ``reconstruction`` of the noise from translations, |E' − z|.
        image: 4, WGAN-GP on translations.
        exclusive: 4, the exclusive decoders' WGAN-GP, against which E learns through a gradient reversed and scaled by
            ``reversal``; with a ``reversal`` of 0 E gets no gradient from them.
        autoencoder: 5, images rebuilt from the other domain's S and their own E.
        penalty: of the critics' gradients.
        critic_updates: for each update of the translators; ``data.batch`` is dealt out among them.
    """

    shared: float = Field(100.0, ge=0)
    norm: float = Field(0.0, ge=0)
    latent: float = Field(100.0, ge=0)
    prior: float = Field(1.0, ge=0)
    prior_kind: Literal["gan", "reconstruction"] = "gan"
    image: float = Field(1.0, ge=0)
    exclusive: float = Field(0.1, ge=0)
    reversal: float = Field(1.0, ge=0)
    autoencoder: float = Field(100.0, ge=0)
    penalty: float = Field(10.0, ge=0)
    critic_updates: int = Field(1, ge=1)

    @property
    def critics(self) -> tuple[str, ...]:
        """Kinds of critics that any loss asks for, see :class:`unbraid.models.cdd.translators.Critics`."""
        wanted = {"image": self.image, "exclusive": self.exclusive, "prior": self.prior_gan}
        return tuple(kind for kind, weight in wanted.items() if weight)

    @property
    def prior_gan(self) -> float:
        """Weight of loss 3 where a GAN does it."""
        return self.prior if self.prior_kind == "gan" else 0.0

    @property
    def prior_reconstruction(self) -> float:
        """Weight of loss 3 where the reconstruction of the noise does it."""
        return self.prior if self.prior_kind == "reconstruction" else 0.0

    @property
    def encodes_again(self) -> bool:
        """Whether any loss looks at the parts of translations."""
        return self.latent > 0 or self.prior_reconstruction > 0


class OptimConfig(ScheduleConfig):
    """Adam for both players."""

    lr_translators: float = Field(2e-4, gt=0)
    lr_critics: float = Field(2e-4, gt=0)
    betas: tuple[float, float] = (0.5, 0.999)


class Config(PairedConfig):
    """Everything that decides a run of CDD."""

    watched: ClassVar[tuple[str, ...]] = ("loss/shared", "loss/autoencoder", "wasserstein/image")
    bounded: ClassVar[Mapping[str, Bounded]] = dict.fromkeys(("loss/shared", "loss/latent", "loss/autoencoder"), "error")
    primary_metric: ClassVar[PrimaryMetric | None] = PrimaryMetric("retrieval/shared_recall_1", "cross-domain recall@1 by S")

    system: Literal["cdd"] = "cdd"
    networks: NetworksConfig = NetworksConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()

    def nothing_learnt(self, scores: Mapping[str, float]) -> str | None:
        recall = scores.get("retrieval/shared_recall_1", 1.0)
        if self.loss.shared and recall <= LEAST_RECALL:
            return f"S finds no partner: retrieval/shared_recall_1 {recall:.4f}"
        return None

    def measures(self) -> dict[str, bool]:
        both, d = ("", "_x_to_y", "_y_to_x"), ("", "_x", "_y")
        compared = ("shared", "exclusive", "pixels", "edges")
        free = [f"retrieval/{what}_recall_{k}{way}" for what in compared for k in (1, 5) for way in both]
        free += ["rebuilt/ssim", "rebuilt/l1", "rebuilt/psnr"]
        free += [f"diversity/{name}" for name in ("laplacian", "real_laplacian", "transferred_laplacian")]
        free += ["diversity/ratio_to_real", "diversity/ratio_to_transferred"]
        free += [f"drawn/deviation{side}" for side in d] + ["drawn/checkerboard", "transferred/checkerboard"]
        read = [f"retrieval/{what}_map" for what in compared]
        read += [
            f"probe/{what}_from_{part}{side}"
            for what in ("label", "label_nonlinear", "colour")
            for part in ("shared", "exclusive")
            for side in d
        ]
        read += [f"transfer/{name}" for name in ("colour_error_x", "colour_error_y", "label_kept_x", "label_kept_y")]
        read += ["transfer/label_kept", "transfer/label_read"]
        return dict.fromkeys(free, False) | dict.fromkeys(read, True)

    @model_validator(mode="after")
    def _networks_fit(self) -> Self:
        halvings(self.networks.image)
        self.networks.image.divided(1 << len(self.networks.critic.channels), "networks.critic")
        return self

    @model_validator(mode="after")
    def _all_learn(self) -> Self:
        loss = self.loss
        if not loss.autoencoder and not loss.image and not loss.encodes_again:
            raise ValueError("loss: autoencoder, image and latent are all 0, which leaves the decoders nothing to learn from")
        if not loss.autoencoder and not loss.encodes_again and not loss.prior and not loss.exclusive:
            raise ValueError("loss: autoencoder, latent, prior and exclusive are all 0, which leaves E nothing to learn from")
        undealt = [share for share in self.shares if share % loss.critic_updates]
        if undealt:
            raise ValueError(
                f"data.batch={self.data.batch} gives a worker {undealt[0]} pairs, not to be dealt to "
                f"loss.critic_updates={loss.critic_updates}: use a multiple"
            )
        return self
