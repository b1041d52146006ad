"""How long workers wait for each other is configured."""

import threading
from pathlib import Path
from typing import Any

import pytest
import ray

from unbraid.cluster.local.services import LocalServices
from unbraid.datasets.store import FolderStore
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.launch.ray_train import connect, make_trainer


@pytest.mark.slow
def test_a_workers_process_group_has_the_configured_timeout(services: LocalServices, tmp_path: Path) -> None:
    def write_timeout(settings: dict[str, Any]) -> None:
        import torch
        import torch.distributed as dist

        group = dist.group.WORLD
        assert group is not None
        timeout = group._get_backend(torch.device("cpu")).options._timeout
        Path(settings["file"]).write_text(str(timeout.total_seconds()))

    written = tmp_path / "timeout"
    run = resolve("infogan-mnist", ["run.collective_minutes=12.5"]).run
    connect(services.ray_address())
    try:
        trainer = make_trainer(
            write_timeout, {"file": str(written)}, run, FolderStore(tmp_path), {"CPU": 1.0}, "ray-test", "launch"
        )
        thread = threading.Thread(target=trainer.fit)  # in the main thread it takes over Ctrl-C
        thread.start()
        thread.join(120)
    finally:
        ray.shutdown()
    assert float(written.read_text()) == 12.5 * 60
