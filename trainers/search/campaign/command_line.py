"""A campaign from the words of a command: a preset, and ranges or choices where ``train`` takes values.

::

    infogan-mnist run.seed=0..4                                 five seeds of one configuration, nothing else
    infogan-mnist 'loss.info_continuous=log(0.03,3)'            a range, on a logarithmic scale
    infogan-mnist 'optim.decay_from=uniform(0.4,1)'             a range
    infogan-mnist codes.continuous=0..4                         whole numbers, both ends included
    infogan-mnist 'codes.categorical=[10]|[20]|[5,5]'           choices
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from unbraid.datasets.untrusted.yaml12 import parse_scalars
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.presets import merged
from unbraid.trainers.config.schema import effects
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.search.campaign.file import CENTRALITY, Campaign
from unbraid.trainers.search.campaign.reading import campaign_of_content, override_of

CENTRALITY_SEEDS = 3
"""Seeds of each configuration, unless others are asked for, where the agreement of models decides."""
LARGEST_GRID = 200
"""Points of a space that are all tried without a word; of more, ``--trials`` says how many."""
_SPAN = re.compile(r"(-?\d+)\.\.(-?\d+)")
_RANGE = re.compile(r"(?P<kind>log|uniform)\s*\((?P<bounds>.*)\)", re.DOTALL)
_KINDS = {"log": "log_uniform", "uniform": "uniform"}


@dataclass(frozen=True)
class Wishes:
    """What a ``tune`` command asks of a campaign beside its space; None where it says nothing.

    Attributes:
        trials: number of trainings, seeds included.
        seeds: of each configuration.
        minutes: of wall time.
        objectives: metrics, each with ``:min`` where less is better.
        name: of the campaign; by default the preset's, and a digest of what is searched.
        start_from: points to try first, see :attr:`~unbraid.trainers.search.campaign.file.Campaign.start_from`.
        settings: ``key=value`` of the campaign itself.
    """

    trials: int | None = None
    seeds: int | None = None
    minutes: float | None = None
    objectives: tuple[str, ...] = ()
    name: str | None = None
    start_from: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        """Whether the command asks for something that a campaign's file says otherwise."""
        return self != Wishes()


def campaign_of_words(preset: str, words: Sequence[str], wishes: Wishes) -> Campaign:
    """Make a campaign, and check it as a whole.

    Args:
        preset: that every trial starts from.
        words: ``section.key=value``, with a range or choices for what is searched.

    Raises:
        ConfigError: naming the word.
    """
    space: dict[str, Any] = {}
    fixed: dict[str, Any] = {}
    seeds: dict[str, Any] = {}
    for word in words:
        path, separator, text = word.partition("=")
        if not separator:
            raise ConfigError(f"{word!r}: expected section.key=value, or a range such as '{word}=log(0.1,10)'")
        if path in space or path in fixed or (path == "run.seed" and seeds):
            raise ConfigError(
                f"{path} is given more than once; a shell turns {{a,b}} and [a-b] into several words: quote them, '{path}=a|b'"
            )
        if path == "run.seed":
            seeds = _seeds(text, wishes)
            continue
        dimension = dimension_of(path, text)
        if dimension is None:
            fixed[path] = parsed(path, text)
        else:
            space[path] = dimension
    if wishes.seeds is not None:
        seeds |= {"count": wishes.seeds}
    return _campaign(preset, space, fixed, seeds, wishes)


def _campaign(preset: str, space: dict[str, Any], fixed: dict[str, Any], seeds: dict[str, Any], wishes: Wishes) -> Campaign:
    objectives = [_objective(text) for text in wishes.objectives] or [_default_objective(preset, space)]
    if objectives[0]["metric"] == CENTRALITY:
        seeds = {"count": CENTRALITY_SEEDS} | seeds
    count = int(seeds.get("count", 1))
    if not space and count < 2:
        raise ConfigError(
            f"nothing is searched: give ranges, such as '{preset} loss.info_continuous=log(0.03,3)', or --seeds 5 for the "
            "spread of one configuration"
        )
    points = _points(space)
    is_grid = points is not None and (wishes.trials is None or points * count <= wishes.trials)
    if wishes.trials is None and (points is None or points > LARGEST_GRID):
        raise ConfigError("--trials: say how many trainings, seeds included; the space has more points than can be tried")
    content: dict[str, Any] = {
        "preset": preset,
        "fixed": fixed,
        "space": space,
        "objectives": objectives,
        "start_from": list(wishes.start_from),
        "searcher": {"kind": "grid" if is_grid else "tpe"},
        "seeds": {"count": count},
        "seed": int(seeds.get("first", 0)),
    }
    for setting in wishes.settings:
        content = merged(content, override_of(setting))
    budget = {"trials": wishes.trials, "minutes": wishes.minutes}
    content = merged({"budget": {name: value for name, value in budget.items() if value is not None}}, content)
    campaign = campaign_of_content({"name": wishes.name or preset} | content, "command line")
    return campaign if wishes.name else campaign.model_copy(update={"name": f"{preset}-{_digest(campaign)}"})


