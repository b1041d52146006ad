"""Recorded curves of presets whose runs went well, thinned to what the judge reads; ``record`` adds one."""

import gzip
import json
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.config.schema import SystemConfig
from unbraid.trainers.monitor.judge import DISCRIMINATOR_LOSS, FAKE_DEVIATION, NORMS, REAL_DEVIATION

FOLDER = Path(__file__).parent / "curves"
DIGITS = 4


@dataclass(frozen=True)
class Curve:
    """A run's lines of metrics.

    Attributes:
        name: preset and seed, as ``infogan-mnist-small.seed0``.
    """

    name: str
    config: SystemConfig
    lines: tuple[dict[str, float], ...]


@lru_cache
def read_curves() -> tuple[Curve, ...]:
    """All of them."""
    found = []
    for file in sorted(FOLDER.glob("*.json.gz")):
        name = file.name.removesuffix(".json.gz")
        columns: dict[str, list[float | None]] = json.loads(gzip.decompress(file.read_bytes()))
        count = len(columns["step"])
        lines = tuple({key: value for key, values in columns.items() if (value := values[i]) is not None} for i in range(count))
        found.append(Curve(name, resolve(name.partition(".")[0]), lines))
    return tuple(found)


def record(metrics: Path, name: str) -> None:
    """Thin a run's ``metrics.jsonl`` to the scalars that the judge reads, with few digits, by columns."""
    config = resolve(name.partition(".")[0])
    wanted = (*config.bounded, *NORMS, DISCRIMINATOR_LOSS, FAKE_DEVIATION, REAL_DEVIATION)
    lines = [line for text in metrics.read_text().splitlines() if "speed/updates_per_second" in (line := json.loads(text))]
    keys = dict.fromkeys(key for line in lines for key in line if key.startswith(wanted))
    columns = {"step": [line["step"] for line in lines]}
    columns |= {key: [None if key not in line else float(f"{line[key]:.{DIGITS}g}") for line in lines] for key in keys}
    FOLDER.mkdir(exist_ok=True)
    content = gzip.compress(json.dumps(columns, separators=(",", ":")).encode(), mtime=0)
    (FOLDER / f"{name}.json.gz").write_bytes(content)


if __name__ == "__main__":
    record(Path(sys.argv[1]), sys.argv[2])
