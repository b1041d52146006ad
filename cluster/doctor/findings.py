"""The doctor's findings: each function judges the nodes' answers to one question."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from unbraid.cluster.jobs.tree import checkout
from unbraid.datasets.untrusted.text import in_one_line

if TYPE_CHECKING:
    from unbraid.trainers.config.schema import SystemConfig

Level = Literal["pass", "warn", "fail"]
CHECK_SECONDS = 40.0
"""Time for all nodes to answer."""
SKEW_SECONDS = 1.0
SHM_BYTES = 1 << 30
DISK_BYTES = 5 << 30
SLOW_MB = 20.0
"""A second; below, a transfer is slow."""
LONGEST_ERROR = 1000
"""Characters of a node's error: those of S3 name cause, remedy, endpoint and region."""


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        remedy: what to do; "" when nothing need be done.
        figures: what was measured, for programs.
    """

    subject: str
    level: Level
    text: str
    remedy: str = ""
    figures: Mapping[str, Any] | None = None


class Answers:
    """The nodes' answers to each question; an exception is an answer too.

    Args:
        of_nodes: for each node its answers by question.
    """

    def __init__(self, of_nodes: Mapping[str, Mapping[str, Any]]) -> None:
        self._of_nodes = of_nodes

    def successful(self, question: str) -> dict[str, Any]:
        """Return the answers of the nodes that could answer."""
        return {node: a[question] for node, a in self._of_nodes.items() if not isinstance(a[question], Exception)}

    def errors(self, question: str) -> str:
        """Describe the errors of the other nodes in one line; "" when there are none."""
        found = {node: a[question] for node, a in self._of_nodes.items() if isinstance(a[question], Exception)}
        return "; ".join(f"{node}: {in_one_line(error, LONGEST_ERROR)}" for node, error in found.items())


def about_ray(names: Sequence[str]) -> Finding:
    """Name the version of Ray and the nodes."""
    import ray

    shown = ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
    return Finding("Ray", "pass", f"{ray.__version__}, {len(names)} node{'s' * (len(names) > 1)}: {shown}")


def about_versions(answers: Answers) -> Finding:
    """Compare Python and packages on each node with this process's Python and the versions in the constraints."""
    errors = answers.errors("facts")
    if errors:
        return Finding("versions", "fail", errors, "see `ray status` and that node's log")
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    wanted = _constraints()
    old, missing, other = [], [], []
    for node, facts in answers.successful("facts").items():
        if facts["python"].rpartition(".")[0] != here:
            old.append(f"{node} has Python {facts['python']}")
        for name, found in facts["packages"].items():
            if not found:
                missing.append(f"{node} has no {name}")
            elif name in wanted and found.partition("+")[0] != wanted[name]:
                other.append(f"{node} has {name} {found}, tested with {wanted[name]}")
    if old:
        return Finding("versions", "fail", "; ".join(old), f"use an image with Python {here} on every node")
    if missing or other:
        text = "; ".join((missing + other)[:4])
        return Finding("versions", "fail" if missing else "warn", text, "use the image, or `unbraid submit --install`")
    facts = next(iter(answers.successful("facts").values()))
    compared = "as in constraints.txt" if wanted else "not compared with constraints.txt, which only a checkout has"
    return Finding("versions", "pass", f"Python {facts['python']}, torch {facts['packages']['torch']}, {compared}")


def about_resources(config: SystemConfig) -> Finding:
    """Check whether the workers fit into the cluster, and into what is free now."""
    import ray

    from unbraid.trainers.errors import ConfigError
    from unbraid.trainers.launch.ray_train import cpus_per_worker

    there, free, run = ray.cluster_resources(), ray.available_resources(), config.run
    try:
        cpus = cpus_per_worker(config, there)
    except ConfigError as error:
        text = str(error).partition(": lower")[0]
        return Finding("resources", "fail", text, "lower run.workers, or use a larger cluster")
    wanted = {"CPU": float(cpus * run.workers), "GPU": run.gpus * run.workers}
    lacking = [
        f"{free.get(kind, 0):g} of {there.get(kind, 0):g} {kind}s are free, {run.workers} workers take {count:g}"
        for kind, count in wanted.items()
        if count > free.get(kind, 0)
    ]
    if lacking:
        remedy = "a run would wait: `ray status` and `unbraid jobs list` say for whom"
        return Finding("resources", "warn", "; ".join(lacking), remedy)
    total = ", ".join(f"{there.get(kind, 0):g} {kind}s" for kind in ("CPU", "GPU") if there.get(kind))
    return Finding("resources", "pass", f"{total}; {run.workers} workers of {cpus} CPUs and {run.gpus:g} GPUs fit")


