"""Runs whose measures are no matter to a test."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch


@contextmanager
def without_measures() -> Iterator[None]:
    """Within, models are not measured and drawn at the end of training, and a lease is renewed often: seconds for each file."""
    with ExitStack() as patched:
        for name in ("unbraid.trainers.loop.evaluate", "unbraid.trainers.evaluate.evaluate"):
            patched.enter_context(patch(name, lambda *rest: {"info/share": 0.5}))
        for name in ("unbraid.trainers.loop.figures", "unbraid.trainers.loop.preview"):
            patched.enter_context(patch(name, lambda *rest: {}))
        patched.enter_context(patch("unbraid.trainers.runs.report.write_report", lambda *rest: b"PNG"))
        patched.enter_context(patch("unbraid.datasets.store.lease.RENEW_SECONDS", 0.1))
        yield
