"""What is uploaded: the tree, without keys and data, and not too much of it."""

import subprocess
import zipfile
from pathlib import Path

import pytest

from unbraid.cluster.commands.submit import requirements
from unbraid.cluster.jobs.tree import TreeError, files_of, source_folder, zip_tree


@pytest.fixture(params=["git", "plain"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "package").mkdir(parents=True)
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


def test_keys_and_data_stay_here_even_when_they_are_tracked(tree: Path) -> None:
    names = {str(name) for name in files_of(tree)}
    assert names - {".gitignore"} == {"package/code.py", "pyproject.toml"}


def test_the_same_tree_gives_the_same_zip(tree: Path, tmp_path: Path) -> None:
    first = zip_tree(tree, tmp_path / "1.zip")
    (tree / "package/code.py").touch()
    assert zip_tree(tree, tmp_path / "2.zip") == first
    assert "package/code.py" in zipfile.ZipFile(tmp_path / "1.zip").namelist()
    (tree / "package/code.py").write_text("other")
    assert zip_tree(tree, tmp_path / "3.zip") != first


def test_a_tree_that_is_too_large_names_its_largest_files(tree: Path, tmp_path: Path) -> None:
    (tree / "package/huge.py").write_bytes(b"#" * 2_000_000)
    with pytest.raises(TreeError, match=r"2 MB of files, at most 1 MB are uploaded(?s:.*)package/huge\.py"):
        zip_tree(tree, tmp_path / "x.zip", limit_mb=1)
    assert not (tmp_path / "x.zip").exists()


def test_what_is_installed_on_a_cluster_is_pinned_and_not_its_ray() -> None:
    packages = requirements(source_folder())["packages"]
    assert len(packages) > 10
    assert all("==" in package for package in packages)
    assert not any(package.startswith("ray") for package in packages)


def test_a_folder_that_is_linked_is_uploaded_under_both_names(tree: Path, tmp_path: Path) -> None:
    """As unbraid/models is: Ray unpacks a zip without its links."""
    (tree / "linked").symlink_to("package")
    (tree / "outside").symlink_to(tmp_path)
    zip_tree(tree, tmp_path / "x.zip")
    names = zipfile.ZipFile(tmp_path / "x.zip").namelist()
    assert {"package/code.py", "linked/code.py"} <= set(names)
    assert not any(name.startswith("outside") for name in names)


def test_further_files_are_in_the_zip_and_in_its_digest(tree: Path, tmp_path: Path) -> None:
    preset = tmp_path / "mine.yaml"
    preset.write_text("a: 1")
    further = {Path("own/mine.yaml"): preset}
    digest = zip_tree(tree, tmp_path / "1.zip", further=further)
    assert zipfile.ZipFile(tmp_path / "1.zip").read("own/mine.yaml") == b"a: 1"
    preset.write_text("a: 2")
    assert zip_tree(tree, tmp_path / "2.zip", further=further) != digest
