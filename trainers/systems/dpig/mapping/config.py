"""Configuration of stage II; the defaults are the paper's and the reference code's."""

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from unbraid.models.dpig.specs import MappingSpec
from unbraid.trainers.config.schema import PrimaryMetric, SystemConfig
from unbraid.trainers.config.section import Section
from unbraid.trainers.config.sections import ScheduleConfig
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.systems.dpig.appearance.config import Config as AppearanceConfig
from unbraid.trainers.systems.dpig.pose.config import Config as PoseConfig
from unbraid.trainers.systems.dpig.sections import PeopleConfig, PeopleNetworks
from unbraid.trainers.systems.dpig.stages import read_stage

Factor = Literal["foreground", "background", "pose"]
EMBEDDING_MEASURES = ("two_sample", "precision", "recall", "density", "coverage")
"""Of drawn embeddings against held-out ones, see :mod:`unbraid.trainers.systems.dpig.mapping.measures`."""


class StagesConfig(Section):
    """The runs of stage I, by name in ``run.storage``, folder or URL; a pipeline fills them in."""

    appearance: str = ""
    pose: str = ""


class NetworksConfig(PeopleNetworks):
    """The size of images, and of each factor's mapping and critic, see :class:`unbraid.models.dpig.specs.MappingSpec`."""

    foreground: MappingSpec = MappingSpec()
    background: MappingSpec = MappingSpec(hidden=256)
    pose: MappingSpec = MappingSpec()


class LossConfig(Section):
    """How the critics' Lipschitz constraint is kept.

    Attributes:
        smoothness: ``clipping`` of their weights to ±``clip`` (WGAN), or a gradient ``penalty`` of this weight (WGAN-GP).
        critic_updates: for each update of the mappings; ``data.batch`` is dealt out among them.
    """

    smoothness: Literal["clipping", "penalty"] = "clipping"
    clip: float = Field(0.01, gt=0)
    penalty: float = Field(10.0, ge=0)
    critic_updates: int = Field(5, ge=1)


class OptimConfig(ScheduleConfig):
    """``rmsprop``, as weight clipping is published with, or ``adam`` with its betas, as the penalty is."""

    kind: Literal["rmsprop", "adam"] = "rmsprop"
    lr_mapping: float = Field(2e-5, gt=0)
    lr_critic: float = Field(2e-5, gt=0)
    betas: tuple[float, float] = (0.5, 0.9)
    halve_every: int = Field(50_000, ge=0)