def _digest(campaign: Campaign) -> str:
    """Eight hexadecimal digits of all that decides what a campaign finds."""
    may_change = effects(Campaign)
    content = {
        key: value
        for key, value in campaign.model_dump(mode="json").items()
        if key != "name" and not any(other.split(".")[0] == key for other in may_change)
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def _seeds(text: str, wishes: Wishes) -> dict[str, int]:
    """The first seed and the number of seeds in ``run.seed=0..4`` or ``run.seed=7``."""
    found = _SPAN.fullmatch(text.strip())
    if found and int(found[2]) >= int(found[1]) >= 0:
        if wishes.seeds is not None:
            raise ConfigError(f"run.seed={text} and --seeds {wishes.seeds} say the same; leave one of them out")
        return {"first": int(found[1]), "count": int(found[2]) - int(found[1]) + 1}
    if text.strip().isdecimal():
        return {"first": int(text)}
    raise ConfigError(f"run.seed={text}: expected one seed, or consecutive ones such as run.seed=0..4")


def dimension_of(path: str, text: str) -> dict[str, Any] | None:
    """The dimension that a value describes; None for a plain value."""
    if found := _SPAN.fullmatch(text.strip()):
        return {"integer": [int(found[1]), int(found[2])]}
    if found := _RANGE.fullmatch(text.strip()):
        bounds = [parsed(path, part) for part in found["bounds"].split(",")]
        if len(bounds) != 2:
            raise ConfigError(f"{path}={text}: expected two bounds, such as {path}={found['kind']}(0.1,10)")
        return {_KINDS[found["kind"]]: bounds}
    if re.match(r"[a-z_]+\s*\(", text):
        raise ConfigError(f"{path}={text}: expected log(LOW,HIGH), uniform(LOW,HIGH), LOW..HIGH or choices a|b|c")
    parts = _choices(text)
    if len(parts) < 2:
        return None
    if not all(part.strip() for part in parts):
        raise ConfigError(f"{path}={text}: a choice is empty; expected such as {path}=a|b|c")
    return {"choice": [parsed(path, part) for part in parts]}


def _choices(text: str) -> list[str]:
    """The parts of a text between bars that are outside of quotes."""
    parts, quote = [""], ""
    for letter in text:
        if letter == "|" and not quote:
            parts.append("")
            continue
        if letter in ("'", '"'):
            quote = "" if quote == letter else quote or letter
        parts[-1] += letter
    return parts


def parsed(path: str, text: str) -> Any:
    try:
        return parse_scalars(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {text!r} is not a YAML value ({error})") from None


def _objective(text: str) -> dict[str, str]:
    metric, _, mode = text.partition(":")
    if mode not in ("", "min", "max"):
        raise ConfigError(f"--objective {text}: expected METRIC, METRIC:max or METRIC:min")
    return {"metric": metric, "mode": mode or "max"}


def _default_objective(preset: str, space: Mapping[str, Any]) -> dict[str, str]:
    """The measure by which the preset's system compares such configurations without labels.

    Raises:
        ConfigError: when it has none.
    """
    config = resolve(preset)
    metric = config.selection_metric(space.keys())
    if metric is None:
        raise ConfigError(f"--objective: name a measure; {config.system} reports {', '.join(config.measures())}")
    return {"metric": metric.name, "mode": "min" if metric.lower_is_better else "max"}


def _points(space: Mapping[str, Any]) -> int | None:
    """The number of points of a space of choices and whole numbers; None for another."""
    count = 1
    for dimension in space.values():
        if "choice" in dimension:
            count *= len(dimension["choice"])
        elif "integer" in dimension:
            count *= max(dimension["integer"][1] - dimension["integer"][0] + 1, 1)
        else:
            return None
    return count
