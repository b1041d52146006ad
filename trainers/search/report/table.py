"""A campaign as a table of text: configurations, best first, a sparkline of the best score, and the time left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from unbraid.datasets.store import Store
from unbraid.datasets.untrusted.terminal import erase_lines
from unbraid.trainers.runs.progress import aligned
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import FINAL, Configuration, State, Trial
from unbraid.trainers.search.campaign.ranking import ranked
from unbraid.trainers.search.campaign.requests import Inbox
from unbraid.trainers.search.campaign.sections import Objective

ROWS = 12
ANSWERS = 3
"""That ``tune status`` shows."""
SPARKS = "▁▂▃▄▅▆▇█"


def campaign_table(campaign: Campaign, configurations: Sequence[Configuration], seconds: float, rows: int = ROWS) -> str:
    """The summary and a table of the best configurations.

    Args:
        seconds: that the campaign has run, from which the time left is estimated.
        rows: of configurations; the others are only counted.
    """
    lines = [summary(campaign, configurations, seconds)]
    shown = ranked(configurations, campaign)[:rows]
    cells = [table_cells(campaign, c, " ".join(map(_state_text, c.trials.values()))) for c in shown]
    lines.append(aligned([table_heads(campaign), *cells]))
    if len(configurations) > rows:
        lines.append(f"… and {len(configurations) - rows} more")
    return "\n".join(lines)


def summary(campaign: Campaign, configurations: Sequence[Configuration], seconds: float) -> str:
    """One line such as ``weights: 7 of 16 trials over (4 finished, 3 stopped), 2 running, 03:12, about 04:00 left``.

    A second line shows the best score so far once there are two.
    """
    trials = [trial for configuration in configurations for trial in configuration.trials.values()]
    ended = [trial for trial in trials if trial.ended]
    planned = max(campaign.max_trials, len(trials))
    over, running = len(ended), sum(trial.state == "running" for trial in trials)
    text = f"{campaign.name}: {over} of {planned} trials over" + (f" ({state_counts(ended)})" if ended else "")
    text += f", {running} running, {duration_text(seconds)}"
    if 0 < over < planned:
        text += f", about {duration_text(seconds / over * (planned - over))} left"
    history = best_so_far(campaign, configurations)
    if len(history) > 1:
        text += f"\nbest {campaign.metrics[0]} so far {sparkline(history)} {history[-1]:.4g}"
    return text


def best_so_far(campaign: Campaign, configurations: Sequence[Configuration]) -> list[float]:
    """The best score after each fully trained configuration, in the order of their numbers."""
    objective = campaign.objectives[0]
    best: list[float] = []
    for configuration in configurations:
        score = None if configuration.is_partial else configuration.score(objective)
        if score is not None:
            best.append(score if not best or objective.sign * (score - best[-1]) > 0 else best[-1])
    return best


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """The newest ``width`` values as a line of blocks, scaled from the lowest to the highest of them."""
    shown = list(values[-width:])
    low, high = min(shown), max(shown)
    steps = len(SPARKS) - 1
    return "".join(SPARKS[round(steps * (value - low) / (high - low)) if high > low else 0] for value in shown)


def duration_text(seconds: float) -> str:
    """A duration such as ``1:02:03`` or ``02:03``."""
    hours, rest = divmod(int(seconds), 3600)
    return (f"{hours}:" if hours else "") + f"{rest // 60:02d}:{rest % 60:02d}"


def value_text(value: Any) -> str:
    """A dimension's value as short text."""
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace(" ", "")


def state_counts(trials: Sequence[Trial]) -> str:
    """The number of trials in each state, such as ``4 finished, 3 stopped``."""
    count = Counter(trial.state for trial in trials)
    states: tuple[State, ...] = (*FINAL, "paused", "running")
    return ", ".join(f"{count[state]} {state}" for state in states if count[state])