class Config(PeopleConfig):
    """Everything that decides a run of stage II.

    Attributes:
        kind: of the sampler of embeddings. ``wgan`` is the paper: mappings that are learnt against critics. ``gaussian`` draws
            from the Gaussian of the training embeddings' mean and covariance: an update counts a batch in, nothing is learnt,
            and of the keys here only ``stages``, ``factors`` and ``networks.image`` matter.
        factors: that are learnt.
        noise_std: standard deviation of the mappings' input.
        standardise: false is the paper. True: learn embeddings scaled to mean 0 and deviation 1 by the first batch's.
            ``correlated``: scaled by the batches of the first ``fit_updates`` updates, which learn nothing, and what Φ gives is
            multiplied by a factor of their covariance.
    """

    watched: ClassVar[tuple[str, ...]] = ("wasserstein/", "gaussian/")
    primary_metric: ClassVar[PrimaryMetric | None] = PrimaryMetric(
        "frechet/mean_ratio", "Fréchet distance, as a share of shuffled embeddings'", lower_is_better=True
    )

    system: Literal["dpig.mapping"] = "dpig.mapping"
    kind: Literal["wgan", "gaussian"] = "wgan"
    stages: StagesConfig = StagesConfig()
    factors: tuple[Factor, ...] = ("foreground", "background", "pose")
    noise_std: float = Field(0.2, gt=0)
    standardise: bool | Literal["correlated"] = False
    fit_updates: int = Field(64, ge=1)
    networks: NetworksConfig = NetworksConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()

    def nothing_learnt(self, scores: Mapping[str, float]) -> str | None:
        if scores.get("frechet/mean_ratio", 0.0) >= 1:
            return (
                "sampled embeddings are no nearer to real ones than shuffled ones are: "
                f"frechet/mean_ratio {scores['frechet/mean_ratio']:.2f}"
            )
        if scores.get("plausible/sampled_percent", 100.0) == 0:
            return "no sampled pose is plausible: plausible/sampled_percent 0"
        return None

    def measures(self) -> dict[str, bool]:
        free = [f"frechet/{factor}{rival}" for factor in self.factors for rival in ("", "_gaussian", "_train", "_shuffled")]
        compared = [f"{measure}/{factor}" for measure in EMBEDDING_MEASURES for factor in self.factors]
        free += [f"{name}{rival}" for name in compared for rival in ("", "_gaussian", "_train")]
        free += ["frechet/mean_ratio"]
        if "pose" in self.factors:
            free += [f"plausible/{whose}_percent" for whose in ("sampled", "gaussian", "real")]
            free += [f"variety/pose{rival}_{part}" for rival in ("", "_gaussian") for part in ("ratio", "lowest", "highest")]
        return dict.fromkeys(free, False)

    @property
    def mapping_specs(self) -> dict[str, MappingSpec | None]:
        """The specs of the factors' mappings; None where nothing is learnt."""
        specs = self.critic_specs
        return dict.fromkeys(specs) if self.kind == "gaussian" else dict(specs)

    @property
    def critic_specs(self) -> dict[str, MappingSpec]:
        """The specs of the factors' critics."""
        return {factor: getattr(self.networks, factor) for factor in self.factors}

    @property
    def is_correlated(self) -> bool:
        """Whether the mappings' output is multiplied by a factor of the embeddings' covariance."""
        return self.kind == "gaussian" or self.standardise == "correlated"

    @property
    def input_std(self) -> float:
        """Standard deviation of the mappings' input: ``noise_std``, or that of a Gaussian."""
        return 1.0 if self.kind == "gaussian" else self.noise_std

    @property
    def fitted_updates(self) -> int:
        """First updates whose batches decide how embeddings are standardised, where they are."""
        return self.fit_updates if self.standardise == "correlated" else 1

    @property
    def unlearnt_updates(self) -> int:
        """First updates of the WGAN in which nothing is learnt."""
        return self.fit_updates if self.standardise == "correlated" else 0

    def widths(self, appearance: AppearanceConfig, pose: PoseConfig) -> dict[str, int]:
        """Length of each factor's embedding in stage I."""
        encoder = appearance.networks.encoder
        widths = {"foreground": encoder.foreground, "background": encoder.background, "pose": pose.networks.pose.embedding}
        return {factor: widths[factor] for factor in self.factors}

    def stage_configs(self) -> tuple[AppearanceConfig, PoseConfig]:
        """The configurations of stage I's runs.

        Raises:
            ConfigError: when one is not named, not there, of another system, for images of another size, or without one of the
                ``factors``.
        """
        found: dict[str, SystemConfig] = {}
        for key, schema in (("appearance", AppearanceConfig), ("pose", PoseConfig)):
            reference = getattr(self.stages, key)
            if not reference:
                raise ConfigError(
                    f"stages.{key}: name the run of stage I to start from, or train all stages in order with a pipeline "
                    "(`unbraid presets` lists them)"
                )
            try:
                _, config = read_stage(reference, self.run.storage)
            except ConfigError as error:
                raise ConfigError(f"stages.{key}: {error}") from None
            if not isinstance(config, schema):
                raise ConfigError(f"stages.{key}: {reference} is a run of {config.system}, not of dpig.{key}")
            if config.image_shape != self.image_shape:
                raise ConfigError(
                    f"stages.{key}: {reference} is for images of {config.image_shape}, networks.image is {self.image_shape}"
                )
            found[key] = config
        appearance, pose = found["appearance"], found["pose"]
        assert isinstance(appearance, AppearanceConfig)
        assert isinstance(pose, PoseConfig)
        absent = [factor for factor in self.factors if factor not in appearance.networks.encoder.factors]
        if absent:
            raise ConfigError(
                f"factors={list(self.factors)}: {self.stages.appearance} has no {absent[0]} (its networks.encoder."
                f"{absent[0]}=0); leave it out: factors=[{','.join(f for f in self.factors if f not in absent)}]"
            )
        return appearance, pose

    def require_inputs(self) -> dict[str, SystemConfig]:
        """Check that stage I's runs exist, are for images of this size, and have checkpoints."""
        from unbraid.trainers.runs.checkpoint import Checkpoints
        from unbraid.trainers.runs.open import find_run

        appearance, pose = self.stage_configs()
        for key in ("appearance", "pose"):
            store = find_run(getattr(self.stages, key), self.run.storage)
            if not Checkpoints(store, keep=1).steps():
                raise ConfigError(f"stages.{key}: {store.url} has no checkpoint yet; train that run first")
        return {"appearance": appearance, "pose": pose}

    @model_validator(mode="after")
    def _batch_is_dealt(self) -> Self:
        rows = self.data.batch // self.data.lanes
        for factor, spec in self.critic_specs.items():
            parts = self.loss.critic_updates * spec.thinning
            if rows % parts and self.kind == "wgan":
                thinned = f" with networks.{factor}.thinning={spec.thinning}" if spec.thinning > 1 else ""
                raise ValueError(
                    f"data.batch={self.data.batch} gives each of data.lanes={self.data.lanes} {rows} people, not to be dealt "
                    f"to loss.critic_updates={self.loss.critic_updates}{thinned}: use a multiple of {parts * self.data.lanes}"
                )
        return self

    @model_validator(mode="after")
    def _something_is_learnt(self) -> Self:
        if self.kind == "wgan" and self.standardise == "correlated" and self.fit_updates >= self.run.updates:
            raise ValueError(
                f"fit_updates={self.fit_updates}: standardise=correlated learns nothing in these, and run.updates="
                f"{self.run.updates} leaves none after them: raise run.updates or lower fit_updates"
            )
        if not self.factors or len(set(self.factors)) != len(self.factors):
            raise ValueError(
                f"factors={list(self.factors)}: name each of foreground, background, pose at most once, and one at least"
            )
        return self
