"""Runs tests on a mutated copy of the tree, each time in a fork of a process that has imported everything else already."""

from __future__ import annotations

import compileall
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKED = {"people_url", "pairs_url", "digits_folder"}
"""Fixtures of packed data, which is packed once for all trials: mutants are not in what packs it."""
SLOW = "not learns_to and not readable and not resumes"
"""Expression of ``pytest -k`` that leaves out tests which train for half a minute."""


def copied_trees(count: int) -> list[Path]:
    """Copies of what git knows or would add, with its links."""
    tree = Path(tempfile.mkdtemp(prefix="mutants-"))
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in filter(lambda name: (ROOT / name).exists() or (ROOT / name).is_symlink(), listed):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name, follow_symlinks=False)
    for folder in ("models", "datasets", "trainers", "cluster", "tests"):
        compileall.compile_dir(tree / folder, quiet=2)
    others = [tree.with_name(f"{tree.name}-{i}") for i in range(1, count)]
    return [tree, *(shutil.copytree(tree, other, symlinks=True) for other in others)]


@dataclass(eq=False)  # pluggy keeps plugins in sets
class Plugin:
    """What pytest is given: packed data that exists already, and what each test took and called.

    Args:
        data: packed sets by the name of their fixture.
        traced: modules, by their paths in the tree, whose called functions are recorded as ``PATH:QUALIFIED NAME``.
    """

    data: dict[str, str]
    traced: tuple[str, ...] = ()
    tests: dict[str, tuple[float, set[str]]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    packed: dict[str, str] = field(default_factory=dict)

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: pytest.FixtureRequest) -> object:
        if fixturedef.argname not in self.data:
            return None
        folder = self.data[fixturedef.argname]
        value = folder if fixturedef.argname.endswith("_url") else Path(folder)
        fixturedef.cached_result = (value, fixturedef.cache_key(request), None)
        return value

    def pytest_fixture_post_finalizer(self, fixturedef: Any) -> None:
        if fixturedef.argname in PACKED and fixturedef.cached_result:
            self.packed[fixturedef.argname] = str(fixturedef.cached_result[0])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        called: set[str] = set()
        if self.traced:
            trace = self._tracing(called)
            sys.settrace(trace)
            threading.settrace(trace)
        started = time.monotonic()
        try:
            return (yield)
        finally:
            sys.settrace(None)
            self.tests[item.nodeid] = (time.monotonic() - started, called)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)

    def _tracing(self, called: set[str]) -> Any:
        paths: dict[str, str] = {}

        def trace(frame: FrameType, event: str, argument: object) -> None:
            file = frame.f_code.co_filename
            if file not in paths:
                paths[file] = next((path for path in self.traced if file.endswith(f"/{path}")), "")
            if paths[file]:
                called.add(f"{paths[file]}:{frame.f_code.co_qualname}")

        return trace


class Trial:
    """One run of some tests in a fork, in a tree of its own."""

    def __init__(self, tree: Path, tests: list[str], plugin: Plugin, stop_at_first: bool, results: Path | None = None) -> None:
        self.tree = tree
        self.started = time.monotonic()
        self.pid = os.fork()
        if not self.pid:
            self._run(tests, plugin, stop_at_first, results)

    def _run(self, tests: list[str], plugin: Plugin, stop_at_first: bool, results: Path | None) -> None:
        code = 99
        try:
            os.setpgrp()
            os.chdir(self.tree)
            os.environ |= {"PYTHONPATH": str(self.tree), "PYTHONDONTWRITEBYTECODE": "1"}
            sys.dont_write_bytecode = True
            sys.path[:] = [str(self.tree), *(p for p in sys.path if p not in ("", str(ROOT), str(ROOT / "benchmarks")))]
            for name in [n for n in sys.modules if n.split(".")[0] in ("unbraid", "tests", "benchmarks")]:
                del sys.modules[name]
            log = os.open(self.tree / "trial.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            options = ["-q", "--assert=plain", "-k", SLOW, "-p", "no:cacheprovider", "-o", "addopts=-m 'not slow'"]
            options += ["-x"] if stop_at_first else []
            base = tempfile.mkdtemp(prefix="mutants-data-") if plugin.traced else str(self.tree / "tmp")
            code = pytest.main([*tests, *options, f"--basetemp={base}"], plugins=[plugin])
            if results:
                timed = {name: (taken, sorted(called)) for name, (taken, called) in plugin.tests.items()}
                results.write_text(json.dumps({"tests": timed, "failed": sorted(plugin.failed), "packed": plugin.packed}))
        finally:
            sys.stdout.flush()
            os._exit(int(code))

    def code(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def end(self) -> None:
        """Kill it, and what it started."""
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def finished(trial: Trial, seconds: float) -> int:
    """Its exit status, at most so many seconds after its start; -9 later."""
    while (code := trial.code()) is None:
        if time.monotonic() - trial.started > seconds:
            trial.end()
            return -signal.SIGKILL
        time.sleep(0.02)
    return code


def warm_up() -> None:
    """Import what tests import, but this project: a fork then starts with it."""
    listing = "import sys, tests.conftest, unbraid.trainers.loop, unbraid.trainers.systems.dpig.mapping.system as _"
    listing += "; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", listing], cwd=ROOT, capture_output=True, text=True, check=True)
    more = ["hypothesis", "torch.testing", "torch._dynamo", "kornia.augmentation", "sklearn.linear_model", "scipy.linalg"]
    for name in [*done.stdout.split(), *more]:
        if name.split(".")[0] not in ("unbraid", "tests", "benchmarks", "__main__", "__mp_main__"):
            try:
                importlib.import_module(name)
            except Exception:  # noqa: S112  (aliases in sys.modules cannot all be imported by name)
                continue
