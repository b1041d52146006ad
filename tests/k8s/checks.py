"""All checks of rendered objects: the schemas, and the rules of the modules that are imported here."""

from __future__ import annotations

from tests.k8s import object_rules, pod_rules, ray_rules, security_rules
from tests.k8s.rendering import CRDS
from tests.k8s.rules import RULES, Objects, Rule
from tests.k8s.schemas import kuberay_findings, schema_findings

__all__ = ["CHECKS", "KUBERAY", "Objects", "findings", "object_rules", "pod_rules", "ray_rules", "security_rules"]


KUBERAY = "kuberay_schema"
CHECKS: dict[str, Rule] = {
    "schema": lambda objects: schema_findings(objects.applied),
    KUBERAY: lambda objects: kuberay_findings(objects.applied),
    **{rule.__name__: rule for rule in RULES},
}


def findings(objects: Objects, only: str | None = None) -> list[str]:
    """Run checks and collect the violations, each with the name of its check in front.

    Args:
        only: the check to run. Without it all are run, except for KubeRay's schemas where its CRDs are missing. A broken object
            may violate one check in such a way that another would raise an exception.
    """
    wanted = CHECKS if only is None else {only: CHECKS[only]}
    if only is None and not CRDS.is_dir():
        wanted = {name: check for name, check in CHECKS.items() if name != KUBERAY}
    return [f"{name}: {text}" for name, check in wanted.items() for text in check(objects)]
