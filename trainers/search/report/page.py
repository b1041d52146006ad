"""The report of a campaign: an HTML page with leaderboard, plots and pictures of the best three, and TensorBoard's HParams."""

from __future__ import annotations

import base64
import html
import io
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from unbraid.datasets.store import Store, discard
from unbraid.trainers.runs.record import REPORT_KEY
from unbraid.trainers.search.campaign.checks import label_reading_metrics
from unbraid.trainers.search.campaign.file import CENTRALITY, Campaign
from unbraid.trainers.search.campaign.history import Configuration
from unbraid.trainers.search.campaign.journal import READERS, Journal
from unbraid.trainers.search.campaign.ranking import ranked
from unbraid.trainers.search.report.findings import findings
from unbraid.trainers.search.report.plots import campaign_plots, tiled_png
from unbraid.trainers.search.report.table import (
    duration_text,
    spent_text,
    state_counts,
    status_text,
    table_cells,
    table_heads,
    value_text,
)
from unbraid.trainers.search.trials.retention import PREVIEWS, newest_preview

SHOWN = 3
"""Best configurations that are highlighted and pictured."""
MOST_PICTURES, THUMBNAIL = 200, 160
"""Configurations with a picture in the leaderboard, and its pixels: some 5 kB each."""
PAGE_KEY, PICTURE_KEY = "report.html", "report.png"
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}
th,td{padding:.25rem .6rem;border-bottom:1px solid #ddd;text-align:left;white-space:nowrap}
th{border-bottom:2px solid #888}tr.best td{background:#eef6ee}td.partial{color:#999}.scroll{overflow-x:auto}
img{max-width:100%;display:block}figure{margin:1.5rem 0}figcaption{font-weight:600;margin-bottom:.3rem}.note{color:#555}
"""


def write_report(journal: Journal, campaign: Campaign) -> None:
    """Write ``report.html``, ``report.png`` with its plots, and TensorBoard's HParams into the campaign's storage."""
    configurations = journal.read()
    plots = campaign_plots(campaign, configurations)
    if plots:
        journal.store.put(PICTURE_KEY, tiled_png([picture for _, picture in plots]))
    journal.store.put(PAGE_KEY, page(journal, campaign, configurations, plots).encode())
    write_hparams(journal.store, campaign, configurations)


def page(
    journal: Journal, campaign: Campaign, configurations: Sequence[Configuration], plots: Sequence[tuple[str, bytes]]
) -> str:
    """The report as one HTML file."""
    order = ranked(configurations, campaign)
    facts = _facts(campaign, configurations, journal.status())
    parts = [
        f"<h1>{_safe(campaign.name)}</h1>",
        "<ul>" + "".join(f"<li>{_safe(fact)}</li>" for fact in facts) + "</ul>",
        "<h2>Leaderboard</h2>",
        f'<div class="scroll">{leaderboard(campaign, order, thumbnails(journal, campaign, order))}</div>',
        '<p class="note">Grey: stopped, failed, or given up after the first seed; the score is not one of full training.</p>',
        *(f'<p class="note">Damaged: {_safe(message)}</p>' for message in journal.damaged),
        "<h2>Plots</h2>",
        *(_figure(title, picture) for title, picture in plots),
        "<h2>The best three</h2>",
        *best_pictures(journal, campaign, order),
    ]
    title = _safe(campaign.name)
    return f'<!doctype html><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>\n' + "\n".join(parts) + "\n"


def _facts(campaign: Campaign, configurations: Sequence[Configuration], status: Mapping[str, Any]) -> list[str]:
    trials = [trial for configuration in configurations for trial in configuration.trials.values()]
    updates = sum(trial.updates for trial in trials)
    return [
        f"preset {campaign.preset}, {campaign.searcher.kind} search, scheduler {campaign.scheduler.kind}",
        "objectives: " + ", ".join(f"{o.metric} ({o.mode})" for o in campaign.objectives),
        label_note(campaign),
        f"{len(configurations)} configurations, {len(trials)} trials ({state_counts(trials)}), {updates:,} updates, "
        f"{duration_text(float(status.get('seconds', 0)))} of wall time, {status_text(status)}",
        f"seeds a configuration: {campaign.seeds.count}" + (" (medians, and the range)" if campaign.seeds.count > 1 else ""),
        *filter(None, [spent_text(campaign, configurations)]),
        *findings(campaign, configurations),
    ]


def label_note(campaign: Campaign) -> str:
    """A sentence that says whether labels were used to select configurations."""
    read = label_reading_metrics(campaign)
    if read:
        return f"LABELS WERE USED to select: {', '.join(read)}"
    shown = "none were read" if campaign.labels == "none" else "measures that read them are only reported"
    return f"no labels were used to select; {shown}"


def leaderboard(campaign: Campaign, order: Sequence[Configuration], pictures: Mapping[int, bytes]) -> str:
    """An HTML table of all configurations, best first.

    Args:
        pictures: a small JPEG of a configuration, by its number.
    """
    heads = ["", *(["picture"] if pictures else []), *table_heads(campaign)]
    rows = ["<tr>" + "".join(f"<th>{_safe(head)}</th>" for head in heads) + "</tr>"]
    for place, configuration in enumerate(order, 1):
        trials = "; ".join(t.state + (f" ({t.cause})" if t.cause else "") for t in configuration.trials.values())
        kind = ' class="partial"' if configuration.is_partial else ""
        best = ' class="best"' if place <= SHOWN and not configuration.is_partial else ""
        cells = [f"<td{kind}>{_safe(cell)}</td>" for cell in table_cells(campaign, configuration, trials)]
        if pictures:
            cells.insert(0, f"<td>{_thumbnail(pictures.get(configuration.number))}</td>")
        rows.append(f"<tr{best}><td{kind}>{place}</td>{''.join(cells)}</tr>")
    return "<table>" + "\n".join(rows) + "</table>"


def thumbnails(journal: Journal, campaign: Campaign, order: Sequence[Configuration]) -> dict[int, bytes]:
    """A small JPEG of the newest picture of each configuration's best trial, of the best :data:`MOST_PICTURES`."""

    def read(configuration: Configuration) -> bytes | None:
        trial = configuration.best_trial(campaign)
        if trial is None:
            return None
        run = journal.trial_store(trial.name)
        key = newest_preview(run.keys(PREVIEWS))
        return None if key is None else small_jpeg(run.get(key))

    with ThreadPoolExecutor(READERS) as pool:
        shown = order[:MOST_PICTURES]
        found = zip(shown, pool.map(read, shown), strict=True)
        return {configuration.number: picture for configuration, picture in found if picture is not None}


def small_jpeg(picture: bytes) -> bytes | None:
    """A picture of at most :data:`THUMBNAIL` pixels in width and height; None of one that is damaged."""
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(picture)).convert("RGB")
    except OSError:
        return None
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _thumbnail(picture: bytes | None) -> str:
    if picture is None:
        return ""
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(picture).decode()}">'


def best_pictures(journal: Journal, campaign: Campaign, order: Sequence[Configuration]) -> list[str]:
    """The picture that the best trial of each of the best three configurations keeps, as HTML figures."""
    figures = []
    for configuration in order[:SHOWN]:
        trial = configuration.best_trial(campaign)
        if trial is None:
            continue
        run = journal.trial_store(trial.name)
        key = REPORT_KEY if run.exists(REPORT_KEY) else newest_preview(run.keys())
        if key is not None:
            values = ", ".join(f"{path} {value_text(value)}" for path, value in configuration.params.items())
            figures.append(_figure(f"Trial {trial.name}: {values}", run.get(key)))
    return figures


def write_hparams(store: Store, campaign: Campaign, configurations: Sequence[Configuration]) -> None:
    """Write every trial's values and last scores as TensorBoard's HParams, under ``tensorboard/``."""
    from tensorboardX import SummaryWriter

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for configuration in configurations:
            for trial in configuration.trials.values():
                if not trial.rungs:
                    continue
                with SummaryWriter(str(folder / trial.name)) as board:
                    values = {path: _plain(value) for path, value in configuration.params.items()}
                    scores = {f"score/{name}": float(value) for name, value in trial.scores.items()}
                    if configuration.centrality and trial.seed in configuration.centrality:
                        scores[f"score/{CENTRALITY}"] = configuration.centrality[trial.seed]
                    board.add_hparams(values | {"seed": trial.seed}, scores, name="hparams", global_step=trial.updates)
        discard(store, store.keys("tensorboard/"))
        for file in sorted(folder.rglob("events.*")):
            store.put_file(f"tensorboard/{file.relative_to(folder).as_posix()}", file)


def _plain(value: object) -> bool | str | float | int:
    return value if isinstance(value, bool | str | float | int) else str(value)


def _figure(title: str, picture: bytes) -> str:
    encoded = base64.b64encode(picture).decode()
    image = f'<img alt="{_safe(title)}" src="data:image/png;base64,{encoded}">'
    return f"<figure><figcaption>{_safe(title)}</figcaption>{image}</figure>"


def _safe(text: str) -> str:
    return html.escape(text, quote=True)
