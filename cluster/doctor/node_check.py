"""The doctor's questions to a node, answered by a Ray actor that runs there: each number is measured on the node itself."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import time
import uuid
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from unbraid.cluster.local.listeners import listeners_of_node

PACKAGES = ("torch", "ray", "webdataset", "kornia", "boto3", "numpy")
TRANSFER_BYTES = 16 << 20
REDUCED_BYTES = 32 << 20
REDUCTIONS = 3


class NodeCheck:
    """Answers questions about the node that it runs on."""

    def clock(self) -> float:
        """Read this node's clock, in seconds since the epoch."""
        return time.time()

    def facts(self, folder: str) -> dict[str, Any]:
        """Read versions, memory, disk, and the ports that Ray and SeaweedFS open to the network.

        Args:
            folder: where training writes; "" when that is not a folder.
        """
        disk = Path(folder or "/tmp")  # noqa: S108  # Ray's own default for what it spills
        while not disk.exists():
            disk = disk.parent
        shm = Path("/dev/shm")  # noqa: S108
        return {
            "host": socket.gethostname(),
            "python": platform.python_version(),
            "packages": {name: _version(name) for name in PACKAGES},
            "disk": str(disk),
            "disk_free": shutil.disk_usage(disk).free,
            "shm_total": shutil.disk_usage(shm).total if shm.exists() else 0,
            "listeners": [str(listener) for listener in listeners_of_node() if not listener.on_loopback],
            "token": os.environ.get("RAY_AUTH_MODE") == "token",
        }

    def gpus(self) -> list[dict[str, Any]]:
        """List all GPUs of this node that torch sees, whichever of them Ray has assigned: name, memory, CUDA version."""
        import torch

        found = []
        for number in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(number)
            found.append({"name": about.name, "memory": about.total_memory, "cuda": torch.version.cuda})
        return found

    def driver(self) -> str:
        """Read the version of NVIDIA's driver; "" without one."""
        path = Path("/proc/driver/nvidia/version")
        return path.read_text().split("Kernel Module")[-1].split()[0] if path.exists() else ""

    def transfer(self, url: str) -> dict[str, Any]:
        """Write, read and delete one object under a URL.

        Returns:
            Megabytes a second, ``write`` and ``read``; ``lacks``, what a run can do without but the store does not allow.

        Raises:
            DataError: with S3's own reason.
        """
        from unbraid.datasets.errors import DataError
        from unbraid.datasets.store import RefusedError, UnconditionalError, open_store
        from unbraid.datasets.store.retry import Backoff

        store = open_store(url, create=True, backoff=Backoff(attempts=2))
        key, content = f"doctor/{uuid.uuid4().hex}", os.urandom(TRANSFER_BYTES)
        lacks = []
        try:
            started = time.perf_counter()
            store.put(key, content)
            written = time.perf_counter()
            if store.get(key) != content:
                raise OSError(f"{url}: an object that was read differs from what was written")
            read = time.perf_counter()
            store.put_new(f"{key}.new", b"")
        except UnconditionalError as error:
            lacks.append(str(error))
        except Exception:
            with suppress(DataError):  # the first error is the cause
                store.delete(key)
            raise
        try:
            for written_key in (key, f"{key}.new"):
                store.delete(written_key)
        except RefusedError as error:
            lacks.append(str(error))
        return {
            "write": TRANSFER_BYTES / 1e6 / (written - started),
            "read": TRANSFER_BYTES / 1e6 / (read - written),
            "lacks": lacks,
        }

    def read(self, url: str) -> float:
        """Read the beginnings of a set's shards.

        Returns:
            Megabytes a second.

        Raises:
            DataError: with S3's own reason.
        """
        from unbraid.datasets.shards.index import read_index
        from unbraid.datasets.store import open_store
        from unbraid.datasets.store.retry import Backoff

        store = open_store(url, backoff=Backoff(attempts=2))
        index = read_index(store)
        shards = next(iter(index.splits.values()))
        started, count = time.perf_counter(), 0
        for shard in shards[:8]:
            length = min(shard.bytes, TRANSFER_BYTES // 8)
            store.get_range(shard.name, 0, length)
            count += length
        return count / 1e6 / (time.perf_counter() - started)

    def meeting_point(self) -> str:
        """Choose an address on this node at which all nodes can form a process group."""
        import ray

        host = ray.util.get_node_ip_address()
        with socket.socket() as listener:
            listener.bind((host, 0))
            return f"tcp://{host}:{listener.getsockname()[1]}"

    def reduce(self, where: str, rank: int, size: int, gpus: bool) -> float:
        """Sum a tensor over all nodes a few times.

        A ring moves 2·(n-1)/n of the tensor in and out of each node (Patarasu & Yuan, 2009).

        Args:
            where: from :meth:`meeting_point` of one of them.
            rank, size: this node's number, and how many there are.
            gpus: by NCCL between GPUs instead of gloo.

        Returns:
            Bandwidth of a node in megabytes a second.
        """
        from datetime import timedelta

        import torch
        import torch.distributed as dist

        backend = "nccl" if gpus else "gloo"
        dist.init_process_group(backend, init_method=where, rank=rank, world_size=size, timeout=timedelta(seconds=20))
        try:
            tensor = torch.ones(REDUCED_BYTES // 4, device="cuda" if gpus else "cpu")
            dist.all_reduce(tensor)
            started = time.perf_counter()
            for _ in range(REDUCTIONS):
                dist.all_reduce(tensor)
            if gpus:
                torch.cuda.synchronize()
            seconds = (time.perf_counter() - started) / REDUCTIONS
        finally:
            dist.destroy_process_group()
        expected = float(size) ** (REDUCTIONS + 1)
        if tensor[0].item() != expected:
            raise ArithmeticError(f"the sum of ones over {size} nodes is {tensor[0].item()}, not {expected}")
        return REDUCED_BYTES / 1e6 * 2 * (size - 1) / size / seconds


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
