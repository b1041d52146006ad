"""All checks of rendered objects: schemas, and the rules of the modules that are named here."""

from __future__ import annotations

from tests.k8s import object_rules, pod_rules, ray_rules
from tests.k8s.scene import RULES, Scene
from tests.k8s.schemas import schema_findings

__all__ = ["RULES", "Scene", "findings", "object_rules", "pod_rules", "ray_rules"]


def findings(scene: Scene, only: str | None = None) -> list[str]:
    """What breaks a schema or a rule, each with the rule's name before it, or "schema".

    Args:
        only: the one that is asked; what breaks it may be more than another bears.
    """
    checks = {"schema": lambda scene: schema_findings(scene.documents)} | {rule.__name__: rule for rule in RULES}
    wanted = checks if only is None else {only: checks[only]}
    return [f"{name}: {text}" for name, check in wanted.items() for text in check(scene)]
