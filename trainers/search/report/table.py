"""A campaign as a person watches it: best first, a spark-line of the objective, time left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from unbraid.trainers.runs.progress import aligned
from unbraid.trainers.search.campaign.file import Campaign
from unbraid.trainers.search.campaign.history import FINAL, Configuration, State, Trial
from unbraid.trainers.search.campaign.ranking import ranked

ROWS = 12
SPARKS = "▁▂▃▄▅▆▇█"


def campaign_table(campaign: Campaign, configurations: Sequence[Configuration], seconds: float, rows: int = ROWS) -> str:
    """Some lines of text.

    Args:
        seconds: that the campaign has run, for the time left.
    """
    lines = [summary(campaign, configurations, seconds)]
    shown = ranked(configurations, campaign)[:rows]
    rows_of = [cells_of(campaign, c, " ".join(map(_word, c.trials.values()))) for c in shown]
    lines.append(aligned([heads_of(campaign), *rows_of]))
    if len(configurations) > rows:
        lines.append(f"… and {len(configurations) - rows} more")
    return "\n".join(lines)


def summary(campaign: Campaign, configurations: Sequence[Configuration], seconds: float) -> str:
    """``weights: 7 of 16 trials over (4 finished, 3 stopped), 2 running, 03:12, about 04:00 left``, and the best so far."""
    trials = [trial for configuration in configurations for trial in configuration.trials.values()]
    ended = [trial for trial in trials if trial.ended]
    over, running = len(ended), sum(trial.state == "running" for trial in trials)
    text = f"{campaign.name}: {over} of {campaign.most_trials} trials over" + (f" ({counted(ended)})" if ended else "")
    text += f", {running} running, {clock(seconds)}"
    if 0 < over < campaign.most_trials:
        text += f", about {clock(seconds / over * (campaign.most_trials - over))} left"
    history = best_so_far(campaign, configurations)
    if len(history) > 1:
        text += f"\nbest {campaign.metrics[0]} so far {sparks(history)} {history[-1]:.4g}"
    return text


def best_so_far(campaign: Campaign, configurations: Sequence[Configuration]) -> list[float]:
    """The best score after each configuration that has one and was trained to the end, in order."""
    objective = campaign.objectives[0]
    best: list[float] = []
    for configuration in configurations:
        score = None if configuration.was_cut else configuration.score(objective)
        if score is not None:
            best.append(score if not best or objective.sign * (score - best[-1]) > 0 else best[-1])
    return best


def sparks(values: Sequence[float], width: int = 24) -> str:
    """A line of blocks, lowest to highest; only the newest that fit."""
    shown = list(values[-width:])
    low, high = min(shown), max(shown)
    steps = len(SPARKS) - 1
    return "".join(SPARKS[round(steps * (value - low) / (high - low)) if high > low else 0] for value in shown)


def clock(seconds: float) -> str:
    """``1:02:03`` or ``02:03``."""
    hours, rest = divmod(int(seconds), 3600)
    return (f"{hours}:" if hours else "") + f"{rest // 60:02d}:{rest % 60:02d}"


def value_text(value: Any) -> str:
    """A value of a dimension, short."""
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace(" ", "")


def counted(trials: Sequence[Trial]) -> str:
    """``4 finished, 3 stopped``."""
    count = Counter(trial.state for trial in trials)
    states: tuple[State, ...] = (*FINAL, "running")
    return ", ".join(f"{count[state]} {state}" for state in states if count[state])


def heads_of(campaign: Campaign) -> list[str]:
    """Of the columns of a table of configurations."""
    return ["configuration", *campaign.metrics, "updates", "trials", *campaign.space]


def cells_of(campaign: Campaign, configuration: Configuration, trials: str) -> list[str]:
    """A row of such a table.

    Args:
        trials: what is said of them.
    """
    scores = [configuration.score(objective) for objective in campaign.objectives]
    values = [value_text(configuration.params[path]) if path in configuration.params else "" for path in campaign.space]
    shown = ["" if score is None else f"{score:.4f}" for score in scores]
    return [f"{configuration.number:04d}", *shown, f"{configuration.updates:,}", trials, *values]


def _word(trial: Trial) -> str:
    return trial.cause.partition(":")[0] if trial.state == "failed" else trial.state


class LiveTable:
    """Prints the table again and again: over itself on a terminal, now and then elsewhere.

    Args:
        campaign: that runs.
        seconds: gives how long it has.
        stream: to print to.
    """

    SECONDS_BETWEEN = 30.0

    def __init__(self, campaign: Campaign, seconds: Any, stream: Any) -> None:
        self._campaign = campaign
        self._seconds = seconds
        self._stream = stream
        self._printed = 0.0
        self._height = 0

    def __call__(self, configurations: Sequence[Configuration], last: bool = False) -> None:
        """Show how it stands."""
        now = time.monotonic()
        terminal = self._stream.isatty()
        if not last and now - self._printed < (1.0 if terminal else self.SECONDS_BETWEEN):
            return
        self._printed = now
        text = campaign_table(self._campaign, configurations, self._seconds())
        if terminal and self._height:
            self._stream.write(f"\x1b[{self._height}F\x1b[J")
        self._height = text.count("\n") + 1
        self._stream.write(text + "\n")
        self._stream.flush()


def outcome_line(status: Mapping[str, Any]) -> str:
    """``finished``, or why not."""
    message = status.get("message")
    return f"{status.get('status', 'not started')}" + (f": {message}" if message else "")
