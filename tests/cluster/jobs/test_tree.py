"""What is uploaded: the tree, without keys and data, and not too much of it."""

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

import unbraid
from unbraid.cluster.commands.job_request import job_request
from unbraid.cluster.jobs.key_files import matches, may_hold_keys
from unbraid.cluster.jobs.listing import DATA, TreeError, list_tree
from unbraid.cluster.jobs.rayjob import manifests_folder
from unbraid.cluster.jobs.server import JobError
from unbraid.cluster.jobs.tree import checkout, requirements, upload_files, zip_tree, zipped_tree
from unbraid.trainers.config.presets import FOLDER_VARIABLE
from unbraid.trainers.errors import ConfigError

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=["git", "plain"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "package").mkdir(parents=True)
    (folder / "unbraid").mkdir()
    (folder / "unbraid/__init__.py").touch()
    for name in ("package/code.py", ".env", ".env.local", "server.pem", "id_rsa", "digits.tar", "weights.pt", "pyproject.toml"):
        (folder / name).write_text(name)
    if request.param == "git":
        (folder / ".gitignore").write_text("ignored/\n")
        (folder / "ignored").mkdir()
        (folder / "ignored/large.py").write_text("x")
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        subprocess.run(["git", "add", "-A", "-f"], cwd=folder, check=True)  # keys that were added by mistake
        subprocess.run(["git", "rm", "-q", "--cached", "ignored/large.py"], cwd=folder, check=True)
    return folder


def packed(tree: Path | None, target: Path, limit_mb: float = 50) -> str:
    """Zip what a job would get of a tree; the zip's digest."""
    return zip_tree(upload_files(tree).taken, target, tree or target, limit_mb)


def test_keys_and_data_stay_here_even_when_they_are_tracked(tree: Path) -> None:
    names = {str(name) for name in list_tree(tree).taken}
    assert names - {".gitignore"} == {"package/code.py", "pyproject.toml", "unbraid/__init__.py"}


def test_no_file_of_this_project_is_taken_for_keys_or_data() -> None:
    """A module that stays here fails every job."""
    folders = ("models", "datasets", "trainers", "cluster", "k8s", "docs", "tests", "benchmarks")
    names = [path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    assert len(names) > 500
    assert [name for name in names if may_hold_keys(name) or matches(name, DATA)] == []


def test_the_same_tree_gives_the_same_zip(tree: Path, tmp_path: Path) -> None:
    first = packed(tree, tmp_path / "1.zip")
    (tree / "package/code.py").touch()
    assert packed(tree, tmp_path / "2.zip") == first
    assert "package/code.py" in zipfile.ZipFile(tmp_path / "1.zip").namelist()
    (tree / "package/code.py").write_text("other")
    assert packed(tree, tmp_path / "3.zip") != first


def test_a_tree_that_is_too_large_names_its_largest_files(tree: Path, tmp_path: Path) -> None:
    (tree / "package/huge.py").write_bytes(b"#" * 2_000_000)
    with pytest.raises(TreeError, match=r"2 MB of files, at most 1 MB are uploaded(?s:.*)package/huge\.py"):
        packed(tree, tmp_path / "x.zip", limit_mb=1)
    assert not (tmp_path / "x.zip").exists()


def test_what_is_installed_on_a_cluster_is_pinned_and_not_its_ray() -> None:
    packages = requirements(checkout())["packages"]
    assert len(packages) > 10
    assert all("==" in package for package in packages)
    assert not any(package.startswith("ray") for package in packages)


def test_a_folder_that_is_linked_is_uploaded_under_both_names(tree: Path, tmp_path: Path) -> None:
    """As unbraid/models is: Ray unpacks a zip without its links."""
    (tree / "linked").symlink_to("package")
    (tree / "outside").symlink_to(tmp_path)
    packed(tree, tmp_path / "x.zip")
    names = zipfile.ZipFile(tmp_path / "x.zip").namelist()
    assert {"package/code.py", "linked/code.py"} <= set(names)
    assert not any(name.startswith("outside") for name in names)


def test_code_that_the_package_links_to_is_uploaded_under_the_package_only(tree: Path) -> None:
    """A job has the top of the tree on its path, where a package ``datasets`` would hide Hugging Face's."""
    (tree / "datasets").mkdir()
    (tree / "datasets/__init__.py").touch()
    (tree / "datasets/digits.yaml").touch()
    (tree / "unbraid/datasets").symlink_to("../datasets")
    names = {name.as_posix() for name in upload_files(tree).taken}
    assert {"unbraid/datasets/__init__.py", "unbraid/datasets/digits.yaml", "datasets/digits.yaml", "package/code.py"} <= names
    assert "datasets/__init__.py" not in names


def test_presets_of_ones_own_are_in_the_zip_and_in_its_digest(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "presets"
    folder.mkdir()
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    digests = set()
    for content in ("extends: infogan-mnist\n", "extends: infogan-mnist-small\n"):
        (folder / "mine.yaml").write_text(content)
        with zipped_tree(tree) as (environment, digest):
            assert zipfile.ZipFile(environment["working_dir"]).read("own-presets/mine.yaml") == content.encode()
            assert environment["env_vars"] == {FOLDER_VARIABLE: "own-presets"}
        digests.add(digest)
    assert len(digests) == 2


@pytest.fixture
def site_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages with ``unbraid``, as from a wheel, whose code is taken for the one that runs."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    shutil.copytree(ROOT / "unbraid", folder / "unbraid", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "torch").mkdir()
    (folder / "torch/__init__.py").touch()
    monkeypatch.setattr(unbraid, "__file__", str(folder / "unbraid/__init__.py"))
    return folder


def test_an_installation_from_a_wheel_uploads_its_package_and_nothing_else(
    site_packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the packages beside it nor the current folder, which may be a home."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "letter.txt").write_text("private")
    assert checkout() is None
    names = {name.as_posix() for name in upload_files(checkout()).taken}
    assert {"unbraid/__init__.py", "unbraid/cluster/cli.py", "unbraid/trainers/presets/infogan-mnist.yaml"} <= names
    assert all(name.startswith("unbraid/") and "__pycache__" not in name for name in names)
    packed(checkout(), tmp_path / "x.zip")
    assert set(zipfile.ZipFile(tmp_path / "x.zip").namelist()) == names


@pytest.mark.usefixtures("site_packages")
def test_what_needs_a_checkout_names_working_dir(tmp_path: Path) -> None:
    with pytest.raises(TreeError, match=r"--install: unbraid is installed without its checkout; name one with --working-dir"):
        requirements(checkout())
    with pytest.raises(JobError, match=r"the installed package: has no k8s/overlays; run this from a checkout"):
        manifests_folder(checkout())
    (tmp_path / "config.yaml").write_text("system: infogan\n")
    command = ["train", "--config", str(tmp_path / "config.yaml")]
    with pytest.raises(ConfigError, match=r"config\.yaml: is not uploaded(?s:.*)name that with --working-dir"):
        job_request(command, checkout(), same_machine=True, uploaded=True)


def test_a_tree_without_the_package_gets_the_one_that_runs(tree: Path) -> None:
    assert Path("unbraid/cluster/cli.py") not in upload_files(tree).taken
    (tree / "unbraid/__init__.py").unlink()
    files = upload_files(tree).taken
    assert files[Path("package/code.py")] == tree / "package/code.py"
    assert files[Path("unbraid/cluster/cli.py")].read_text() == (ROOT / "cluster/cli.py").read_text()


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TreeError, match="holds no files to upload"):
        upload_files(tmp_path / "nowhere")
