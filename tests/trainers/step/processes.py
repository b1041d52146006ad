"""Processes of a group that start in a moment: forked from one that has imported what they need, and has no threads."""

import multiprocessing
from collections.abc import Callable
from typing import Any

from torch.multiprocessing.spawn import start_processes

IMPORTED = ["tests.trainers.step.test_distributed", "tests.trainers.step.test_measuring", "tests.trainers.systems.people"]
"""With all that systems, measures and streams import."""


def run_processes(function: Callable[..., None], arguments: tuple[Any, ...], count: int) -> None:
    """Run ``function(rank, *arguments)`` in so many processes, and wait for their end.

    Raises:
        ProcessRaisedException: when one has failed, with its traceback.
    """
    multiprocessing.set_forkserver_preload(IMPORTED)
    start_processes(function, args=arguments, nprocs=count, start_method="forkserver")
