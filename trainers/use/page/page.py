"""The page of a run: one HTML file with everything in it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib import resources

from unbraid.datasets.errors import DataError
from unbraid.trainers.errors import TrainingError
from unbraid.trainers.runs.record import read_metrics
from unbraid.trainers.use.explorer import Explorer
from unbraid.trainers.use.page import sections
from unbraid.trainers.use.page.curves import NOT_LEARNT, figures
from unbraid.trainers.use.run import Run
from unbraid.trainers.use.trained import has_inference

PAGE_KEY = "report.html"


def write_page(run: Run) -> int:
    """Draw a run's page into its storage, as ``report.html``; returns its size in bytes.

    Raises:
        DataError: when the run cannot be read, or the page not be written.
    """
    content = page(run).encode()
    run.store.put(PAGE_KEY, content)
    return len(content)


def page(run: Run) -> str:
    """The page as HTML; it loads nothing from elsewhere."""
    from plotly.offline import get_plotlyjs

    lines = list(read_metrics(run.store))
    drawn = {name: figure.to_plotly_json() for name, figure in figures(lines, run.measures).items()}
    curves = json.dumps(drawn, default=list).replace("<", "\\u003c")
    learnt, went = (_cards(name for name in drawn if (name in NOT_LEARNT) == is_late) for is_late in (False, True))
    body = [
        sections.headline(run),
        sections.explorer(*_explorer(run)),
        sections.measures(run),
        f"<h2>Curves</h2><p>Drag to zoom, double-click to go back. Dashed: the most that is possible.</p>{learnt}"
        if learnt
        else "",
        f"<details><summary>How training went: speed, data, norms, checkpoints</summary>{went}</details>" if went else "",
        sections.pictures(run),
        sections.settings(run),
        sections.events(run),
        sections.data_card(run),
        sections.environment(run),
    ]
    here = resources.files("unbraid.trainers.use.page")
    style, script = ((here / name).read_text() for name in ("page.css", "page.js"))
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; img-src data: blob:; "
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
        f"<title>{sections.safe(run.name)}</title><style>{style}</style></head><body><main>{''.join(body)}</main>"
        f"<script type=application/json id=curves-data>{curves}</script>"
        f"<script>{get_plotlyjs()}</script><script>{script}</script></body></html>"
    )


def _cards(names: Iterable[str]) -> str:
    """Places of plots; empty text where there are none."""
    each = [sections.safe(name) for name in names]
    plots = "".join(f"<figure><figcaption>{name}</figcaption><div data-curve='{name}'></div></figure>" for name in each)
    return f"<div class=cards>{plots}</div>" if plots else ""


def _explorer(run: Run) -> tuple[Explorer | None, str]:
    """Images over the model's factors, and why there are none."""
    if not has_inference(run.config.system):
        return None, ""
    try:
        return run.model().explorer(), ""
    except (TrainingError, DataError) as error:
        return None, str(error)
