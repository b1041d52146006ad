"""``unbraid board``: TensorBoard on the runs of a storage, wherever it is."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unbraid.cluster.local.services import use_local_services

if TYPE_CHECKING:
    from unbraid.datasets.store import Store

SECONDS_BETWEEN_LOOKS = 15.0
"""At a storage that is no folder, whose files are copied for TensorBoard."""


@click.command()
@click.argument("storage", default="runs")
@click.option(
    "--port", default=6006, show_default=True, type=click.IntRange(0, 65535), help="To listen at; 0 takes a free one."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Interface; TensorBoard asks nobody for a password.")
def board(storage: str, port: int, host: str) -> None:
    """Start TensorBoard on the runs of STORAGE, a folder or s3:// URL of runs; Ctrl-C ends it. Needs the extra `board`.

    \b
    Examples:
      unbraid board
      unbraid board s3://bucket/runs --port 6007
    """
    from unbraid.datasets.store import FolderStore, open_store
    from unbraid.datasets.threads import WatchedThread
    from unbraid.trainers.errors import ConfigError
    from unbraid.trainers.runs.open import run_names

    use_local_services()
    program = shutil.which("tensorboard", path=f"{Path(sys.executable).parent}") or shutil.which("tensorboard")
    if program is None:
        raise ConfigError("TensorBoard is missing; `pip install 'unbraid[board]'`")
    names = run_names(storage)
    if not names:
        raise ConfigError(f"{storage}: holds no run; `unbraid runs list --storage {storage}` shows what is there")
    store, ended = open_store(storage), threading.Event()
    with tempfile.TemporaryDirectory(prefix="unbraid-board-") as temporary:
        folder = store.root if isinstance(store, FolderStore) else Path(temporary)
        if folder == Path(temporary):
            copy_new(store, folder)
            WatchedThread(lambda: _copy_until(store, folder, ended), "copy-event-files").start()
        click.echo(f"{len(names)} runs of {storage}; Ctrl-C ends TensorBoard")
        try:
            sys.exit(_served([program, "--logdir", str(folder), "--port", str(port), "--host", host]))
        finally:
            ended.set()


def _served(command: list[str]) -> int:
    """Run a program until it ends, or this one is asked to end, by Ctrl-C or SIGTERM; returns the exit status."""
    with subprocess.Popen(command) as process:
        before = signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            return 130
        finally:
            signal.signal(signal.SIGTERM, before)


def copy_new(store: Store, folder: Path) -> int:
    """Copy the event files of runs that have grown; returns their number."""
    from unbraid.datasets.store import FolderStore

    target, copied = FolderStore(folder, create=True), 0
    there = target.sizes()
    for key, size in store.sizes().items():
        if "/tensorboard/" in key and there.get(key) != size:
            target.put(key, store.get(key))
            copied += 1
    return copied


def _copy_until(store: Store, folder: Path, ended: threading.Event) -> None:
    from unbraid.datasets.errors import DataError

    while not ended.wait(SECONDS_BETWEEN_LOOKS):
        try:
            copy_new(store, folder)
        except DataError as error:
            click.echo(f"not copied: {error}", err=True)
