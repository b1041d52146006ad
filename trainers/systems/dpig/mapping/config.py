"""Configuration of stage II; the defaults are the paper's and the reference code's."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from unbraid.models.dpig.specs import MappingSpec
from unbraid.trainers.config.schema import ScheduleConfig, Section, SystemConfig
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.systems.dpig.appearance.config import Config as AppearanceConfig
from unbraid.trainers.systems.dpig.pose.config import Config as PoseConfig
from unbraid.trainers.systems.dpig.sections import PeopleConfig, PeopleNetworks
from unbraid.trainers.systems.dpig.stages import read_stage

Factor = Literal["foreground", "background", "pose"]


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
        factors: that are learnt.
        noise_std: standard deviation of the mappings' input.
        standardise: learn embeddings scaled to mean 0 and deviation 1 by the first batch's; false is the paper.
    """

    watched: ClassVar[tuple[str, ...]] = ("wasserstein/",)
    primary_metric: ClassVar[tuple[str, str] | None] = (
        "frechet/mean_ratio",
        "Fréchet distance, as a share of shuffled embeddings'",
    )

    system: Literal["dpig.mapping"] = "dpig.mapping"
    stages: StagesConfig = StagesConfig()
    factors: tuple[Factor, ...] = ("foreground", "background", "pose")
    noise_std: float = Field(0.2, gt=0)
    standardise: bool = False
    networks: NetworksConfig = NetworksConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()

    def measures(self) -> dict[str, bool]:
        free = [f"frechet/{factor}{kind}" for factor in self.factors for kind in ("", "_train", "_shuffled")]
        free += ["frechet/mean_ratio"]
        if "pose" in self.factors:
            free += ["plausible/sampled_percent", "plausible/real_percent"]
        return dict.fromkeys(free, False)

    @property
    def mapping_specs(self) -> dict[str, MappingSpec]:
        """The specs of the factors that are learnt."""
        return {factor: getattr(self.networks, factor) for factor in self.factors}

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
        for factor, spec in self.mapping_specs.items():
            parts = self.loss.critic_updates * spec.thinning
            if rows % parts:
                thinned = f" with networks.{factor}.thinning={spec.thinning}" if spec.thinning > 1 else ""
                raise ValueError(
                    f"data.batch={self.data.batch} gives each of data.lanes={self.data.lanes} {rows} people, not to be dealt "
                    f"to loss.critic_updates={self.loss.critic_updates}{thinned}: use a multiple of {parts * self.data.lanes}"
                )
        if not self.factors or len(set(self.factors)) != len(self.factors):
            raise ValueError(
                f"factors={list(self.factors)}: name each of foreground, background, pose at most once, and one at least"
            )
        return self