def table_heads(campaign: Campaign) -> list[str]:
    """The heads of a table of configurations."""
    return ["configuration", *campaign.metrics, "updates", "trials", *campaign.space]


def table_cells(campaign: Campaign, configuration: Configuration, trials: str) -> list[str]:
    """A configuration's row under :func:`table_heads`.

    Args:
        trials: text that describes its trials.
    """
    scores = [configuration.score(objective) for objective in campaign.objectives]
    values = [value_text(configuration.params[path]) if path in configuration.params else "" for path in campaign.space]
    shown = [
        "" if score is None else f"{score:.4f}{_spread(configuration, o)}"
        for score, o in zip(scores, campaign.objectives, strict=True)
    ]
    if configuration.point(campaign) is None:
        trials += " (outside)"
    seeds, wanted = len(configuration.trials), campaign.seeds.count
    if not configuration.is_partial and seeds < wanted:
        trials += f" ({seeds} of {wanted} seeds)"
    return [f"{configuration.number:04d}", *shown, f"{configuration.updates:,}", trials, *values]


def spent_text(campaign: Campaign, configurations: Sequence[Configuration]) -> str:
    """What the trials of a campaign have cost so far; empty for one without GPUs."""
    trials = [trial for configuration in configurations for trial in configuration.trials.values()]
    hours = campaign.gpu_hours(sum(trial.seconds for trial in trials))
    if not campaign.resources.gpus:
        return ""
    most = "" if campaign.most_gpu_hours is None else f" of {campaign.most_gpu_hours:.2f}"
    price = campaign.resources.price
    money = "" if price is None else f", {hours * price:,.2f} at {price:g} an hour"
    return f"spent: {hours:.2f}{most} GPU hours{money}"


def requests_text(store: Store) -> list[str]:
    """Lines on what persons have asked of a campaign: the newest answers, and what waits for one."""
    inbox = Inbox(store)
    answers = [f"{a.request.text}: {'refused: ' if a.refused else ''}{a.outcome}" for a in inbox.answers()[-ANSWERS:]]
    return answers + [f"waiting: {request.text}, by {request.by}" for request in inbox.waiting().values()]


def _spread(configuration: Configuration, objective: Objective) -> str:
    """The lowest and the highest score of a configuration's seeds; empty where it has one."""
    scores = [t.scores[objective.metric] for t in configuration.trials.values() if objective.metric in t.scores]
    return f" [{min(scores):.4f}, {max(scores):.4f}]" if len(scores) > 1 else ""


def _state_text(trial: Trial) -> str:
    text = trial.cause.partition(":")[0] if trial.state == "failed" else trial.state
    return text + (" (pinned)" if trial.pinned else "")


class LiveTable:
    """Prints a campaign's table repeatedly: in place on a terminal, every half minute elsewhere.

    Args:
        seconds: returns how long the campaign has run.
        stream: to print to.
    """

    SECONDS_BETWEEN = 30.0

    def __init__(self, seconds: Callable[[], float], stream: TextIO) -> None:
        self._seconds = seconds
        self._stream = stream
        self._printed = 0.0
        self._height = 0

    def __call__(self, campaign: Campaign, configurations: Sequence[Configuration], last: bool = False) -> None:
        """Print the table if it is time to; ``last`` prints it in any case."""
        now = time.monotonic()
        terminal = self._stream.isatty()
        if not last and now - self._printed < (1.0 if terminal else self.SECONDS_BETWEEN):
            return
        self._printed = now
        text = campaign_table(campaign, configurations, self._seconds())
        if terminal and self._height:
            erase_lines(self._stream, self._height)
        self._height = text.count("\n") + 1
        self._stream.write(text + "\n")
        self._stream.flush()


def status_text(status: Mapping[str, Any]) -> str:
    """A campaign's status, such as ``finished``, with its message if there is one.

    Args:
        status: the content of ``campaign.json``.
    """
    message = status.get("message")
    return f"{status.get('status', 'not started')}" + (f": {message}" if message else "")
