"""The shape of the tree: rooms, sizes, import circles, what a fourth system has to edit, what tests guard."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.figures import RESULTS, Figures
from tests.fourth_system.addition import CAPABILITIES, Addition
from tests.imports import PACKAGES, circles, imports_of, rooms
from tests.test_architecture import FOLDERS, LONGEST_FILE, LONGEST_FUNCTION, ROOT, function_lengths

TOPS = ("models", "datasets", "trainers", "cluster")
GUARDED = ("tests/models", "tests/datasets", "tests/trainers/systems", "tests/trainers/step", "tests/trainers/measures")
"""Tests of models, data and systems; systems' updates and measures are theirs."""
BEFORE = {"level": 29, "guarded": 55.6}
"""Of commit ded7286, before the modules moved into rooms: most modules on one level, and the share of tests that guard them."""


def main() -> None:
    """Print all figures."""
    figures = Figures("house", "none")
    sizes(figures)
    imports(figures)
    share = guarded_share()
    figures.figure(
        "guarding_models_systems_data", share, "% of test functions", f">= {BEFORE['guarded']}, as before the rooms", 1
    )
    for group, killed in mutants():
        goal = ">= 90" if group in ("models", "steps") else None
        figures.figure(f"mutants_killed_{group}", killed, "% (benchmarks/results/mutants.txt)", goal, 1)
    if figures.wants("fourth_system"):
        figures.figure("fourth_system_edits", fourth_system_edits(), f"of {len(CAPABILITIES)} uses need an edit", "0", 0)


def sizes(figures: Figures) -> None:
    """Print files and lines by room, and the longest of everything."""
    for room, files in by_room():
        lines = sum(map(line_count, files))
        figures.figure(f"lines.{room}", lines, f"lines in {len(files)} files", digits=0)
    count, level = max((len(modules(folder)), folder) for top in TOPS for folder in folders(ROOT / top))
    figures.figure(
        "modules_on_a_level", count, f"at most, in {relative(level)}", f"<= 20, {BEFORE['level']} before the rooms", digits=0
    )
    lines, file = max((line_count(path), path) for top in FOLDERS for path in (ROOT / top).rglob("*.py"))
    figures.figure("longest_file", lines, f"lines, {relative(file)}", f"<= {LONGEST_FILE}", digits=0)
    length, function = max((lines, name) for top in FOLDERS for name, lines in function_lengths(top).items())
    figures.figure("longest_function", length, f"lines without docstring, {function}", f"<= {LONGEST_FUNCTION}", digits=0)


def imports(figures: Figures) -> None:
    """Print the circles that imports make, of modules and of rooms."""
    graph = imports_of(*PACKAGES)
    of_rooms = [
        circle for folder in ("unbraid", *(f"unbraid.{top}" for top in TOPS)) for circle in circles(rooms(graph, folder))
    ]
    figures.figure("imports", sum(map(len, graph.values())), f"imports between {len(graph)} modules", digits=0)
    figures.figure("circles_of_modules", len(circles(graph)), "circles", "0", digits=0)
    figures.figure("circles_of_rooms", len(of_rooms), "circles", "0", digits=0)


def by_room() -> Iterator[tuple[str, list[Path]]]:
    """List the Python files of each room: the folders one level down, and the modules beside them."""
    for top in TOPS:
        beside = modules(ROOT / top)
        if beside:
            yield top, beside
        for folder in sorted(path for path in (ROOT / top).iterdir() if path.is_dir()):
            files = sorted(folder.rglob("*.py"))
            if files:
                yield f"{top}.{folder.name}", files
    for top in ("tests", "benchmarks"):
        yield top, sorted((ROOT / top).rglob("*.py"))


def folders(top: Path) -> list[Path]:
    """List a folder and all below it that hold modules."""
    return [path for path in (top, *sorted(top.rglob("*"))) if path.is_dir() and modules(path)]


def modules(folder: Path) -> list[Path]:
    """List the modules on one level, without ``__init__.py``."""
    return sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")


def line_count(path: Path) -> int:
    """Count a file's lines."""
    return len(path.read_text().splitlines())


def relative(path: Path) -> str:
    """Name a path from the root of the tree."""
    return str(path.relative_to(ROOT))


def guarded_share() -> float:
    """Measure the share of test functions, in percent, that guard models, systems and data."""
    guarding = sum(test_count(path) for folder in GUARDED for path in (ROOT / folder).rglob("*.py"))
    return 100 * guarding / sum(map(test_count, (ROOT / "tests").rglob("*.py")))


def test_count(path: Path) -> int:
    """Count the test functions in a file; one with several parameters is one."""
    return len(re.findall(r"^\s*def test_", path.read_text(), re.M))


def mutants() -> list[tuple[str, float]]:
    """Read the shares of mutants that tests kill, by group, from the result of the benchmark ``mutants``."""
    kept = RESULTS / "mutants.txt"
    if not kept.exists():
        print("no benchmarks/results/mutants.txt: `make bench NAME=mutants ARGS=--keep` writes it", file=sys.stderr)
        return []
    return [(group, float(value)) for group, value in re.findall(r"^mutants\.(\w+) = ([\d.]+) %", kept.read_text(), re.M)]


def fourth_system_edits() -> int:
    """Count the uses of a fourth system that fail in a tree to which only its own files were added."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        addition = Addition(Path(folder))
        for capability in CAPABILITIES:
            try:
                capability(addition)
            except AssertionError as error:
                print(f"{capability.__name__}: {error}", file=sys.stderr)
                failed += 1
    return failed


if __name__ == "__main__":
    main()
