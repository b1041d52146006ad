"""The sections of a run's page as HTML."""

from __future__ import annotations

import base64
import html
import io
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from PIL import Image

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import read_index
from unbraid.datasets.store import open_store
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.presets import preset_names
from unbraid.trainers.config.schema import differences, effects
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.runs.events import read_events
from unbraid.trainers.runs.pictures import newest_pictures
from unbraid.trainers.use.explorer import Explorer, thumbnails
from unbraid.trainers.use.measures import readable
from unbraid.trainers.use.run import Run

PICTURES_BYTES = 4_000_000
"""Of all pictures by update; of more, some updates are left out."""
MOST_UPDATES = 24


def safe(text: object) -> str:
    """Text as HTML shows it."""
    return html.escape(str(text), quote=True)


def uri(content: bytes, kind: str) -> str:
    """A picture inside of the page."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def table(rows: Iterable[Sequence[object]], head: Sequence[str] = ()) -> str:
    """A table; empty text where it has no rows."""
    lines = ["".join(f"<td>{safe(cell)}</td>" for cell in row) for row in rows]
    if not lines:
        return ""
    top = f"<thead><tr>{''.join(f'<th>{safe(cell)}</th>' for cell in head)}</tr></thead>" if head else ""
    return f"<div class=wide><table>{top}<tbody>{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody></table></div>"


def headline(run: Run) -> str:
    """What the run is, how it ended, and its main measure."""
    metric, scores, record = run.config.primary_metric, run.measures, run.record
    told = (
        f"<p class=headline>{safe(metric.words)}: <b>{scores[metric.name]:.4g}</b></p>"
        if metric and metric.name in scores
        else ""
    )
    why = record.get("nothing_learnt") or record.get("message") or ""
    ended = f"<p class=bad>{safe(why)}</p>" if why else ""
    took = f", {record['seconds'] / 60:,.0f} minutes" if record.get("seconds") else ""
    state = f"{safe(run.config.system)}, {safe(run.status)}, {run.step:,} of {run.config.run.updates:,} updates{took}"
    return f"<h1>{safe(run.name)}</h1><p>{state}</p>{told}{ended}"


def measures(run: Run) -> str:
    """All measures of the last evaluation, information beside what it could be."""
    split = run.record.get("evaluation_split", "")
    rows = table(readable(run.measures), ("measure", f"on the split {split}" if split else "value"))
    return f"<h2>Measures</h2>{rows}" if rows else ""


def settings(run: Run) -> str:
    """How the configuration differs from the preset that the command names."""
    words = str(run.record.get("command", "")).split()
    preset = next((word for word in words if word in preset_names()), None)
    if preset is None:
        return ""
    try:
        changed = differences(resolve(preset), run.config)
    except ConfigError:
        return ""
    kept = [(key, before, now) for key, (before, now) in changed.items() if key not in effects(type(run.config))]
    told = table(kept, ("key", f"in {preset}", "here")) or f"<p>As in {safe(preset)}.</p>"
    return f"<h2>Settings</h2>{told}"


def events(run: Run) -> str:
    """What happened to the run that a person should know of."""
    rows = [(time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(e.time)), e.kind, e.message) for e in read_events(run.store)]
    told = table(rows, ("time (UTC)", "event", ""))
    return f"<h2>Events</h2>{told}" if told else ""


def data_card(run: Run) -> str:
    """What the run was trained on."""
    try:
        index = read_index(open_store(run.config.data.url))
    except DataError as error:
        return f"<h2>Data</h2><p>{safe(run.config.data.url)}: {safe(error)}</p>"
    digest = str(run.record.get("data_digest", ""))
    rows = [
        ("name", index.name),
        ("where", run.config.data.url),
        ("samples", ", ".join(f"{sum(s.count for s in shards):,} {split}" for split, shards in index.splits.items())),
        ("images", ", ".join(f"{name} {shape}" for name, shape in index.image_shapes.items())),
        ("licence", index.licence),
        ("source", index.source),
        ("digest", digest if digest in ("", index.digest) else f"{digest}; another set lies there now, {index.digest}"),
    ]
    return f"<h2>Data</h2>{table(row for row in rows if row[1])}"


def environment(run: Run) -> str:
    """Where it was trained, with what, and how to repeat it."""
    record = run.record
    versions = ", ".join(f"{name} {version}" for name, version in (record.get("versions") or {}).items() if version)
    commit = str(record.get("git_commit") or "") + (" with changes" if record.get("git_dirty") else "")
    rows = [("device", record.get("device")), ("machine", record.get("machine")), ("versions", versions), ("commit", commit)]
    command = f"unbraid {record.get('command', '')}"
    again = f"<p>Again, to the same weights on the same kind of machine:</p><pre>{safe(command)}</pre>"
    return f"<h2>Environment</h2>{table(row for row in rows if row[1])}{again if record.get('command') else ''}"


def pictures(run: Run) -> str:
    """Pictures by update under a slider, at latents that never change; then the figures."""
    every = run.store.keys("preview/")
    by_name: dict[str, dict[int, str]] = {}
    for key in every:
        parts = key.split("/")
        if len(parts) == 3 and parts[2].removesuffix(".png").isdigit():
            by_name.setdefault(parts[1], {})[int(parts[2].removesuffix(".png"))] = key
    blocks = [_slider(run, name, keys, PICTURES_BYTES // max(len(by_name), 1)) for name, keys in sorted(by_name.items())]
    figures = newest_pictures(run.store.keys("figures/"))
    blocks += [_figure(key.split("/")[1], uri(*_webp(run.store.get(key)))) for key in figures]
    return f"<h2>Pictures</h2><div class=cards>{''.join(blocks)}</div>" if blocks else ""


def _slider(run: Run, name: str, keys: Mapping[int, str], limit: int) -> str:
    """One picture of which each update is a step of a slider."""
    updates = sorted(keys)
    updates = [*updates[:: max(1, -(-len(updates) // MOST_UPDATES))], *([updates[-1]] if updates else [])]
    content = {update: _webp(run.store.get(keys[update])) for update in dict.fromkeys(updates)}
    while len(content) > 2 and sum(len(picture) for picture, _ in content.values()) > limit:
        middle = list(content)[1:-1]
        content = {u: p for u, p in content.items() if u not in middle[::2]}
    images = [uri(*picture) for picture in content.values()]
    labels = json.dumps([f"update {update:,}" for update in content])
    last = len(images) - 1
    slider = f"<input type=range min=0 max={last} value={last} aria-label='{safe(name)} by update'>" if last > 0 else ""
    hidden = "".join(f"<img src='{image}' alt='' {'' if i == last else 'hidden'}>" for i, image in enumerate(images))
    return (
        f"<figure class=steps data-labels='{safe(labels)}'><figcaption>{safe(name.replace('_', ' '))} <output></output>"
        f"</figcaption>{hidden}{slider}</figure>"
    )


def _figure(name: str, picture: str) -> str:
    return f"<figure><figcaption>{safe(name.replace('_', ' '))}</figcaption><img src='{picture}' alt='{safe(name)}'></figure>"


def _webp(png: bytes) -> tuple[bytes, str]:
    """A smaller form of a picture, and its kind."""
    with Image.open(io.BytesIO(png)) as image:
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "WEBP", quality=85)
    return (buffer.getvalue(), "webp") if buffer.tell() < len(png) else (png, "png")


def explorer(found: Explorer | None, trouble: str = "") -> str:
    """Sliders over pre-drawn images."""
    if found is None:
        return f"<h2>Explorer</h2><p>Not drawn: {safe(trouble)}</p>" if trouble else ""
    _, _, height, width = found.images.tensor.shape
    axes: list[dict[str, Any]] = []
    for axis in found.axes:
        shown = [uri(image, "webp") for image in thumbnails(axis.pictures)] if axis.pictures is not None else []
        axes.append({"name": axis.name, "labels": list(axis.labels), "start": axis.start, "pictures": shown})
    content = {"axes": axes, "width": width, "height": height, "columns": found.columns, "sprite": uri(found.sprite(), "webp")}
    script = json.dumps(content).replace("<", "\\u003c")
    return (
        f"<h2>Explorer</h2><p>{safe(found.words)}</p><div id=explorer class=explorer><canvas role=img "
        f"aria-label='the image of these settings'></canvas><div class=axes></div></div>"
        f"<script type=application/json id=explorer-data>{script}</script>"
    )
