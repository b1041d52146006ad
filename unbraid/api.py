"""What ``import unbraid`` offers: runs, exports, campaigns and training, without the command line and without Ray.

::

    import unbraid

    run = unbraid.open("runs/mnist")                # or s3://bucket/runs/mnist, or a name in ./runs
    run.metrics().plot(y="loss/d")                  # a pandas frame
    model = run.model()
    model.sample(16, categorical_0=3, continuous_1=0.5, seed=0).save("threes")

Each system's model has methods of its own: :class:`unbraid.trainers.systems.infogan.inference.InfoGAN`,
:class:`unbraid.trainers.systems.dpig.trained.DPIG`, :class:`unbraid.trainers.systems.cdd.inference.CDD`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unbraid.cluster.local.services import use_local_services

if TYPE_CHECKING:
    from unbraid.trainers.use.campaign import CampaignResults
    from unbraid.trainers.use.run import Run
    from unbraid.trainers.use.trained import TrainedModel


def open(run: str, storage: str = "runs") -> Run:
    """Open a run, finished or not.

    Args:
        run: its name in ``storage``, or its folder or URL.
        storage: folder or URL that holds runs.

    Raises:
        ConfigError: when there is no such run, naming those that are there.
    """
    from unbraid.trainers.use.run import open_run

    use_local_services()
    return open_run(run, storage)


def load(place: str, device: str = "auto") -> TrainedModel:
    """Load the model of an export, see ``unbraid export``; neither its run nor its data set is needed.

    Args:
        place: folder or URL of the export.
        device: such as ``cpu`` or ``cuda:1``; ``auto`` is a GPU where there is one.

    Raises:
        ConfigError: when there is none, it is damaged, or a newer version has written it.
    """
    from unbraid.trainers.use.run import load_export

    use_local_services()
    return load_export(place, device)


def train(preset: str, *, ray: bool = False, **overrides: Any) -> Run:
    """Train a preset in this process, or go on with it; prints what ``unbraid train --debug`` prints.

    Args:
        preset: its name; one without stages.
        ray: train on Ray Train workers, of the local services or of RAY_ADDRESS, as ``unbraid train`` does.
        overrides: by dotted key: ``**{"run.updates": 500, "loss.info_continuous": 0.2}``.

    Returns:
        The run.

    Raises:
        ConfigError: on an unknown preset, key or value.
        RunError: when training fails.
        KeyboardInterrupt: when it was stopped; the checkpoint is saved, and the same call goes on.
    """
    import json
    import os
    import shlex

    from unbraid.cluster.commands.meaning import requested_runs
    from unbraid.cluster.commands.train import train_run
    from unbraid.trainers.errors import ConfigError

    words = [f"{key}={json.dumps(value)}" for key, value in overrides.items()]
    requested = requested_runs(preset, words, None, debug=not ray)
    if len(requested.configs) > 1:
        raise ConfigError(
            f"{preset}: has several stages ({', '.join(requested.configs)}); `unbraid train {preset}` trains them"
        )
    config = requested.last.with_absolute_folders()
    address = use_local_services()
    try:
        train_run(
            config, not ray, os.environ.get("RAY_ADDRESS") or address, command=f"train {preset} {shlex.join(words)}".strip()
        )
    except SystemExit as stopped:
        raise KeyboardInterrupt("training was stopped; the same call goes on") from stopped
    return open(str(config.run.name), config.run.storage)


def campaign(name: str, storage: str = "campaigns") -> CampaignResults:
    """Open a campaign, finished or not.

    Raises:
        ConfigError: when there is none.
    """
    from unbraid.trainers.use.campaign import open_campaign

    use_local_services()
    return open_campaign(name, storage)
