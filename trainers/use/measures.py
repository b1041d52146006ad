"""Measures as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping


def readable(scores: Mapping[str, float]) -> list[tuple[str, str]]:
    """Rows of a measure's name and its value in words; information is told beside what it could be at most.

    Args:
        scores: by name, such as ``info/categorical_0_nats``.
    """
    rows = []
    for name, value in scores.items():
        stem = name.removesuffix("_nats")
        if name.endswith(("_ceiling_nats", "_share")) and f"{name.rpartition('_')[0].removesuffix('_ceiling')}_nats" in scores:
            continue
        ceiling, share = scores.get(f"{stem}_ceiling_nats"), scores.get(f"{stem}_share")
        if name != stem and ceiling is not None:
            rows.append((stem, _information(value, ceiling, share)))
        else:
            rows.append((name, f"{value:.4g}"))
    return rows


def _information(nats: float, ceiling: float, share: float | None) -> str:
    """Such as ``2.29 of 2.30 nats``; a share alone where both are below 0, because Q's Gaussian does not fit the prior."""
    if share is None:
        return f"{nats:.2f} of {ceiling:.2f} nats"
    told = f"{100 * share:.0f} % of what is attainable"
    return told if ceiling <= 0 else f"{nats:.2f} of {ceiling:.2f} nats, {told}"
