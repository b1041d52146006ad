"""What job servers say of jobs that anybody may have submitted, read as bounded values; a malformed job says so."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from unbraid.cluster.jobs.server import Job
from unbraid.datasets.errors import DataError
from unbraid.datasets.untrusted.documents import LARGEST_JSON, check_document, parse_json

PREFIX = "unbraid.io/"
"""Of this project's labels and annotations on Kubernetes."""
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_TOKEN = re.compile(_STRING + rb"|[\[\]{}]", re.DOTALL)
_NAMED = re.compile(rb'"submission_id":\s*(' + _STRING + rb")", re.DOTALL)
LONGEST_MESSAGE = 50_000
"""Characters of a server's message that are kept: the last ones, with the job's error."""
LONGEST_ID = 200
Status = Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "STOPPED"]


def _run_is_named(metadata: dict[str, str]) -> dict[str, str]:
    if "run" in metadata and not (RUN_NAME.fullmatch(metadata["run"]) and metadata.get("storage")):
        raise ValueError("names a run by what is no run's name, or without its storage")
    return metadata


Line = Annotated[str, StringConstraints(max_length=2_000, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
"""Of text without control characters."""
Metadata = Annotated[
    dict[Annotated[str, StringConstraints(max_length=100)], Line], Field(max_length=50), AfterValidator(_run_is_named)
]
Command = Annotated[str, StringConstraints(max_length=200_000)]
Message = Annotated[str, BeforeValidator(lambda text: text[-LONGEST_MESSAGE:] if isinstance(text, str) else text)]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$", max_length=LONGEST_ID)]
Milliseconds = Annotated[int, Field(ge=0, lt=10**14)]


class _RayJob(BaseModel):
    """A job of a Ray cluster's job server."""

    submission_id: Identifier
    status: Status
    entrypoint: Command
    message: Message | None = None
    metadata: Metadata | None = None
    start_time: Milliseconds | None = None
    end_time: Milliseconds | None = None
    driver_exit_code: Annotated[int, Field(ge=-(2**31), lt=2**31)] | None = None
    runtime_env: dict[str, Any] | None = None


class _Resource(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class _ObjectMetadata(_Resource):
    name: Identifier
    annotations: dict[str, str] | None = None
    creation_timestamp: datetime | None = None


class _Container(_Resource):
    image: Line = ""


class _PodSpec(_Resource):
    containers: Annotated[tuple[_Container, ...], Field(max_length=50)]
    init_containers: Annotated[tuple[_Container, ...], Field(max_length=50)] = ()


class _PodTemplate(_Resource):
    spec: _PodSpec


class _Group(_Resource):
    template: _PodTemplate


class _Cluster(_Resource):
    head_group_spec: _Group
    worker_group_specs: Annotated[tuple[_Group, ...], Field(max_length=100)] = ()


class _RayJobSpec(_Resource):
    entrypoint: Command = ""
    suspend: bool = False
    backoff_limit: Annotated[int, Field(ge=0, lt=10**6)] = 0
    ray_cluster_spec: _Cluster | None = None
    runtime_env_yaml: Annotated[str, StringConstraints(max_length=100_000)] = Field("", alias="runtimeEnvYAML")


class _RayJobStatus(_Resource):
    job_deployment_status: Line = ""
    job_status: Status | Literal[""] = ""
    reason: Line = ""
    message: Message = ""
    failed: Annotated[int, Field(ge=0, lt=10**6)] = 0
    start_time: datetime | None = None
    end_time: datetime | None = None


class _RayJobResource(_Resource):
    """A RayJob of KubeRay, as far as it is shown and compared."""

    metadata: _ObjectMetadata
    spec: _RayJobSpec
    status: _RayJobStatus = _RayJobStatus()


def ray_jobs(answer: bytes) -> list[Job]:
    """Convert a Ray cluster's list of jobs, each by itself, so that none spoils it; drivers without a job are left out."""
    found = []
    for record in _elements(answer):
        try:
            parsed = parse_json(record, dict[str, Any], "its record", LARGEST_JSON)
        except DataError as error:
            named = _NAMED.search(record)
            found.append(_malformed(named[1].decode(errors="replace").strip('"') if named else "?", None, error))
            continue
        if parsed.get("submission_id"):
            found.append(ray_job(parsed))
    return found


def ray_job(record: Mapping[str, Any]) -> Job:
    """Convert what a Ray cluster says of one job."""
    try:
        read = check_document(record, _RayJob, "its record")
    except DataError as error:
        return _malformed(record.get("submission_id"), record.get("status"), error)
    return Job(
        id=read.submission_id,
        status=read.status,
        message=read.message or "",
        entrypoint=read.entrypoint,
        metadata=read.metadata or {},
        started=(read.start_time or 0) / 1000,
        ended=(read.end_time or 0) / 1000,
        exit_code=read.driver_exit_code,
        package=str((read.runtime_env or {}).get("working_dir") or ""),
    )


def kubernetes_job(resource: Mapping[str, Any]) -> Job:
    """Convert a RayJob to a job: the status is KubeRay's where the RayJob has ended, and the Ray job's while it runs."""
    try:
        read = check_document(resource, _RayJobResource, "its RayJob")
        metadata = check_document(metadata_of(read.metadata.annotations or {}), Metadata, "its annotations")
    except DataError as error:
        named = resource.get("metadata")
        return _malformed(named.get("name") if isinstance(named, Mapping) else None, None, error)
    status = read.status
    state = _state(status)
    words = [status.reason, status.message]
    if state == "PENDING" and not any(words):
        words = [status.job_deployment_status or ("waits for its queue" if read.spec.suspend else "waits for KubeRay")]
    if status.failed and state == "PENDING":
        words.append(f"(attempt {status.failed + 1} of {read.spec.backoff_limit + 1})")
    started = status.start_time or read.metadata.creation_timestamp
    return Job(
        id=read.metadata.name,
        status=state,
        message=": ".join(word for word in words if word),
        entrypoint=read.spec.entrypoint,
        metadata=metadata,
        started=started.timestamp() if started else 0.0,
        ended=status.end_time.timestamp() if status.end_time else 0.0,
        exit_code=None,
        package=_package(read.spec),
    )


def metadata_of(annotations: Mapping[str, str]) -> dict[str, str]:
    """Convert annotations to the metadata of a job."""
    return {key.removeprefix(PREFIX).replace("-", "_"): value for key, value in annotations.items() if key.startswith(PREFIX)}


def annotations_of(metadata: Mapping[str, str]) -> dict[str, str]:
    """Convert the metadata of a job to annotations."""
    return {PREFIX + key.replace("_", "-"): value for key, value in metadata.items()}


def _state(status: _RayJobStatus) -> str:
    if status.job_deployment_status == "Failed":
        return "FAILED"
    if status.job_deployment_status == "Complete":
        return status.job_status or "SUCCEEDED"
    if status.job_deployment_status == "Running" and status.job_status:
        return status.job_status
    return "PENDING"


def _package(spec: _RayJobSpec) -> str:
    """Describe the code that a RayJob runs: the images of its pods, and its runtime environment."""
    groups = [spec.ray_cluster_spec.head_group_spec, *spec.ray_cluster_spec.worker_group_specs] if spec.ray_cluster_spec else []
    pods = [group.template.spec for group in groups]
    images = {container.image for pod in pods for container in (*pod.init_containers, *pod.containers)}
    return "; ".join([", ".join(sorted(images)), spec.runtime_env_yaml])


def _elements(array: bytes) -> Iterator[bytes]:
    """Split a JSON array into the texts of the objects in it, however deep these are nested."""
    depth = start = 0
    for token in _TOKEN.finditer(array):
        if token[0] in b"[{":
            depth += 1
            if depth == 2:
                start = token.start()
        elif token[0] in b"]}":
            depth -= 1
            if depth == 1:
                yield array[start : token.end()]


def _malformed(identifier: object, status: object, error: DataError) -> Job:
    """Make a job of one whose record cannot be read, so that a list still shows it."""
    name = ascii(" ".join(str(identifier).split()))[1:-1][:LONGEST_ID] or "?"  # no job's name has other characters
    shown = status if isinstance(status, str) and status in get_args(Status) else "UNKNOWN"
    return Job(name, shown, "", "", {}, 0.0, 0.0, None, problem=f"malformed: {error}")
