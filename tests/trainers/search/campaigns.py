"""A campaign small enough for tests: InfoGAN of a few channels on scikit-learn's digits, a second a trial."""

import json
from pathlib import Path
from typing import Any

import yaml

from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import Configuration, State, Trial
from unbraid.trainers.search.campaign.reading import parse_campaign

FIXED = {
    "run.updates": 8,
    "run.log_every": 1,
    "run.checkpoint_every": 2,
    "run.preview_every": 0,
    "run.precision": "float32",
    "data.batch": 16,
    "codes.noise": 8,
    "optim.ema_every": 1,
    "networks.generator": {"hidden": 32, "start_channels": 8, "layers": [{"channels": 8}]},
    "networks.trunk": {"layers": [{"channels": 8, "norm": False}, {"channels": 8}], "hidden": 32},
}
METRIC = "info/categorical_0_nats"
CONTENT: dict[str, Any] = {
    "name": "tiny",
    "preset": "infogan-mnist-reference",
    "fixed": FIXED,
    "space": {
        "loss.info_categorical": {"log_uniform": [0.1, 10.0]},
        "optim.lr_generator": {"log_uniform": [1e-4, 1e-2]},
    },
    "objectives": [{"metric": "info/share"}],
    "budget": {"trials": 4},
}


def content(**change: Any) -> dict[str, Any]:
    """The campaign's file as a mapping; ``fixed`` is merged, the rest replaced."""
    fixed = FIXED | change.pop("fixed", {})
    if change.get("scheduler", {}).get("kind") == "pbt":
        fixed.pop("run.checkpoint_every")  # which scheduler.every decides
    return CONTENT | {"fixed": fixed} | change


def parsed(**change: Any) -> Campaign:
    """The campaign without a data set, for tests that train nothing."""
    return parse_campaign(json.dumps(content(**change)), "mine.yaml")


def campaign(data_url: str, storage: Path | str, **change: Any) -> Campaign:
    """The campaign on a packed data set, in a storage."""
    change.setdefault("objectives", [{"metric": METRIC}])  # a share stays at 0 for the first updates
    change["fixed"] = {"data.url": data_url} | change.get("fixed", {})
    return parse_campaign(yaml.safe_dump(content(storage=str(storage), **change)), "tiny.yaml")


def configuration(number: int, *scores: float, state: State = "finished", updates: int = 8) -> Configuration:
    """A configuration with a trial for each score, which is its ``info/share``; its ``quality/coverage`` is the negative."""
    trials = {
        seed: Trial(number, seed, state, updates=updates, rungs=[(updates, {"info/share": score, "quality/coverage": -score})])
        for seed, score in enumerate(scores)
    }
    return Configuration(number, {"loss.info_categorical": 1.0 + number, "optim.lr_generator": 1e-3}, trials)
