"""What `pip install unbraid` puts into an environment: everything under one name, and nothing in anybody's way."""

import configparser
import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import unbraid
from tests.k8s.image import needed
from tests.trainers.systems.infogan.test_system import TINY

ROOT = Path(__file__).parent.parent
FOLDERS = ("models", "datasets", "trainers", "cluster")
LINES = "import sys, time; before = set(sys.modules); started = time.perf_counter(); import unbraid; " \
    "print(time.perf_counter() - started, *sorted(set(sys.modules) - before))"  # fmt: skip
USE_BOTH = """
import datasets, transformers
import unbraid.datasets
from transformers.utils import is_datasets_available
assert is_datasets_available()
assert len(datasets.Dataset.from_dict({"label": [1, 2, 3]})) == 3
from unbraid.datasets.store import open_store
print(datasets.__file__, unbraid.datasets.__file__, open_store.__module__)
"""


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what an installation reads, with what a checkout may have beside it: caches, tests, runs."""
    tree = tmp_path_factory.mktemp("source") / "unbraid"
    tree.mkdir()
    for name in needed(ROOT):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree / name)
    for name in ("MANIFEST.in", "pyproject.toml"):
        shutil.copy(ROOT / name, tree / name)
    for stray in (
        "trainers/__pycache__/loop.cpython-311.pyc",
        "tests/test_x.py",
        "tests/k8s/x.py",
        "benchmarks/x.py",
        "runs/x.py",
    ):
        (tree / stray).parent.mkdir(parents=True, exist_ok=True)
        (tree / stray).write_text("")
    return tree


@pytest.fixture(scope="session")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def source_distribution(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of this tree."""
    return build("sdist", source, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="session")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the wheel puts into site-packages."""
    folder = tmp_path_factory.mktemp("site")
    shutil.unpack_archive(wheel, folder, "zip")
    return folder


def build(kind: str, source: Path, folder: Path) -> Path:
    """Build a "wheel" or an "sdist" with the setuptools that is installed here, which needs no network."""
    script = f"from setuptools import build_meta; build_meta.build_{kind}({str(folder)!r})"
    done = subprocess.run([sys.executable, "-c", script], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = folder.iterdir()
    return file


def contents(wheel: Path) -> dict[str, bytes]:
    """A wheel's files but for the metadata about it."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.split("/")[0].endswith(".dist-info")}


def run(site: Path, *arguments: str) -> str:
    """What Python prints in an empty folder, with this installation before all others."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=site.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_wheel_holds_the_code_and_its_presets_under_one_name_and_nothing_else(wheel: Path) -> None:
    code = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    settings = [*(ROOT / "trainers/presets").glob("*.yaml"), *(ROOT / "trainers/campaigns").glob("*.yaml")]
    page = [path for path in (ROOT / "trainers/use/page").iterdir() if path.suffix in (".css", ".js")]
    expected = {f"unbraid/{path.relative_to(ROOT)}": path.read_bytes() for path in [*code, *settings, *page]}
    own = {f"unbraid/{name}.py": (ROOT / f"unbraid/{name}.py").read_bytes() for name in ("__init__", "api")}
    assert contents(wheel) == expected | own


def test_a_wheel_built_from_the_source_distribution_is_the_same(wheel: Path, source_distribution: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(source_distribution, tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    (tmp_path / "wheel").mkdir()
    assert contents(build("wheel", source, tmp_path / "wheel")) == contents(wheel)


def test_the_source_distribution_holds_only_what_an_installation_reads(source_distribution: Path) -> None:
    with tarfile.open(source_distribution) as archive:
        names = [Path(*Path(name).parts[1:]) for name in archive.getnames()]
    top = {name.parts[0] for name in names if name.parts}
    assert top == {
        "unbraid",
        "unbraid.egg-info",
        "pyproject.toml",
        "setup.cfg",
        "PKG-INFO",
        "README.md",
        "LICENSE",
        "MANIFEST.in",
    }
    assert not [name for name in names if "__pycache__" in name.parts]


def test_the_command_is_the_command_line_and_runs_without_a_checkout(wheel: Path, site: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (points,) = (name for name in archive.namelist() if name.endswith("/entry_points.txt"))
        parser = configparser.ConfigParser()
        parser.read_string(archive.read(points).decode())
    assert dict(parser["console_scripts"]) == {"unbraid": "unbraid.cluster.cli:main"}
    assert "infogan-mnist-reference" in run(site, "-m", "unbraid.cluster.cli", "presets")


def test_an_image_installs_the_dependencies_before_the_source_is_there(tmp_path: Path) -> None:
    """The Dockerfile's first `pip install .` sees no package, and must not fail."""
    for name in needed(ROOT):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "out").mkdir()
    assert contents(build("wheel", tmp_path, tmp_path / "out")) == {}


def test_importing_the_package_is_quick_and_imports_nothing_else(site: Path) -> None:
    seconds, *modules = min((run(site, "-c", LINES).split() for _ in range(3)), key=lambda words: float(words[0]))
    assert modules == ["unbraid"]
    assert float(seconds) < 0.05


def test_the_version_is_the_distributions(site: Path) -> None:
    assert unbraid.__version__ == version("unbraid")
    assert run(site, "-c", "import unbraid; print(unbraid.__version__)").strip() == version("unbraid")
    with pytest.raises(AttributeError, match="module 'unbraid' has no attribute 'model'"):
        unbraid.model  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_hugging_faces_datasets_and_ours_are_used_in_one_environment(wheel: Path, digits_folder: Path, tmp_path: Path) -> None:
    """Packages of this environment serve the new one too, so that torch and Ray need not be installed again."""
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    (here,) = {path for path in sys.path if path.endswith("site-packages")}
    (there,) = (folder / "lib").glob("python*/site-packages")
    (there / "shared.pth").write_text(f"{here}\n")
    pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--ignore-installed", "--no-deps", "--no-index", wheel], check=True)
    done = subprocess.run([*pip, "datasets", "transformers"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"datasets and transformers could not be installed: {done.stderr[-300:]}")

    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    used = subprocess.run([python, "-c", USE_BOTH], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert used.returncode == 0, used.stderr
    theirs, ours, module = used.stdout.split()
    assert Path(theirs).parent == there / "datasets"
    assert Path(ours).parent == there / "unbraid" / "datasets"
    assert module.startswith("unbraid.datasets.")

    settings = [*TINY, f"data.url={digits_folder}", f"run.storage={tmp_path}/runs", "run.name=installed", "run.updates=2"]
    trained = subprocess.run(
        [folder / "bin" / "unbraid", "train", "infogan-mnist", *settings, "--debug"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    assert json.loads((tmp_path / "runs/installed/run.json").read_text())["status"] == "finished"
