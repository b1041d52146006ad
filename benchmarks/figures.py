"""How every benchmark prints: one line a figure on standard output, and the head of a committed result."""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from unbraid.trainers.measures.trend import trend

RESULTS = Path(__file__).parent / "results"
FLAGS_THAT_MATTER = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


class Figures:
    """Prints figures as they are known, and with ``--keep`` commits them to ``benchmarks/results/NAME.txt``.

    Args:
        name: of the benchmark, the first part of every figure's name.
        seeds: that it used, for the head.
    """

    def __init__(self, name: str, seeds: str) -> None:
        parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
        parser.add_argument("--keep", action="store_true", help=f"write benchmarks/results/{name}.txt")
        parser.add_argument("--only", help="run the parts whose name contains this; --keep leaves others' lines alone")
        arguments = parser.parse_args()
        self.name = name
        self.seeds = seeds
        self.only: str | None = arguments.only
        self.keep: bool = arguments.keep
        self.lines: dict[str, str] = self._kept() if self.keep and self.only else {}
        self.started = time.time()

    def wants(self, part: str) -> bool:
        """Whether a part is to be run."""
        return self.only is None or self.only in part

    def figure(self, name: str, value: float, unit: str, goal: str | None = None, digits: int = 3) -> None:
        """Print ``benchmark.name = value unit (goal: ...)``."""
        line = f"{self.name}.{name} = {value:.{digits}f} {unit}" + (f" (goal: {goal})" if goal else "")
        self.lines[f"{self.name}.{name}"] = line
        print(line, flush=True)
        if self.keep:
            self._write()

    def trend(self, name: str, values: Sequence[float]) -> None:
        """Print whether a sequence of losses fell: ``NAME_trend``, the change over the run and twice its standard error."""
        found = trend(values)
        unit = f"highest change over {len(values)} values: {found.change:.3f} and 2 x its error of {found.error:.3f}"
        self.figure(f"{name}_trend", found.highest, unit, "falling, < 0")

    def _write(self) -> None:
        RESULTS.mkdir(exist_ok=True)
        head = [
            f"# {self.name}, {time.strftime('%Y-%m-%d', time.gmtime(self.started))}, commit {_commit()}",
            f"# {machine()}",
            f"# seeds {self.seeds}, took {(time.time() - self.started) / 60:.1f} minutes"
            + (f" for the parts named {self.only}; others before" if self.only else ""),
        ]
        (RESULTS / f"{self.name}.txt").write_text("\n".join([*head, *self.lines.values()]) + "\n")

    def _kept(self) -> dict[str, str]:
        path = RESULTS / f"{self.name}.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return {line.split(" = ")[0]: line for line in lines if not line.startswith("#")}


def machine() -> str:
    """Cores, and the CPU flags that decide speed."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), [])
    known = " ".join(flag for flag in FLAGS_THAT_MATTER if flag in flags)
    return f"{os.cpu_count()} cores, {platform.machine()}, {known or 'flags unknown'}"


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return done.stdout.strip() or "unknown"
