"""Curves of a run's metrics as plotly's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import plotly.graph_objects

MOST_POINTS = 800
"""Of a curve; longer ones are thinned."""
ORDER = ("loss", "info", "evaluation")
"""Groups that come first, in this order."""
NOT_LEARNT = ("speed", "data", "memory", "checkpoint", "run", "gradient_norm", "update_norm")
"""Groups about how a run went, not about what it learnt."""
LOGARITHMIC = 50
"""A curve whose largest value is so many times its smallest is drawn on a logarithmic axis."""


def figures(lines: Sequence[Mapping[str, Any]], scores: Mapping[str, float]) -> dict[str, plotly.graph_objects.Figure]:
    """A figure for each group of metrics (``loss``, ``info``, …), by its name, with the ceilings of information dashed.

    Args:
        lines: of the run's metrics.
        scores: of its last evaluation.
    """
    curves: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for line in lines:
        for name, value in line.items():
            group, slash, rest = name.partition("/")
            if slash and isinstance(value, int | float) and "ceiling" not in name:
                curves.setdefault(group, {}).setdefault(rest, []).append((int(line["step"]), float(value)))
    several = {group: {n: c for n, c in of.items() if len(c) > 1} for group, of in curves.items()}
    groups = sorted((g for g, of in several.items() if of), key=lambda g: (ORDER.index(g) if g in ORDER else len(ORDER), g))
    return {group: _figure(group, several[group], scores) for group in groups}


def _figure(
    group: str, curves: Mapping[str, list[tuple[int, float]]], scores: Mapping[str, float]
) -> plotly.graph_objects.Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, points in curves.items():
        thin = points[:: max(1, -(-len(points) // MOST_POINTS))]
        thin += points[-1:] if thin[-1] != points[-1] else []
        figure.add_scatter(
            x=[step for step, _ in thin],
            y=[float(f"{value:.5g}") for _, value in thin],
            name=name,
            mode="lines" if len(thin) > 20 else "lines+markers",
        )
        ceiling = scores.get(f"{group}/{name}".replace("_nats", "_ceiling_nats")) if name.endswith("_nats") else None
        if ceiling is not None:
            figure.add_hline(y=ceiling, line_dash="dash", line_width=1, line_color="#888888")
    values = [value for points in curves.values() for _, value in points]
    if min(values) > 0 and max(values) > LOGARITHMIC * min(values):
        figure.update_yaxes(type="log")
    figure.update_layout(
        margin={"l": 50, "r": 10, "t": 10, "b": 40},
        height=340,
        xaxis_title="update",
        legend={"orientation": "h", "y": -0.25},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hovermode="x unified",
    )
    return figure
