"""The image: its Dockerfile passes a linter, and copies all that an installation of this tree needs."""

import subprocess
from pathlib import Path

import pytest

from tests.k8s.image import image_findings, needed
from tests.k8s.rendering import K8S, ROOT

DOCKERFILE = K8S / "image" / "Dockerfile"
IGNORE = K8S / "image" / "Dockerfile.dockerignore"


def findings(dockerfile: str, ignore: str) -> list[str]:
    return list(image_findings(ROOT, dockerfile, ignore))


def without_line(path: Path, line: str) -> str:
    lines = path.read_text().splitlines()
    lines.remove(line)
    return "\n".join(lines)


def test_the_dockerfile_passes_its_linter() -> None:
    done = subprocess.run(["hadolint", DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_has_all_that_an_installation_needs() -> None:
    assert findings(DOCKERFILE.read_text(), IGNORE.read_text()) == []


def test_what_the_package_links_to_is_needed() -> None:
    assert {"unbraid", "models", "datasets", "trainers", "cluster", "pyproject.toml", "LICENSE"} <= set(needed(ROOT))


@pytest.mark.parametrize("folder", ["unbraid", "models", "datasets", "trainers", "cluster"])
def test_a_folder_that_the_dockerfile_forgets_is_found(folder: str) -> None:
    broken = without_line(DOCKERFILE, f"COPY --chown=ray:users {folder} {folder}")
    assert findings(broken, IGNORE.read_text()) == [
        f"{folder}: is not copied to the same place in the image; add `COPY {folder} {folder}` to the Dockerfile"
    ]


def test_a_folder_that_is_copied_elsewhere_is_found() -> None:
    """Links in unbraid/ are relative: they would point to nothing."""
    broken = DOCKERFILE.read_text().replace("ray:users models models", "ray:users models unbraid/models")
    assert [text.partition(":")[0] for text in findings(broken, IGNORE.read_text())] == ["models"]


def test_a_folder_whose_content_is_copied_beside_the_others_is_found() -> None:
    """`COPY models datasets ./` copies what is in the folders, not the folders."""
    broken = DOCKERFILE.read_text().replace("ray:users models models", "ray:users models ./")
    assert [text.partition(":")[0] for text in findings(broken, IGNORE.read_text())] == ["models"]


@pytest.mark.parametrize("name", ["unbraid", "models", "datasets", "trainers", "cluster", "pyproject.toml"])
def test_what_is_not_sent_to_the_builder_is_found(name: str) -> None:
    broken = without_line(IGNORE, f"!{name}")
    assert findings(DOCKERFILE.read_text(), broken) == [f"{name}: is not sent to the builder; add !{name} to the .dockerignore"]


def test_a_builder_that_is_sent_everything_is_found() -> None:
    (text,) = findings(DOCKERFILE.read_text(), without_line(IGNORE, "*"))
    assert "keys and data would be sent" in text
