"""Contracts between the folders, circles of imports, the size of files and functions, and the names that documents mention."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.imports import PACKAGES, circles, described, imports_of, rooms
from unbraid.trainers.config.schema import all_keys
from unbraid.trainers.config.systems import system_names, system_schema
from unbraid.trainers.search.campaign.file import Campaign

ROOT = Path(__file__).parent.parent
FOLDERS = ("models", "datasets", "trainers", "cluster", "tests", "benchmarks")
LONGEST_FILE, LONGEST_FUNCTION = 400, 50
"""Lines; a function's docstring is not counted."""
DOCUMENTS = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]


def test_imports_go_one_way() -> None:
    # without its cache, which does not notice a package that has become one
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_of_modules_is_a_package(folder: str) -> None:
    """Import-linter and grimp do not see the others."""
    folders = {path.parent for path in (ROOT / folder).rglob("*.py") if "tree" not in path.parts}
    assert not [path for path in folders if not (path / "__init__.py").is_file()]


def test_no_modules_import_each_other() -> None:
    graph = imports_of(*PACKAGES)
    assert len(graph) > 300
    found = circles(graph)
    assert not found, described(found, graph)


@pytest.mark.parametrize("folder", ["unbraid", *(f"unbraid.{name}" for name in ("models", "datasets", "trainers", "cluster"))])
def test_no_rooms_import_each_other(folder: str) -> None:
    graph = rooms(imports_of("unbraid"), folder)
    assert len(graph) > 3
    found = circles(graph)
    assert not found, described(found, graph)


