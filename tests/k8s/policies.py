"""All checks of rendered objects: schemas, and the rules of the modules that are named here."""

from __future__ import annotations

from tests.k8s import object_rules, pod_rules, ray_rules
from tests.k8s.rendering import CRDS
from tests.k8s.scene import RULES, Rule, Scene
from tests.k8s.schemas import kuberay_findings, schema_findings

__all__ = ["CHECKS", "KUBERAY", "Scene", "findings", "object_rules", "pod_rules", "ray_rules"]


KUBERAY = "kuberay_schema"
CHECKS: dict[str, Rule] = {
    "schema": lambda scene: schema_findings(scene.documents),
    KUBERAY: lambda scene: kuberay_findings(scene.documents),
    **{rule.__name__: rule for rule in RULES},
}


def findings(scene: Scene, only: str | None = None) -> list[str]:
    """What breaks a schema or a rule, each with the check's name before it.

    Args:
        only: the one that is asked; what breaks it may be more than another bears. Without it all are, but for KubeRay's
            schemas where its CRDs are not at hand.
    """
    wanted = CHECKS if only is None else {only: CHECKS[only]}
    if only is None and not CRDS.is_dir():
        wanted = {name: check for name, check in CHECKS.items() if name != KUBERAY}
    return [f"{name}: {text}" for name, check in wanted.items() for text in check(scene)]
