"""Validates objects against the schemas of Kubernetes, and of KubeRay with its CEL rules. Unknown fields are violations."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import cel
import jsonschema
import kubernetes_validate
import yaml

from tests.k8s.pods import name_of, pods_of
from tests.k8s.rendering import CRDS, Document

KUBERNETES = "1.37"
FILES = {
    "RayCluster": "ray.io_rayclusters.yaml",
    "RayJob": "ray.io_rayjobs.yaml",
    "RayCronJob": "ray.io_raycronjobs.yaml",
}
WITHOUT_SCHEMA = {
    "ClusterQueue": "kueue.x-k8s.io/v1beta2",
    "LocalQueue": "kueue.x-k8s.io/v1beta2",
    "ResourceFlavor": "kueue.x-k8s.io/v1beta2",
    "PodMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
}
"""Kinds without a schema here, with their API versions: only their names and references are checked."""


def schema_findings(documents: list[Document]) -> Iterator[str]:
    """Validate Kubernetes' own kinds, and the pods inside all kinds: an API server refuses or silently drops what is found."""
    for document in documents:
        kind, version = document.get("kind", ""), document.get("apiVersion", "")
        if kind in WITHOUT_SCHEMA and version != WITHOUT_SCHEMA[kind]:
            yield f"{name_of(document)}: apiVersion {version}, expected {WITHOUT_SCHEMA[kind]}"
        elif kind not in FILES and kind not in WITHOUT_SCHEMA:
            yield from _known(document, name_of(document))
    for pod in pods_of(documents):
        whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "labels": pod.labels}, "spec": pod.spec}
        yield from _known(whole, pod.where)


def kuberay_findings(documents: list[Document]) -> Iterator[str]:
    """Validate KubeRay's kinds, for which its CRDs are needed."""
    for document in documents:
        if document.get("kind") in FILES:
            yield from _custom(document, document["kind"], document.get("apiVersion", ""))


def _known(document: Document, where: str) -> Iterator[str]:
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{where}: {'.'.join(map(str, error.path))}: {error.message[:200]}"
    except kubernetes_validate.SchemaNotFoundError:
        yield f"{where}: Kubernetes {KUBERNETES} has no {document.get('apiVersion')} {document.get('kind')}"


def _custom(document: Document, kind: str, version: str) -> Iterator[str]:
    group, _, wanted = version.partition("/")
    schema = _schema(kind, wanted)
    if group != "ray.io" or schema is None:
        yield f"{name_of(document)}: KubeRay has no {version} {kind}"
        return
    for error in jsonschema.Draft202012Validator(schema).iter_errors(document):
        yield f"{name_of(document)}: {'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"
    yield from (f"{name_of(document)}: {text}" for text in _rules(schema, document, ""))


def _rules(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    """Evaluate the CEL rules of a schema; rules that compare with an old value are skipped, since there is none."""
    for rule in schema.get("x-kubernetes-validations", []):
        if "oldSelf" not in rule["rule"] and cel.evaluate(rule["rule"], {"self": value}) is not True:
            yield f"{path}: {rule.get('message', rule['rule'])}"
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in schema.get("properties", {}):
                yield from _rules(schema["properties"][key], inner, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list) and "items" in schema:
        for number, inner in enumerate(value):
            yield from _rules(schema["items"], inner, f"{path}[{number}]")


@functools.cache
def _schema(kind: str, version: str) -> dict[str, Any] | None:
    definition = yaml.load((CRDS / FILES[kind]).read_text(), Loader=yaml.CSafeLoader)
    for candidate in definition["spec"]["versions"]:
        if candidate["name"] == version:
            schema: dict[str, Any] = _strict(candidate["schema"]["openAPIV3Schema"])
            return schema
    return None


def _strict(schema: Any) -> Any:
    """Forbid fields that a schema does not name; an API server would drop them silently."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(part) if key != "enum" else part for key, part in schema.items()}
    named, loose = made.get("properties"), made.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(named, dict) and made.get("type") == "object" and "additionalProperties" not in made and not loose:
        made["additionalProperties"] = False
    return made
