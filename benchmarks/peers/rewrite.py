"""Reads WebDataset tars and writes them as other tools' shards: what a tool that has no use for foreign tars must do first.

python rewrite.py PEER TAR... OUTPUT     prints seconds, imports not counted; two processes
"""

import sys
import time
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import webdataset as wds

try:
    from loaders import without_torchvision
except ImportError:
    from benchmarks.peers.loaders import without_torchvision

PROCESSES = 2


def rewrite(peer: str, output: str, part: tuple[int, list[str]]) -> None:
    number, tars = part
    samples = wds.WebDataset(tars, shardshuffle=False)
    if peer == "webdataset":
        with wds.ShardWriter(f"{output}/{number}-%06d.tar", maxsize=32 << 20, encoder=False, verbose=0) as writer:
            for sample in samples:
                writer.write({key: value for key, value in sample.items() if key in ("__key__", "jpg", "cls")})
        return
    from streaming import MDSWriter

    columns = {"image": "bytes", "label": "int"}
    with MDSWriter(out=f"{output}/{number}", columns=columns, size_limit=32 << 20) as writer:
        for sample in samples:
            writer.write({"image": sample["jpg"], "label": int(sample["cls"])})


def main() -> None:
    peer, *tars, output = sys.argv[1:]
    without_torchvision()
    if peer == "mosaicml_streaming":
        import streaming  # noqa: F401  # imports are not counted
    Path(output).mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with get_context("fork").Pool(PROCESSES) as pool:
        pool.map(partial(rewrite, peer, output), [(i, tars[i::PROCESSES]) for i in range(PROCESSES)], chunksize=1)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    main()