def about_gpus(config: SystemConfig, answers: Answers) -> Finding:
    """Compare the GPUs that torch sees with those that Ray counts and the run needs."""
    import ray

    errors, found, drivers = answers.errors("gpus"), answers.successful("gpus"), answers.successful("driver")
    counted, declared = sum(map(len, found.values())), int(ray.cluster_resources().get("GPU", 0))
    if errors:
        return Finding("GPUs", "fail", errors, "check that torch and the driver fit each other on that node")
    if declared > counted:
        text = f"Ray counts {declared}, torch sees {counted}"
        return Finding("GPUs", "fail", text, "use an image with torch for CUDA, and a driver")
    if not counted:
        wanted = config.run.gpus > 0
        return Finding("GPUs", "fail" if wanted else "pass", "none", "add GPU nodes, or run.gpus=0" if wanted else "")
    kinds = [
        f"{node}: {len(gpus)}x {gpus[0]['name']}, {gpus[0]['memory'] >> 30} GiB, driver {drivers.get(node, '?')}, "
        f"CUDA {gpus[0]['cuda']}"
        for node, gpus in found.items()
        if gpus
    ]
    return Finding("GPUs", "pass", "; ".join(kinds))


def about_storage(config: SystemConfig, answers: Answers) -> Finding:
    """Check whether every node can write and read the storage of runs, and how fast."""
    errors, rates, storage = answers.errors("transfer"), answers.successful("transfer"), config.run.storage
    if errors:
        return Finding("run storage", "fail", errors, "do on every node what S3's answer says, or correct run.storage")
    lacks = {node: limit for node, rate in rates.items() for limit in rate["lacks"]}
    rates = {node: {"write": rate["write"], "read": rate["read"]} for node, rate in rates.items()}
    if len(rates) > 1 and "://" not in storage:
        text = f"{storage} is a folder; {len(rates)} nodes may each have their own"
        return Finding("run storage", "warn", text, "use s3://bucket/prefix, or a folder that all nodes share", rates)
    if lacks:
        text = "; ".join(f"{node}: {in_one_line(limit, LONGEST_ERROR)}" for node, limit in lacks.items())
        remedy = "a run works there all the same: it claims its name after a pause, or leaves old checkpoints where they are"
        return Finding("run storage", "warn", text, remedy, rates)
    text = "; ".join(f"{node}: {rate['write']:.0f} MB/s written, {rate['read']:.0f} read" for node, rate in rates.items())
    if min(min(rate.values()) for rate in rates.values()) < SLOW_MB:
        return Finding("run storage", "warn", f"{storage} {text}", "checkpoints take long; check the network to S3", rates)
    return Finding("run storage", "pass", f"{storage} {text}", "", rates)


def about_reads(config: SystemConfig, answers: Answers) -> Finding:
    """Check whether every node can read the shards, and how fast."""
    errors, rates = answers.errors("read"), answers.successful("read")
    if errors:
        return Finding("data reads", "fail", errors, "pack the set there, correct data.url, or do what S3's answer says")
    text = "; ".join(f"{node}: {rate:.0f} MB/s" for node, rate in rates.items())
    return Finding("data reads", "pass", f"{config.data.url} {text}", "", rates)


def about_data(config: SystemConfig) -> list[Finding]:
    """Check whether the data set fits the configuration, and whether the workers share its lanes evenly."""
    from unbraid.datasets.errors import DataError
    from unbraid.datasets.shards.index import read_index
    from unbraid.datasets.store import open_store
    from unbraid.trainers.errors import TrainingError
    from unbraid.trainers.launch.preflight import check_inputs

    try:
        check_inputs(config)
        index = read_index(open_store(config.data.url))
    except (DataError, TrainingError) as error:
        return [
            Finding(
                "data set", "fail", in_one_line(error, LONGEST_ERROR), "see `unbraid data inspect`, and the preset's data.url"
            )
        ]
    shards, lanes, workers = index.shards(config.data.split), config.data.lanes, config.run.workers
    samples = sum(shard.count for shard in shards)
    text = f"{index.name}: {samples:,} samples in {len(shards)} shards, digest {index.digest[:12]}"
    fewest, most = lanes // workers, -(-lanes // workers)
    if fewest < most:
        uneven = f"{lanes} lanes on {workers} workers: some have {most}, some {fewest}"
        of_lanes = Finding("lanes", "warn", uneven, "a multiple of the workers gives each the same work")
    else:
        of_lanes = Finding("lanes", "pass", f"{lanes} lanes, {fewest} for each of {workers} workers")
    return [Finding("data set", "pass", text), of_lanes]


