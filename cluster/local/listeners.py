"""Which ports Ray and SeaweedFS have opened, and to whom."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

_SESSION = re.compile(r"session_[0-9_-]{20,}")
"""The name of a cluster, which the command lines of its servers hold."""


@dataclass(frozen=True, order=True)
class Listener:
    """A TCP port that a process listens on.

    Attributes:
        program: ``gcs_server``, ``raylet``, ``weed``, …
        address: of the interface; ``0.0.0.0`` or ``::`` for all of them.
    """

    program: str
    address: str
    port: int

    @property
    def on_loopback(self) -> bool:
        """Tell whether only this machine reaches it."""
        address = ipaddress.ip_address(self.address)
        mapped = getattr(address, "ipv4_mapped", None)
        return bool((mapped or address).is_loopback)

    def __str__(self) -> str:
        return f"{self.program} {self.address}:{self.port}"


def listeners_below(pid: int) -> list[Listener]:
    """List the ports that a process and all that it started listen on."""
    import psutil

    try:
        process = psutil.Process(pid)
        return sorted(_listeners([process, *process.children(recursive=True)]))
    except psutil.NoSuchProcess:
        return []


def listeners_of_node() -> list[Listener]:
    """List the ports that the cluster of this process, which a raylet has started, and SeaweedFS listen on here."""
    import psutil

    raylets = [process for process in psutil.Process().parents() if process.name() == "raylet"]
    found = _SESSION.search(" ".join(raylets[0].cmdline())) if raylets else None
    session = found.group() if found else None
    processes = {process for process in psutil.process_iter() if _is_of(process, session)}
    for raylet in raylets:
        processes |= {raylet, *raylet.children(recursive=True)}
    return sorted(_listeners(processes))


def _is_of(process: psutil.Process, session: str | None) -> bool:
    """Tell whether a process is a server of a session of Ray, or SeaweedFS, and of this user."""
    import psutil

    try:
        named = process.name() == "weed" or (session is not None and session in " ".join(process.cmdline()))
        return named and process.uids().real == os.getuid()
    except psutil.Error:
        return False


def _listeners(processes: Iterable[psutil.Process]) -> Iterator[Listener]:
    import psutil

    for process in processes:
        try:
            program = _program(process)
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    yield Listener(program, connection.laddr.ip, connection.laddr.port)
        except psutil.Error:
            continue  # it has ended


def _program(process: psutil.Process) -> str:
    """Name a process by its program; where that is Python, by the module or script that it runs."""
    name, words = process.name(), process.cmdline()
    if not name.startswith("python"):
        return name
    if "-m" in words[:-1]:
        return words[words.index("-m") + 1]
    script = next((word for word in words[1:] if word.endswith(".py")), name)
    return script.rpartition("/")[2]
