"""What persons ask of a running plan: other spaces, points to try, trials to stop, to repeat or to keep."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from unbraid.trainers.errors import ConfigError
from unbraid.trainers.search.campaign.changes import changed, differences_text
from unbraid.trainers.search.campaign.history import BY_HAND, Configuration, Trial
from unbraid.trainers.search.campaign.requests import Request
from unbraid.trainers.search.campaign.space import key_of
from unbraid.trainers.search.campaign.starts import as_point
from unbraid.trainers.search.plan.plan import Plan

_TARGET = re.compile(r"(?P<number>[0-9]{1,9})(-s(?P<seed>[0-9]{1,9}))?")


@dataclass
class Done:
    """What a request has changed in a plan, which is to be recorded.

    Attributes:
        text: for the person who asked.
        campaign: whether the campaign's file has changed.
        configurations, trials: that have changed.
        renewed: trials whose runs may go on, though they had ended.
    """

    text: str = ""
    campaign: bool = False
    configurations: list[Configuration] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    renewed: list[Trial] = field(default_factory=list)


def do(plan: Plan, request: Request) -> Done:
    """Do what a request asks for, in the plan alone.

    Raises:
        ConfigError: when it cannot be done; then nothing has changed.
    """
    if request.kind == "change":
        return _change(plan, request)
    if request.kind == "enqueue":
        return _enqueue(plan, request)
    targets = [_target(plan, name) for name in request.targets]
    if request.kind == "stop":
        return _stop(plan, targets)
    if request.kind == "repeat":
        return _repeat(plan, targets)
    return _pin(plan, targets, request.kind == "pin")


def _change(plan: Plan, request: Request) -> Done:
    before, after = plan.campaign, changed(plan.campaign, request.words)
    plan.change(after)
    text = differences_text(before, after)
    outside = sum(c.point(after) is None for c in plan.configurations)
    if outside:
        text += f"; {outside} of {len(plan.configurations)} configurations lie outside of the space now and are kept"
    return Done(text, campaign=True)


def _enqueue(plan: Plan, request: Request) -> Done:
    known = {key_of(point): c.number for c in plan.configurations if (point := c.point(plan.campaign)) is not None}
    points = [as_point(plan.campaign, "enqueue", point) for point in request.points]
    for point in points:
        if key_of(point) in known:
            raise ConfigError(
                f"enqueue: configuration {known[key_of(point)]:04d} has these values already; `repeat` trains a seed"
            )
    added = [plan.ask(point) for point in points]
    names = ", ".join(f"{configuration.number:04d}" for configuration in added)
    return Done(f"next is {names}", configurations=added, trials=[c.trials[0] for c in added])


def _stop(plan: Plan, targets: list[Configuration | Trial]) -> Done:
    for target in targets:
        if isinstance(target, Trial) and target.ended:
            raise ConfigError(f"stop: trial {target.name} is {target.state} already")
    done = Done()
    for target in targets:
        living = [trial for trial in _trials(target) if not trial.ended]
        for trial in living:
            plan.stop(trial)
        if isinstance(target, Configuration) and len(target.trials) < plan.campaign.seeds.count:
            target.given_up = True
            done.configurations.append(target)
        done.trials += living
    running = [trial.name for trial in done.trials if not trial.ended]
    ended = [trial.name for trial in done.trials if trial.ended]
    parts = [f"{', '.join(running)} ends with its next sign of life"] if running else []
    done.text = "; ".join([*parts, *([f"{', '.join(ended)} does not train any more"] if ended else [])]) or "nothing runs there"
    return done


def _repeat(plan: Plan, targets: list[Configuration | Trial]) -> Done:
    for target in targets:
        if isinstance(target, Trial) and target.state not in ("failed", "stopped"):
            raise ConfigError(
                f"repeat: trial {target.name} is {target.state}; a failed or stopped trial is repeated, and "
                f"`repeat {target.number:04d}` trains another seed of its configuration"
            )
    done = Done()
    for target in targets:
        if isinstance(target, Configuration):
            done.trials.append(plan.add_seed(target))
            done.configurations.append(target)
        else:
            plan.repeat(target)
            done.trials.append(target)
            done.renewed.append(target)
            done.configurations.append(plan.configurations[target.number])
    done.text = f"next is {', '.join(trial.name for trial in done.trials)}"
    return done


def _pin(plan: Plan, targets: list[Configuration | Trial], pinned: bool) -> Done:
    trials = [trial for target in targets for trial in _trials(target) if trial.pinned != pinned]
    for trial in trials:
        plan.pin(trial, pinned)
    names = ", ".join(trial.name for trial in trials) or "nothing"
    what = "trains to its end and keeps its checkpoints" if pinned else "is the scheduler's again"
    return Done(f"{names} {what}", trials=trials)


def _trials(target: Configuration | Trial) -> list[Trial]:
    return [target] if isinstance(target, Trial) else list(target.trials.values())


def _target(plan: Plan, name: str) -> Configuration | Trial:
    """The trial or the configuration of a name.

    Raises:
        ConfigError: when there is none.
    """
    found = _TARGET.fullmatch(name)
    if found is None:
        raise ConfigError(f"{name}: expected a trial such as 0007-s1, or a configuration such as 0007")
    number, seed = int(found["number"]), found["seed"]
    if number >= len(plan.configurations):
        raise ConfigError(f"{name}: {plan.campaign.name} has {len(plan.configurations)} configurations, from 0000")
    configuration = plan.configurations[number]
    if seed is None:
        return configuration
    if int(seed) not in configuration.trials:
        there = ", ".join(trial.name for trial in configuration.trials.values())
        raise ConfigError(f"{name}: no such trial; of configuration {number:04d} there are {there}")
    return configuration.trials[int(seed)]


def is_to_stop(trial: Trial) -> bool:
    """Whether a person has asked to stop a trial that still runs."""
    return trial.cause == BY_HAND and not trial.ended