def about_disks(answers: Answers) -> list[Finding]:
    """Check the nodes' shared memory and free disk space."""
    shared = {node: facts["shm_total"] for node, facts in answers.successful("facts").items()}
    free = {node: facts["disk_free"] for node, facts in answers.successful("facts").items()}
    return [
        _sizes("shared memory", shared, SHM_BYTES, "give the container a larger /dev/shm: Ray's object store lives there"),
        _sizes("disk free", free, DISK_BYTES, "free space, or choose another run.storage"),
    ]


def _sizes(subject: str, sizes: Mapping[str, int], least: int, remedy: str) -> Finding:
    text = "; ".join(f"{node}: {size / (1 << 30):.1f} GiB" for node, size in sizes.items())
    short = any(size < least for size in sizes.values())
    return Finding(subject, "warn" if short else "pass", text, remedy if short else "", sizes)


def about_ports(answers: Answers) -> Finding:
    """Name the ports of Ray and SeaweedFS that the network reaches, and check that Ray's want the token."""
    facts = answers.successful("facts")
    opened = {node: answer["listeners"] for node, answer in facts.items() if answer["listeners"]}
    if not opened:
        return Finding("ports", "pass", "all of Ray's and SeaweedFS's are on loopback")
    text = "; ".join(f"{node}: {', '.join(listeners)}" for node, listeners in opened.items())
    figures = {"opened": opened}
    if not all(facts[node]["token"] for node in opened):
        remedy = "start Ray with RAY_AUTH_MODE=token: who reaches these ports runs code as you"
        return Finding("ports", "warn", f"not on loopback, and without a token: {text}", remedy, figures)
    return Finding("ports", "pass", f"not on loopback, they want the token, metrics do not: {text}", "", figures)


def about_clocks(checks: Mapping[str, Any]) -> Finding:
    """Measure how far the nodes' clocks differ from this one's, to half of a question's round trip."""
    import ray

    offsets: dict[str, float] = {}
    for node, check in checks.items():
        best = float("inf")
        for _ in range(3):
            sent = time.time()
            try:
                there = ray.get(check.clock.remote(), timeout=5)
            except Exception as error:  # the node is gone meanwhile
                return Finding("clocks", "fail", f"{node} does not answer: {in_one_line(error)}", "see `ray status`")
            came = time.time()
            if came - sent < best:
                best, offsets[node] = came - sent, there - (sent + came) / 2
    worst = max(abs(offset) for offset in offsets.values())
    late = worst > SKEW_SECONDS
    remedy = "run a time daemon on every node: S3 refuses requests that are minutes off" if late else ""
    return Finding("clocks", "warn" if late else "pass", f"apart by {worst * 1000:.0f} ms at most", remedy, offsets)


def about_network(config: SystemConfig, checks: Mapping[str, Any], answers: Answers) -> Finding:
    """Measure the sum over all nodes that each update of training takes, by the library that training uses."""
    import ray

    nodes, actors = list(checks), list(checks.values())
    if len(actors) == 1:
        return Finding("all-reduce", "pass", "one node: nothing crosses the network")
    gpus = config.run.gpus > 0 and all(answers.successful("gpus").get(node) for node in nodes)
    try:
        where = ray.get(actors[0].meeting_point.remote(), timeout=10)
        sums = [actor.reduce.remote(where, rank, len(actors), gpus) for rank, actor in enumerate(actors)]
        rates = ray.get(sums, timeout=CHECK_SECONDS)
    except Exception as error:  # of gloo, NCCL or Ray
        remedy = "open all ports between the nodes: workers talk to each other directly"
        return Finding("all-reduce", "fail", in_one_line(error), remedy)
    text = f"{'NCCL' if gpus else 'gloo'} between {len(actors)} nodes: {min(rates):.0f} MB/s at the slowest"
    level: Level = "warn" if min(rates) < SLOW_MB else "pass"
    return Finding(
        "all-reduce",
        level,
        text,
        "" if level == "pass" else "check the network between nodes",
        dict(zip(nodes, rates, strict=True)),
    )


def _constraints() -> dict[str, str]:
    """Read the versions that were tested together from the checkout; none where unbraid is installed without it."""
    folder = checkout()
    path = folder / "constraints.txt" if folder else None
    lines = path.read_text().splitlines() if path and path.exists() else []
    pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {name.strip(): wanted.split(";")[0].strip() for name, wanted in pairs}
