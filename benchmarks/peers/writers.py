"""Writes a folder of JPEGs as other tools' shards, each as its documentation says is fastest: two processes, raw bytes.

python writers.py PEER FOLDER OUTPUT [as-is | decoded | HEIGHTxWIDTH]     prints seconds, imports not counted

`as-is` copies the files. `decoded` also decodes each, by libjpeg-turbo, so that a damaged one is found. A size resizes by
Pillow: a JPEG is first reduced by its decoder to three times the wanted size, then by LANCZOS, and stored with quality 95.
"""

import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import simplejpeg
from PIL import Image

try:
    from loaders import without_torchvision
except ImportError:
    from benchmarks.peers.loaders import without_torchvision

PROCESSES = 2
SHARD_BYTES = 32 << 20


def content_of(path: str, how: str) -> bytes:
    content = Path(path).read_bytes()
    if how == "as-is":
        return content
    if how == "decoded":
        simplejpeg.decode_jpeg(content, "RGB")
        return content
    height, width = map(int, how.split("x"))
    with Image.open(io.BytesIO(content)) as image:
        image.draft("RGB", (3 * width, 3 * height))
        resized = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    buffer = io.BytesIO()
    resized.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def parts(paths: list[str]) -> Iterator[tuple[int, list[str]]]:
    for number in range(PROCESSES):
        yield number, paths[number::PROCESSES]


def in_processes(write: Callable[[tuple[int, list[str]]], None], paths: list[str]) -> None:
    with get_context("fork").Pool(PROCESSES) as pool:
        pool.map(write, list(parts(paths)), chunksize=1)


def write_webdataset(output: str, how: str, part: tuple[int, list[str]]) -> None:
    import webdataset as wds

    number, paths = part
    with wds.ShardWriter(f"{output}/{number}-%06d.tar", maxsize=SHARD_BYTES, encoder=False, verbose=0) as writer:
        for path in paths:
            writer.write({"__key__": Path(path).stem, "jpg": content_of(path, how)})


def webdataset(paths: list[str], output: str, how: str) -> float:
    import webdataset  # noqa: F401  # imports are not counted

    started = time.perf_counter()
    in_processes(partial(write_webdataset, output, how), paths)
    return time.perf_counter() - started


def write_mds(output: str, how: str, part: tuple[int, list[str]]) -> None:
    from streaming import MDSWriter

    number, paths = part
    with MDSWriter(out=f"{output}/{number}", columns={"image": "bytes"}, size_limit=SHARD_BYTES) as writer:
        for path in paths:
            writer.write({"image": content_of(path, how)})


def mosaicml_streaming(paths: list[str], output: str, how: str) -> float:
    without_torchvision()
    from streaming.base.util import merge_index

    started = time.perf_counter()
    in_processes(partial(write_mds, output, how), paths)
    merge_index(output)
    return time.perf_counter() - started


def sample(path: str, how: str) -> dict[str, bytes]:
    return {"image": content_of(path, how)}


def litdata(paths: list[str], output: str, how: str) -> float:
    from litdata import optimize

    started = time.perf_counter()
    optimize(partial(sample, how=how), paths, output, chunk_bytes=SHARD_BYTES, num_workers=PROCESSES, start_method="fork")
    return time.perf_counter() - started


PEERS = {"webdataset": webdataset, "mosaicml_streaming": mosaicml_streaming, "litdata": litdata}

if __name__ == "__main__":
    peer, folder, output, how = sys.argv[1:]
    Path(output).mkdir()
    seconds = PEERS[peer](sorted(map(str, Path(folder).glob("*.jpg"))), output, how)
    print(seconds, flush=True)
    os._exit(0)  # some leave processes and threads that a plain exit waits for
