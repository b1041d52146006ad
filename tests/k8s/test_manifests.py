"""Every overlay and job: rendered by kubectl, held against schemas and rules; the checks themselves against broken copies."""

import copy
import subprocess

import pytest

from cluster.manifest import render
from tests.k8s.mutations import MUTATIONS, Mutation
from tests.k8s.policies import RULES, Scene, findings
from tests.k8s.rendering import FOLDERS, K8S, ROOT, around, documents, needs_crds, needs_kubectl
from trainers.config import preset_names

pytestmark = needs_kubectl


@needs_crds
@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_is_wrong_with(folder: str) -> None:
    assert findings(Scene(documents(folder), around(folder))) == []


@needs_crds
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_what_is_broken_is_found(mutation: Mutation) -> None:
    broken = copy.deepcopy(documents(mutation.folder))
    mutation.apply(broken)
    assert findings(Scene(broken, around(mutation.folder)), only=mutation.finder)


def test_every_rule_is_broken_by_a_mutation() -> None:
    assert {rule.__name__ for rule in RULES} | {"schema"} == {mutation.finder for mutation in MUTATIONS}
    assert len(MUTATIONS) >= 30


@pytest.mark.parametrize("folder", FOLDERS)
def test_two_renders_are_the_same(folder: str) -> None:
    assert render(K8S / folder) == documents(folder)


def test_every_preset_is_in_the_map() -> None:
    (presets,) = (d for d in documents("overlays/gpu") if d["metadata"]["name"] == "unbraid-presets")
    assert set(presets["data"]) == {f"{name}.yaml" for name in preset_names()}


def test_a_job_applies_nothing_but_itself() -> None:
    for folder in FOLDERS:
        if folder.startswith("jobs/"):
            assert [d["kind"] for d in documents(folder)] in (["RayJob"], ["RayCronJob"]), folder


def test_every_field_that_an_operator_touches_has_a_remark() -> None:
    """A user's fields are those that the overlays' own READMEs and remarks speak of: each file says at its head what it is."""
    for path in [*K8S.rglob("*.yaml"), ROOT / "trainers/presets/Kustomization"]:
        first = path.read_text().splitlines()[0]
        assert first.startswith(("#", "apiVersion", "- op")), path
    for path in [*K8S.rglob("kustomization.yaml")]:
        assert path.read_text().startswith("# "), path


def test_the_dockerfile_passes_its_linter() -> None:
    done = subprocess.run(["hadolint", K8S / "image" / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
