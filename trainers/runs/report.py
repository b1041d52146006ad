"""The report of a run as one picture: samples, measures and curves of the metrics. It knows no system."""

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from unbraid.trainers.config.schema import SystemConfig

COLUMNS = 3
LONGEST_LINE = 150
"""Characters of a line above the panels."""
WIDE = 50
"""A plot whose largest value is more than so many times its smallest has a logarithmic axis."""
NOT_LEARNT = ("speed", "data", "checkpoint", "run")
"""Groups of metrics about how a run went, not about what it learnt: they are no panels of the report."""


def write_report(
    config: SystemConfig,
    step: int,
    lines: Sequence[Mapping[str, Any]],
    scores: Mapping[str, float],
    pictures: Mapping[str, Tensor],
    ended: str = "",
) -> bytes:
    """Draw the report as PNG.

    Args:
        lines: of metrics.jsonl.
        scores: measures of the last evaluation, without prefix.
        pictures: (3, H, W) uint8 by name, drawn in this order.
        ended: why the run ended before its budget.
    """
    curves = [group for group in _groups(lines) if _steps(lines, group) > 1]
    panels = len(pictures) + len(curves)
    rows = max(-(-panels // COLUMNS), 1)
    figure = Figure(figsize=(5.2 * COLUMNS, 5.2 * rows + 0.9), dpi=80, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    title = [_title(config, step, scores), *textwrap.wrap(ended, LONGEST_LINE)]
    figure.suptitle("\n".join(title), fontsize=15 if not ended else 12, color="black" if not ended else "darkred")
    axes = list(figure.subplots(rows, COLUMNS, squeeze=False).flat)
    for panel, (name, picture) in zip(axes, pictures.items(), strict=False):
        panel.imshow(picture.permute(1, 2, 0).numpy(), interpolation="nearest")
        panel.set_title(name.replace("_", " "))
        panel.set_axis_off()
    for panel, group in zip(axes[len(pictures) :], curves, strict=False):
        dashed = _plot(panel, lines, group, scores)
        panel.set_title(group.rstrip("/") + (" (dashed: ceiling)" if dashed else ""))
        panel.set_xlabel("update")
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    for panel in axes[panels:]:
        panel.set_axis_off()
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    return buffer.getvalue()


def _title(config: SystemConfig, step: int, scores: Mapping[str, float]) -> str:
    parts = [str(config.run.name), f"{step:,} updates", f"batch {config.data.batch}", f"seed {config.run.seed}"]
    if config.primary_metric is not None and config.primary_metric.name in scores:
        parts.append(f"{config.primary_metric.name} {scores[config.primary_metric.name]:.3f}")
    return "   ·   ".join(parts)


def _groups(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Prefixes of the metrics of each plot: ``loss/``, ``info/``, …, and those measures that training does not record too."""
    names = dict.fromkeys(name for line in lines for name in line if "/" in name)
    training = dict.fromkeys(name.split("/")[0] for name in names if not name.startswith("evaluation/"))
    measured = dict.fromkeys(name.split("/")[1] for name in names if name.startswith("evaluation/"))
    shown = [f"{group}/" for group in training if group not in NOT_LEARNT]
    return shown + [f"evaluation/{group}/" for group in measured if group not in training]


def _names(lines: Sequence[Mapping[str, Any]], prefix: str) -> list[str]:
    names = dict.fromkeys(name for line in lines for name in line if name.startswith(prefix))
    return [name for name in names if "ceiling" not in name]


def _steps(lines: Sequence[Mapping[str, Any]], prefix: str) -> int:
    return len({line["step"] for line in lines if any(name.startswith(prefix) for name in line)})


def _plot(panel: Axes, lines: Sequence[Mapping[str, Any]], prefix: str, scores: Mapping[str, float]) -> bool:
    """Draw the curves of a group, each with its ceiling where it has one. Returns whether any has one."""
    dashed = False
    everything: list[float] = []
    for name in _names(lines, prefix):
        points = [(line["step"], line[name]) for line in lines if name in line]
        everything += [value for _, value in points]
        marker = "o" if len(points) < 20 else None
        curve = panel.plot(*zip(*points, strict=True), label=name.removeprefix(prefix), linewidth=1, marker=marker)
        ceiling = scores.get(name.replace("_nats", "_ceiling_nats")) if name.endswith("_nats") else None
        if ceiling is not None:
            dashed = True
            panel.axhline(ceiling, color=curve[0].get_color(), linestyle="--", linewidth=0.8)
    if min(everything) > 0 and max(everything) > WIDE * min(everything):
        panel.set_yscale("log")  # else the small curves would lie on each other
    return dashed