@pytest.mark.parametrize(
    "statement",
    [
        "from package import b",
        "from package.b import B",
        "def late():\n    import package.b",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from package.b import B",
        "from package import named",
    ],
)
def test_a_circle_is_found_wherever_its_imports_are(statement: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("from package.b import named\n" if "named" in statement else "")
    (package / "a.py").write_text(f"{statement}\n")
    (package / "b.py").write_text("import package.a\nB = named = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    graph = imports_of.__wrapped__("package")
    assert [set(group) - {"package"} for group in circles(graph)] == [{"package.a", "package.b"}]
    assert "package.b → package.a line 1" in described(circles(graph), graph)


def test_a_system_uses_its_own_models_and_its_command_uses_its_own_system() -> None:
    """Contracts cannot pair names that a wildcard stands for."""
    foreign = [
        f"{importer} → {imported}"
        for importer, all_imported in imports_of("unbraid").items()
        for imported in all_imported
        if (own := _system_of(importer)) and (other := _system_of(imported)) and own != other
    ]
    assert not foreign


def _system_of(module: str) -> str | None:
    """The system in whose own files a module is; None for all others."""
    packages = {path.name for path in (ROOT / "models").iterdir() if path.is_dir()}
    own = re.match(r"unbraid\.(?:trainers\.systems|models|cluster\.commands\.generate)\.(\w+)", module)
    return own[1] if own and own[1] in packages else None


def test_no_list_names_systems() -> None:
    """A name of a system is a string in its own files only."""
    names = {*system_names(), *(name.partition(".")[0] for name in system_names())}
    named = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        for folder in ("models", "datasets", "trainers", "cluster")
        for path, tree in _parsed(folder)
        if _system_of(".".join(("unbraid", *path.relative_to(ROOT).with_suffix("").parts))) is None
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert not named


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_file_is_too_long_to_hold_in_the_head(folder: str) -> None:
    long = {str(p): n for p in (ROOT / folder).rglob("*.py") if (n := len(p.read_text().splitlines())) > LONGEST_FILE}
    assert not long


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_function_fits_a_screen(folder: str) -> None:
    long = {name: lines for name, lines in function_lengths(folder).items() if lines > LONGEST_FUNCTION}
    assert not long


def function_lengths(folder: str) -> dict[str, int]:
    """Count the lines of every function of a folder, without its docstring, by ``FILE:LINE NAME``."""
    return {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": _length(node)
        for path, tree in _parsed(folder)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[0]
    docstring = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) is not None and first.end_lineno else 0
    return (function.end_lineno or function.lineno) - function.lineno + 1 - docstring


def _parsed(folder: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        yield path, ast.parse(path.read_text())


@pytest.mark.parametrize("folder", ["models", "datasets", "trainers", "cluster"])
def test_what_strangers_may_have_written_is_read_in_one_place(folder: str) -> None:
    """And threads are started in one place, where none ends without a word."""
    places = {
        "threading.Thread": {"datasets/threads.py"},
        "yaml.safe_load": set(),
        "yaml.load": {"datasets/untrusted/yaml12.py"},
        "np.load": set(),
        "json.loads": {"cluster/jobs/kube.py"},
        "pickle.load": set(),
    }
    for path, tree in _parsed(folder):
        called = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        for name, allowed in places.items():
            assert name not in called or path.relative_to(ROOT).as_posix() in allowed, f"{path}: {name}"


def test_command_line_and_config_import_nothing_heavy() -> None:
    script = (
        "import sys; import unbraid.cluster.cli; "
        "from unbraid.trainers.config.overrides import resolve; resolve('infogan-mnist', ['run.seed=3']);"
        "from unbraid.trainers.config.systems import system_names, system_schema; [system_schema(n) for n in system_names()];"
        "print([m for m in ('torch', 'kornia', 'ray', 'boto3', 'webdataset', 'matplotlib', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def mentioned(document: Path, pattern: str) -> list[str]:
    """Find the words in code quotes that match a pattern from beginning to end, placeholders such as NAME left out."""
    words = re.findall(r"`([^`\n]+)`", document.read_text())
    return [word for word in words if re.fullmatch(pattern, word) and not re.search(r"\b[A-Z]{2,}\b", word)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_files_that_are_there(document: Path) -> None:
    folders = "|".join([*FOLDERS, "k8s", "docs"])
    missing = [path for path in mentioned(document, rf"(?:{folders})/[\w./-]*") if not (ROOT / path).exists()]
    known = {path.name for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    missing += [name for name in mentioned(document, r"\w+\.py") if name not in known]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_modules_and_functions_that_are_there(document: Path) -> None:
    missing = [name for name in mentioned(document, r"unbraid(?:\.\w+)+(?:\(\))?") if not _is_defined(name.removesuffix("()"))]
    assert not missing


def _is_defined(name: str) -> bool:
    """Whether a dotted name is a module, or a name in one, or an attribute of a class in one."""
    parts = name.split(".")[1:]
    for i in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:i])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if file.is_file():
            return _defines(ast.parse(file.read_text()).body, parts[i:])
    return False


def _defines(body: list[ast.stmt], names: list[str]) -> bool:
    if not names:
        return True
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == names[0]:
            return _defines(node.body, names[1:])
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        if any(isinstance(target, ast.Name) and target.id == names[0] for target in targets):
            return len(names) == 1
    return False


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documents_name_configuration_keys_that_are_there(document: Path) -> None:
    known = {key for system in system_names() for key in all_keys(system_schema(system))} | set(all_keys(Campaign))
    known |= {".".join(key.split(".")[:i]) for key in known for i in range(1, key.count(".") + 1)}
    sections = "|".join({key.split(".")[0] for key in known})
    known |= set(system_names()) | {f"{section}.{kind}" for section in sections.split("|") for kind in ("py", "json")}
    wrong = [key for key in mentioned(document, rf"(?:{sections})(?:\.\w+)+") if key not in known]
    assert not wrong


def _holds_sources(folder: Path) -> bool:
    """Whether a folder is more than what a room that has moved leaves in a checkout: caches of Python's, and nothing."""
    return any(file.is_file() and file.suffix != ".pyc" for file in folder.rglob("*"))


def test_the_drawn_tree_names_every_room() -> None:
    drawn = re.search(r"^    models/ .*?^$", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE | re.DOTALL)
    assert drawn is not None
    named: set[str] = set()
    top = ""
    for line in drawn[0].splitlines():
        names = re.split(r"\s{2,}", line.strip())[0].replace("/", "").split()
        if line.startswith("      "):
            named |= {f"{top}/{name}" for name in names}
        else:
            (top,) = names
            named.add(top)
    missing = {
        f"{folder}/{path.name}"
        for folder in ("models", "datasets", "trainers", "cluster")
        for path in (ROOT / folder).iterdir()
        if path.name not in ("__init__.py", "__pycache__") and (path.is_file() or _holds_sources(path))
    } - named
    assert not missing
    assert not [name for name in named if not (ROOT / name).exists()]
