"""The progress line of a run: rates, losses and time left."""

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from unbraid.datasets.untrusted.terminal import rewrite_line
from unbraid.datasets.untrusted.text import printable
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.runs.record import measures_of

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Prints a run's metrics: one line that is rewritten on a terminal, a line every few seconds elsewhere.

    Args:
        config: of the run; the time left follows from its budget.
        stream: to print to; default: standard output.
    """

    def __init__(self, config: SystemConfig, stream: TextIO | None = None) -> None:
        self.updates = config.run.updates
        self.watched = config.watched
        self.stream = stream or sys.stdout
        self._printed = -SECONDS_BETWEEN_LINES
        self._rewriting = False

    def __call__(self, line: Mapping[str, Any]) -> None:
        """Print one line of metrics."""
        if measures_of(line):
            self._end_line()
            print(evaluation_text(line), file=self.stream, flush=True)
            return
        now = time.monotonic()
        last = line["step"] >= self.updates
        terminal = self.stream.isatty()
        if not last and now - self._printed < (0.2 if terminal else SECONDS_BETWEEN_LINES):
            return
        self._printed = now
        width = shutil.get_terminal_size().columns - 1 if terminal else None
        text = progress_text(line, self.updates, self.watched, width)
        if terminal:
            rewrite_line(self.stream, text, "\n" if last else "")
            self._rewriting = not last
        else:
            print(text, file=self.stream, flush=True)

    def _end_line(self) -> None:
        if self._rewriting:
            print(file=self.stream)
            self._rewriting = False


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Align the cells of a table in columns, a line for each row, whatever is in the cells."""
    rows = [[" ".join(printable(cell).split()) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def progress_text(line: Mapping[str, Any], updates: int, watched: tuple[str, ...] = (), width: int | None = None) -> str:
    """``update 340/2500  left 08:47  4.1 updates/s  525 images/s  wait 0 %  D 0.61  G 1.20  …``.

    Args:
        watched: prefixes of the metrics to print besides rates and losses.
        width: in characters, which a line that rewrites itself must keep within; what comes last is left out for it.
    """
    rate = line["speed/updates_per_second"]
    left = int((updates - line["step"]) / rate)
    parts = [
        f"update {line['step']}/{updates}",
        f"left {left // 60:02d}:{left % 60:02d}",
        f"{rate:.2f} updates/s",
        f"{line['speed/images_per_second']:.0f} images/s",
        f"wait {line['data/wait_percent']:.0f} %",
        *_transfers(line),
        *(f"{name.partition('/')[2].upper()} {_short(value)}" for name, value in line.items() if name.startswith("loss/")),
        *(f"{name} {value:.2f}" for name, value in line.items() if watched and name.startswith(watched)),
    ]
    text = parts[0][:width]
    for part in parts[1:]:
        if width is not None and len(text) + len(part) + 2 > width:
            break
        text = f"{text}  {part}"
    return text


def _short(loss: float) -> str:
    return f"{loss:.3f}" if abs(loss) >= 0.1 else f"{loss:.2g}"


def evaluation_text(line: Mapping[str, Any]) -> str:
    """``evaluated at update 2500: code/accuracy 0.954 …``, each ceiling beside the measure that it bounds."""
    scores = measures_of(line)
    parts = []
    for name, value in scores.items():
        if "ceiling" in name:
            continue
        ceiling = scores.get(name.replace("_nats", "_ceiling_nats")) if name.endswith("_nats") else None
        parts.append(f"  {name} {value:.4f}" + (f" of at most {ceiling:.4f}" if ceiling is not None else ""))
    return f"evaluated at update {line['step']}:\n" + "\n".join(parts)


def _transfers(line: Mapping[str, Any]) -> list[str]:
    """``2.1 MB/s``, ``cache 97 %``, ``3 retries``, ``1 skipped``: the rate always, the others where they are not 0."""
    words = {
        "data/megabytes_per_second": "{:.1f} MB/s",
        "data/cache_hit_percent": "cache {:.0f} %",
        "data/retries": "{:.0f} retries",
        "data/skipped_samples": "{:.0f} skipped",
    }
    always = "data/megabytes_per_second"
    shown = [name for name in words if line.get(name) or (name == always and name in line)]
    return [words[name].format(line[name]) for name in shown]
