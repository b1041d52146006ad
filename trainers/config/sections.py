"""The sections that every system's configuration has: data, schedule, run, and when a run has diverged."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt

from unbraid.trainers.config.section import BUDGET, EXECUTION, FormerName, Section
from unbraid.trainers.config.words import a_name


class ImageAugmentConfig(Section):
    """Random changes of training images on the device; what only D sees is in the systems' own sections.

    Attributes:
        flip: left to right, half of them.
        crop: pixels of padding, of which a random window of the image's size is cut.
        brightness, contrast, saturation: strengths of colour jitter, see :func:`unbraid.models.augment.random_colour`.
    """

    flip: bool = False
    crop: int = Field(0, ge=0)
    brightness: float = Field(0.0, ge=0)
    contrast: float = Field(0.0, ge=0, le=1)
    saturation: float = Field(0.0, ge=0, le=1)

    @property
    def colour(self) -> bool:
        """Whether colours are jittered at all."""
        return max(self.brightness, self.contrast, self.saturation) > 0


class DataConfig(Section):
    """Where images come from and in which order.

    Attributes:
        url: of the packed set, ``s3://bucket/prefix`` or a folder.
        split: to train on.
        validation_split: measured and shown while training, and whatever is chosen is chosen by it.
        test_split: measured at the end, to be reported. With null the last measures are of the validation split too, as for a
            campaign's trials, which are chosen from.
        fit: [height, width] to which images are resized when they are read, for a set of several sizes. It costs a worker's
            processor a decoding and a resizing of every full image; packing with --size pays once.
        batch: images in a *global* batch, shared by all workers.
        lanes: parallel streams that the order is made of; as many as workers at least, a divisor of the batch. Workers
            share them out: a multiple of their number gives each the same work.
        window: samples of a lane that are shuffled together.
        prefetch_mb: encoded samples and decoded batches that a worker holds; what is shuffled together is held in any case.
        decode_threads: of a worker; 0 is as many as its processor has cores.
        max_skipped: samples that cannot be used before that is an error; each is replaced by a neighbour.
        cache: folder on each node that keeps shards; null is none. ``cache_gb`` is its limit.
        augment: of training images.
    """

    url: str = "s3://unbraid/mnist"
    split: str = "train"
    validation_split: Annotated[str, FormerName("evaluation_split")] = "validation"
    test_split: str | None = "test"
    fit: tuple[PositiveInt, PositiveInt] | None = None
    batch: int = Field(128, ge=1)
    lanes: int = Field(16, ge=1)
    window: int = Field(256, ge=1)
    prefetch_mb: Annotated[int, EXECUTION] = Field(256, ge=1)
    decode_threads: Annotated[int, EXECUTION] = Field(0, ge=0)
    max_skipped: Annotated[int, EXECUTION] = Field(0, ge=0)
    cache: Annotated[str | None, EXECUTION] = None
    cache_gb: Annotated[float, EXECUTION] = Field(20.0, gt=0)
    augment: ImageAugmentConfig = ImageAugmentConfig()

    @property
    def reported_split(self) -> str:
        """The split of the last measures, and of pictures of a trained model."""
        return self.validation_split if self.test_split is None else self.test_split


class ScheduleConfig(Section):
    """How learning rates change, and the moving averages of weights that pictures, measures and later stages use.

    Attributes:
        halve_every: updates between halvings of the rates; 0 is never.
        decay_from: share of ``run.updates`` from which on rates fall linearly to zero; 1 is never.
        ema_decay: of the averages in an update; they are taken every ``ema_every``.
    """

    halve_every: int = Field(0, ge=0)
    decay_from: float = Field(1.0, ge=0, le=1)
    ema_decay: float = Field(0.999, ge=0, lt=1)
    ema_every: int = Field(10, ge=1)


class RunConfig(Section):
    """How long a run trains, on which workers, and what it keeps.

    Attributes:
        name: of the run in its storage; the default names preset and configuration, so that the same command
            goes on with the same run.
        storage: folder or ``s3://bucket/prefix`` that holds runs.
        seed: decides weights, order, latents and augmentations.
        updates: budget; ``minutes`` ends the run earlier when set (that clock restarts on resume).
        workers: data-parallel processes; ``cpus`` and ``gpus`` each of them gets. ``cpus: 0`` shares out the machine.
        precision: of forward passes; ``auto`` asks the device.
        batch_norm: statistics of ``each`` worker's share of a batch, or of the ``global`` batch.
        log_every, preview_every, checkpoint_every, evaluate_every: in updates; 0 means at the end only.
        evaluate_at: further updates after which measures are taken and a checkpoint is written, such as the rungs of a search.
        labels: whether measures that read labels are taken too; see :meth:`SystemConfig.measures`.
        keep_checkpoints: newest ones kept.
        max_failures: times that a lost worker is replaced before the run gives up.
        min_workers: with fewer than ``workers`` but so many, the run goes on, and grows again; null waits for all of them.
            ``resize_seconds`` lie between two looks for room to grow; so long, within 10 s and 60 s, workers on a node that has
            just gone are waited for before the group starts with fewer.
        wait_minutes: that resources which the cluster lacks are waited for, as one that grows may bring them; null refuses what
            is larger than the cluster at once, and waits for what others hold as long as it takes.
        worker_timeout_seconds: a worker that has not answered for this long counts as lost, and is replaced.
        storage_retry_minutes: for how long requests to a storage that does not answer, or refuses, are repeated.
        on_divergence: ``stop`` ends a run that has diverged or collapsed (see :class:`DivergenceConfig`), ``rollback`` lets it
            go back to the last good checkpoint, under lower rates.
        trackers: where the run's curves and pictures go too: ``mlflow``, ``wandb``, ``trackio``; each is an extra of this
            package, and finds its server by its own variables.
        project, tags: under which trackers file the run; ``group`` is the campaign's.
        collective_minutes: for how long a worker waits for the others in an all-reduce before it fails (the process group's
            timeout); longer than ``storage_retry_minutes``, during which one worker may wait for its data.
    """

    name: Annotated[Annotated[str, AfterValidator(a_name)] | None, EXECUTION] = None
    storage: Annotated[str, EXECUTION] = "runs"
    seed: int = Field(0, ge=0, lt=2**63)
    updates: Annotated[int, BUDGET] = Field(5000, ge=1)
    minutes: Annotated[float | None, BUDGET] = Field(None, gt=0)
    workers: Annotated[int, EXECUTION] = Field(1, ge=1)
    cpus: Annotated[int, EXECUTION] = Field(0, ge=0)
    gpus: Annotated[float, EXECUTION] = Field(0, ge=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    batch_norm: Literal["each", "global"] = "each"
    log_every: Annotated[int, EXECUTION] = Field(10, ge=1)
    preview_every: Annotated[int, EXECUTION] = Field(250, ge=0)
    checkpoint_every: Annotated[int, EXECUTION] = Field(250, ge=0)
    evaluate_every: Annotated[int, EXECUTION] = Field(0, ge=0)
    evaluate_at: Annotated[tuple[PositiveInt, ...], EXECUTION] = ()
    labels: Annotated[bool, EXECUTION] = True
    keep_checkpoints: Annotated[int, EXECUTION] = Field(2, ge=1)
    max_failures: Annotated[int, EXECUTION] = Field(3, ge=0)
    min_workers: Annotated[int | None, EXECUTION] = Field(None, ge=1)
    resize_seconds: Annotated[float, EXECUTION] = Field(60.0, gt=0)
    wait_minutes: Annotated[float | None, EXECUTION] = Field(None, gt=0)
    worker_timeout_seconds: Annotated[float, EXECUTION, FormerName("silence_seconds")] = Field(60.0, gt=0)
    storage_retry_minutes: Annotated[float, EXECUTION, FormerName("patience_minutes")] = Field(10.0, ge=0)
    collective_minutes: Annotated[float, EXECUTION] = Field(20.0, gt=0)
    on_divergence: Annotated[Literal["stop", "rollback"], EXECUTION] = "stop"
    trackers: Annotated[tuple[Literal["mlflow", "wandb", "trackio"], ...], EXECUTION] = ()
    project: Annotated[str, EXECUTION] = Field("unbraid", min_length=1, max_length=100)
    tags: Annotated[tuple[str, ...], EXECUTION] = ()
    group: Annotated[str, EXECUTION] = ""


class DivergenceConfig(Section):
    """When the judge of a run says that it has diverged or collapsed, see :class:`unbraid.trainers.monitor.judge.Judge`.

    The thresholds are far beyond everything that the presets' recorded curves show (tests hold them to that), and near enough
    for ``make bench NAME=divergence``, which breaks runs on purpose and prints after how many updates that is seen.

    Attributes:
        window: newest readings without a sign of trouble, over which a scalar's median and spread are taken; before a third
            of them is there, nothing is judged.
        readings: this many in a row beyond the limit are a divergence; one as far beyond again, on the logarithm, counts twice.
        spread: times a scalar's usual spread that it may rise above its median, or by ``error_factor`` and its like where
            these are more.
        error_factor: by which a scalar that falls as a system learns, such as a reconstruction loss, may exceed its median.
        gradient_factor: the same for the norms of gradients, which vary more.
        update_factor: the same for the norms of updates, which vary little: with Adam they follow the rate.
        data_factor: by which the deviation of the real images in a batch may leave its median, upwards or downwards: it is the
            data's alone, and other data are none to learn from.
        information_nats: by which a lower bound of an information may fall below its median.
        collapse_updates: for so many updates one of the next two has to hold without a break.
        loss_d: a discriminator's cross-entropy below this has won: its generator learns nothing any more. 0 never judges it.
        deviation: generated samples that vary less than this share of the real ones are all the same.
        rollbacks: with ``run.on_divergence=rollback``, how often a run goes back before it ends all the same.
        rate_factor: by which learning rates are multiplied each time.
    """

    window: Annotated[int, EXECUTION] = Field(30, ge=3)
    readings: Annotated[int, EXECUTION] = Field(3, ge=1)
    spread: Annotated[float, EXECUTION] = Field(6.0, gt=0)
    error_factor: Annotated[float, EXECUTION] = Field(10.0, gt=1)
    gradient_factor: Annotated[float, EXECUTION] = Field(30.0, gt=1)
    update_factor: Annotated[float, EXECUTION] = Field(6.0, gt=1)
    data_factor: Annotated[float, EXECUTION] = Field(1.25, gt=1)
    information_nats: Annotated[float, EXECUTION] = Field(2.0, gt=0)
    collapse_updates: Annotated[int, EXECUTION] = Field(100, ge=1)
    loss_d: Annotated[float, EXECUTION] = Field(0.005, ge=0)
    deviation: Annotated[float, EXECUTION] = Field(0.05, ge=0, lt=1)
    rollbacks: Annotated[int, EXECUTION] = Field(3, ge=1)
    rate_factor: Annotated[float, EXECUTION] = Field(0.5, gt=0, lt=1)
