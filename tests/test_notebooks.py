"""The notebooks under docs run from their first cell to their last, on runs of a few updates."""

import json
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))


def test_each_system_of_the_papers_has_one() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["cdd", "dpig", "infogan"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_to_its_end(
    path: Path, trained_infogan: Path, trained_dpig: Path, trained_cdd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = {"infogan": trained_infogan / "info", "dpig": trained_dpig / "mapping", "cdd": trained_cdd / "cdd"}[path.stem]
    monkeypatch.setenv("UNBRAID_NOTEBOOK_RUN", os.fspath(run))
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in cells), "outputs are not committed: they are of somebody's machine"
    names: dict[str, object] = {}
    for number, cell in enumerate(cells):
        *lines, last = "".join(cell["source"]).splitlines()
        exec(compile("\n".join(lines), f"{path.name}, cell {number}", "exec"), names)  # noqa: S102  # our own notebook
        try:
            shown = eval(compile(last, f"{path.name}, cell {number}", "eval"), names)  # noqa: S307
        except SyntaxError:  # a statement
            exec(compile(last, f"{path.name}, cell {number}", "exec"), names)  # noqa: S102
            continue
        getattr(shown, "_repr_png_", shown.__repr__)()
