"""Renders the folders of ``k8s/``: the objects that ``kubectl apply -k`` would apply for an overlay or a job."""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from unbraid.cluster.jobs.rayjob import render

ROOT = Path(__file__).parent.parent.parent
K8S = ROOT / "k8s"
CRDS = Path(os.environ.get("UNBRAID_KUBERAY_CRDS", ROOT.parent / "shared" / "kuberay-crds"))
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
JOBS = sorted(str(path.parent.relative_to(K8S)) for path in (K8S / "jobs").glob("*/*/kustomization.yaml"))
FOLDERS = [*(f"overlays/{name}" for name in OVERLAYS), *JOBS]

Document = dict[str, Any]

needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl is not on PATH: `make setup` installs it into .venv"
)
needs_crds = pytest.mark.skipif(
    not CRDS.is_dir(), reason=f"KubeRay's CRDs are not in {CRDS}: set UNBRAID_KUBERAY_CRDS to the folder that has them"
)


@functools.cache
def _rendered(folder: str) -> str:
    return yaml.safe_dump_all(render(K8S / folder), sort_keys=False)


def documents(folder: str) -> list[Document]:
    """Render a folder of ``k8s/``; each call returns a new copy of the objects."""
    return list(yaml.safe_load_all(_rendered(folder)))


def existing(folder: str) -> list[Document]:
    """The objects that exist before a folder is applied: for a job those of its overlay, else none."""
    parts = folder.split("/")
    return documents(f"overlays/{parts[1]}") if parts[0] == "jobs" else []
