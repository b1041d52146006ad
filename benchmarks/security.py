"""Attacks tried and succeeded, files fuzzed, ports that answer without a key, and what the samples' hashes cost the loader.

The attacks are the tests of ``tests/security``: one that fails has succeeded. As root, those of another user of the machine are
tried with that user's rights; elsewhere they are skipped, and counted so.
"""

from __future__ import annotations

import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figures
from benchmarks.loader import distinct_images, write_set
from unbraid.cluster.local.listeners import listeners_below
from unbraid.cluster.local.ports import LOOPBACK
from unbraid.cluster.local.services import LocalServices
from unbraid.datasets.shards.table import Table
from unbraid.datasets.store import FolderStore
from unbraid.datasets.stream.stream import SampleStream

ROOT = Path(__file__).parent.parent
ROUNDS, IMAGES, BATCH = 9, 20_000, 128
SHARDS, SHARD_BYTES = 40, 4 << 20


def attacks(figures: Figures) -> None:
    """Run the attacks and the fuzzing, and count them."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "tests/security", "-q", f"--junitxml={report}", "-o", "junit_family=xunit1"]
        started = time.monotonic()
        subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False)
        seconds = time.monotonic() - started
        cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314  # written by the line before
    fuzzed = [case for case in cases if (case.get("classname") or "").endswith("test_fuzz")]
    tried = [case for case in cases if case not in fuzzed and case.find("skipped") is None]
    figures.figure("attacks_tried", len(tried), f"attacks, {len(cases) - len(fuzzed) - len(tried)} skipped", digits=0)
    figures.figure("attacks_succeeded", failures(tried), "attacks", "0", digits=0)
    figures.figure("seconds", seconds, "s for the suite, services started once", digits=0)
    figures.figure("files_fuzzed", len(fuzzed), f"kinds of file, {sum(properties(fuzzed, 'examples')):.0f} contents", digits=0)
    figures.figure("fuzz_tracebacks", failures(fuzzed), "kinds of file with one", "0", digits=0)
    figures.figure("fuzz_worst_memory", max(properties(fuzzed, "megabytes")), "MB", "<= 256", digits=0)
    figures.figure("fuzz_slowest", max(properties(fuzzed, "seconds")), "s for one content", "<= 5", digits=2)


def failures(cases: list[ElementTree.Element]) -> int:
    """Count the tests that failed."""
    return sum(case.find("failure") is not None or case.find("error") is not None for case in cases)


def properties(cases: list[ElementTree.Element], name: str) -> list[float]:
    """Return the values that tests have recorded under a name."""
    return [float(p.get("value") or 0) for case in cases for p in case.iter("property") if p.get("name") == name]


def ports(figures: Figures) -> None:
    """Start the local services in a folder of their own, and ask every port for what anybody may ask."""
    with tempfile.TemporaryDirectory() as folder:
        services = LocalServices(Path(folder) / "local")
        services.up(report=lambda line: None)
        try:
            for name, service in services.status().items():
                listening = listeners_below(service.pid)
                wide = sorted({listener.program for listener in listening if not listener.on_loopback})
                answering = sorted({listener.program for listener in listening if answers_anybody(listener.port)})
                figures.figure(f"{name}_ports", len(listening), "ports that listen", digits=0)
                figures.figure(
                    f"{name}_ports_beyond_loopback",
                    sum(not listener.on_loopback for listener in listening),
                    f"ports ({', '.join(wide) or 'none'})",
                    "0" if name == "s3" else None,
                    digits=0,
                )
                figures.figure(
                    f"{name}_ports_that_answer_anybody",
                    sum(answers_anybody(listener.port) for listener in listening),
                    f"ports ({', '.join(answering) or 'none'})",
                    "0" if name == "s3" else None,
                    digits=0,
                )
        finally:
            services.down(report=lambda line: None)


def answers_anybody(port: int) -> bool:
    """Tell whether a port gives content to a request without a key, a token or a certificate."""
    believing = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # a stranger does not care who answers
    believing.check_hostname, believing.verify_mode = False, ssl.CERT_NONE
    for tls in (False, True):
        for path in ("/", "/metrics", "/status", "/buckets/"):
            plain = HTTPConnection(LOOPBACK, port, timeout=3)
            connection = HTTPSConnection(LOOPBACK, port, timeout=3, context=believing) if tls else plain
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                if 200 <= answer.status < 300 and answer.read(1):
                    return True
            except (OSError, HTTPException):
                continue
            finally:
                connection.close()
    return False


@contextmanager
def checked_by(check: Callable[[memoryview], object]) -> Iterator[None]:
    """Take every sample for what was packed, after a call with the bytes that were read."""

    def trust(self: Table, content: memoryview, first: int, last: int) -> NDArray[np.bool_]:
        check(content)
        return np.ones(last - first, dtype=bool)

    hashed, Table.whole = Table.whole, trust  # type: ignore[method-assign]
    try:
        yield
    finally:
        Table.whole = hashed  # type: ignore[method-assign]


def rate(url: str) -> float:
    """Measure images/s of the stream."""
    with SampleStream(url, "train", batch=BATCH, lanes=16, window=256, seed=0) as stream:
        next(stream)
        started = time.perf_counter()
        for _ in range(IMAGES // BATCH):
            next(stream)
        return IMAGES / BATCH * BATCH / (time.perf_counter() - started)


def hashes(figures: Figures) -> None:
    """Compare the stream with the samples' hashes, with a checksum and with neither; a server would hide what they cost."""
    with tempfile.TemporaryDirectory() as folder:
        write_set(FolderStore(Path(folder)), distinct_images(), SHARD_BYTES, SHARDS)
        rate(folder)
        rounds = []
        for _ in range(ROUNDS):
            hashed = rate(folder)
            with checked_by(zlib.crc32):
                summed = rate(folder)
            with checked_by(len):
                trusted = rate(folder)
            rounds.append((hashed, hashed / summed, hashed / trusted))
    rates, to_sums, to_nothing = zip(*rounds, strict=True)
    figures.figure("loader", statistics.median(rates), "images/s", digits=0)
    spread = f"{min(to_sums):.3f} to {max(to_sums):.3f} in {ROUNDS} rounds"
    figures.figure(
        "loader_ratio_to_crc32", statistics.median(to_sums), f"x, {spread}; CRC32 is what hashes replaced", ">= 0.98"
    )
    figures.figure("loader_ratio_to_no_check", statistics.median(to_nothing), "x")


def main() -> None:
    """Run all parts."""
    figures = Figures("security", "0")
    os.chdir(ROOT)
    if figures.wants("attacks"):
        attacks(figures)
    if figures.wants("ports"):
        ports(figures)
    if figures.wants("hashes"):
        hashes(figures)


if __name__ == "__main__":
    main()
