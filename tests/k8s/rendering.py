"""What ``kubectl apply -k`` would apply, of every overlay and every job."""

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
    shutil.which("kubectl") is None, reason="kubectl is not on PATH: `make setup` puts it into .venv"
)
needs_crds = pytest.mark.skipif(
    not CRDS.is_dir(), reason=f"KubeRay's CRDs are not in {CRDS}; UNBRAID_KUBERAY_CRDS names the folder that has them"
)


@functools.cache
def _rendered(folder: str) -> str:
    return yaml.safe_dump_all(render(K8S / folder), sort_keys=False)


def documents(folder: str) -> list[Document]:
    """A fresh copy of what a folder of ``k8s/`` renders to."""
    return list(yaml.safe_load_all(_rendered(folder)))


def around(folder: str) -> list[Document]:
    """What is there already when a folder is applied: a job's overlay."""
    parts = folder.split("/")
    return documents(f"overlays/{parts[1]}") if parts[0] == "jobs" else []
