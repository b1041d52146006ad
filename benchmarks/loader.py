"""Compares the stream with other loaders on the same objects, server and machine, and with its own limits.

Needs `unbraid local up`. Installs the other loaders in .venv-bench on its first run. Takes about a quarter of an hour on two
cores; the machine must be idle otherwise.
"""

import gc
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path

import kornia_rs
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from benchmarks.figures import Figures
from unbraid.cluster.local.services import use_local_services
from unbraid.datasets.shards.index import INDEX_KEY, Index, write_index
from unbraid.datasets.shards.tar import write_shard
from unbraid.datasets.sources.source import image_field
from unbraid.datasets.store import Store, open_store
from unbraid.datasets.stream.order import Order
from unbraid.datasets.stream.stream import Position, SampleStream
from unbraid.datasets.stream.throughput import decode_alone, read_alone

ENVIRONMENT = Path(".venv-bench")
REQUIREMENTS = Path(__file__).parent / "requirements.txt"
PEERS_SCRIPT = Path(__file__).parent / "peers" / "loaders.py"
PEERS = ("webdataset_pipe", "webdataset_boto3", "s3torchconnector", "mosaicml_streaming", "litdata")
SETS = {"12mib": (12, 40), "64mib": (64, 8)}
"""MiB of a shard and number of shards of each set; half a gigabyte each."""
DISTINCT = 4096
FIELDS = {"image": image_field((3, 128, 64))}
ROUNDS = 3
IMAGES = 40_000
BATCH = 128


def distinct_images() -> list[bytes]:
    """Draw JPEGs of 128x64 with the size of small photographs: coarse colours and sensor noise, about 4.5 KB each."""
    generator = np.random.default_rng(0)
    images = []
    for _ in range(DISTINCT):
        shapes = generator.integers(0, 256, (16, 8, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(shapes).resize((64, 128), Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = smooth + generator.normal(0, 11, (128, 64, 1)).astype(np.int16)
        buffer = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=90)
        images.append(buffer.getvalue())
    return images


def prepare(name: str) -> str:
    """Return the URL of one set; make the set first if it is missing."""
    mebibytes, shards = SETS[name]
    store = open_store(f"s3://unbraid/bench-loader-{name}", create=True)
    if not store.exists(INDEX_KEY):
        write_set(store, distinct_images(), mebibytes << 20, shards)
        write_for_peers(store, shards)
    return store.url


def write_set(store: Store, images: list[bytes], size: int, shards: int) -> None:
    """Write shards of ``size`` bytes each, which repeat the images."""
    stored = sum(512 + -(-len(image) // 512) * 512 for image in images) / len(images)
    each = int(size / stored)
    written = []
    for number in range(shards):
        first = number * each
        samples = ({"__key__": f"{i:07d}", "jpg": images[i % DISTINCT]} for i in range(first, first + each))
        written.append(write_shard(store, f"train-{number:06d}.tar", FIELDS, samples))
    write_index(store, Index("bench", FIELDS, (), "", "made for the benchmark", {"train": tuple(written)}))


def write_for_peers(store: Store, shards: int) -> None:
    """Write the same images in the formats of two other loaders."""
    folder = Path(".unbraid/bench")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.tar" for number in range(shards)]
    for number, path in enumerate(paths):
        path.write_bytes(store.get(f"train-{number:06d}.tar"))
    for task in ("write-mds", "write-litdata"):
        command = [str(peers_python()), str(PEERS_SCRIPT), task, *map(str, paths), store.url]
        done = subprocess.run(command, stdout=sys.stderr, check=False)
        if done.returncode:
            print(f"{task} failed: that peer is left out", file=sys.stderr)
    for path in paths:
        path.unlink()


def peers_python() -> Path:
    """Return the interpreter of the peers' environment, which is set up on first use."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        print("setting up the peers' environment", file=sys.stderr)
        venv.create(ENVIRONMENT, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS)], check=True, stdout=sys.stderr)
    return python


def peer(name: str, url: str, decoder: str) -> float | None:
    """Measure images/s of a peer; None when it does not run here."""
    command = [str(peers_python()), str(PEERS_SCRIPT), name, url, decoder, str(IMAGES)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        print(f"{name}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return float(done.stdout.split()[-1])


def ours(url: str, window: int = 125, images: int = IMAGES, lanes: int = 8) -> float:
    """Measure images/s of the stream in a process of its own, after the first batch."""
    script = (
        "import time; from unbraid.datasets.stream.stream import SampleStream\n"
        f"s = SampleStream({url!r}, 'train', batch={BATCH}, lanes={lanes}, window={window}, seed=0); next(s)\n"
        f"t = time.perf_counter()\nfor _ in range({images // BATCH}): next(s)\n"
        f"print({images // BATCH * BATCH} / (time.perf_counter() - t)); s.close()"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return float(done.stdout)


def throughput(figures: Figures, name: str) -> None:
    """Report our images/s over the best peer's, with its usual decoder and with ours, and over the slower limit."""
    url = prepare(name)
    rounds: list[dict[str, float]] = []
    for _ in range(ROUNDS):  # interleaved, so that other load on the machine affects all alike
        found = {"ours": ours(url), "read": read_alone(url, "train", 4), "decode": decode_alone(url, "train", 4)}
        for decoder in ("pillow", "simplejpeg"):
            for candidate in PEERS:
                speed = peer(candidate, url, decoder)
                if speed is not None:
                    found[f"{candidate}.{decoder}"] = speed
        rounds.append(found)
    for key in rounds[0]:
        speeds = [r[key] for r in rounds if key in r]
        figures.figure(f"{name}.{key}", statistics.median(speeds), "images/s", digits=0)
    for decoder, goal, label in (("pillow", 3, "best_peer"), ("simplejpeg", 2, "best_peer_with_our_decoder")):
        ratios = [r["ours"] / max(v for k, v in r.items() if k.endswith(decoder)) for r in rounds]
        figures.figure(f"{name}.ratio_to_{label}", statistics.median(ratios), "x", f">= {goal}", digits=2)
    share = statistics.median(100 * r["ours"] / min(r["read"], r["decode"]) for r in rounds)
    figures.figure(f"{name}.share_of_the_slower_limit", share, "%", ">= 85", digits=1)
    # server and reads share the processor with decoding: the limit is the sum of both times
    both = statistics.median(100 * r["ours"] * (1 / r["read"] + 1 / r["decode"]) for r in rounds)
    figures.figure(f"{name}.share_of_both_limits_on_one_processor", both, "%", digits=1)


def shuffling(figures: Figures) -> None:
    """Compare a shuffle buffer of 2,000 samples with none, and the shuffling with a true permutation."""
    url = prepare("12mib")
    ratios = [ours(url, window=250) / ours(url, window=1) for _ in range(5)]
    figures.figure("shuffled_ratio_to_unshuffled", statistics.median(ratios), "x", ">= 0.95")
    order = Order((2000,) * 40, batch=128, lanes=8, window=250, seed=0)
    places = places_in_order(order)
    figures.figure("shuffle_position_correlation", abs(np.corrcoef(np.arange(len(places)), places)[0, 1]), "(true: 0)")
    figures.figure(
        "shuffle_shards_in_a_batch", shards_in_a_batch(places), f"of {chance_shards(places):.1f} by chance", digits=1
    )
    stored = 5.6e3
    figures.figure("shuffle_memory", order.lanes * order.window * stored / 1e6, "MB", digits=1)


def places_in_order(order: Order) -> NDArray[np.int64]:
    """Return the place in the packed set of each sample of the first epoch, in the order of the stream; shards are equal."""
    each, share = order.counts[0], order.per_lane
    lanes = []
    for lane in range(order.lanes):
        length = order.lane_length(lane)
        before = np.concatenate([s.shard * each + np.arange(s.first, s.last) for s in order.stretches(0, lane, 0, length)])
        windows = range(order.window_at(lane, length - 1)[0] + 1)
        lanes.append(before[order.permutation(0, lane, windows)][: order.batches * share].reshape(-1, share))
    return np.concatenate(lanes, axis=1).reshape(-1)


def shards_in_a_batch(places: NDArray[np.int64]) -> float:
    """Return the mean number of different shards in a batch."""
    return float(np.mean([len(np.unique(batch // 2000)) for batch in places.reshape(-1, BATCH)]))


def chance_shards(places: NDArray[np.int64]) -> float:
    """Return the mean number of different shards in a batch of a true permutation."""
    return shards_in_a_batch(np.random.default_rng(0).permutation(places))


def memory(figures: Figures) -> None:
    """Report resident memory over three epochs."""
    url = prepare("12mib")
    with SampleStream(url, "train", batch=BATCH, lanes=8, window=125, seed=0) as stream:
        seen: list[float] = []
        for _ in range(4):
            for _ in range(stream.order.batches):
                next(stream)
            gc.collect()
            seen.append(resident_megabytes())
    figures.figure("memory_slope", (seen[3] - seen[1]) / 2, "MB/epoch", "< 1", digits=2)
    figures.figure("memory_resident", seen[3], "MB", digits=0)
    figures.figure("memory_peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MB", digits=0)


def resident_megabytes() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def scale(figures: Figures) -> None:
    """Report the cost of order and lanes for 1,024 ranks over 65,536 shards, without input or output."""
    counts = (12_000,) * 65_536
    seconds = []
    for rank in range(0, 1024, 128):
        started = time.perf_counter()
        order = Order(counts, batch=65_536, lanes=1024, window=256, seed=rank)
        order.stretches(0, rank, *order.window_bounds(rank, 0))
        order.permutation(0, rank, range(1))
        seconds.append(time.perf_counter() - started)
    figures.figure("scale.start_of_a_rank", 1e3 * statistics.median(seconds), "ms", "< 100", digits=1)
    figures.figure("scale.state_of_a_rank", len(json.dumps(vars(Position(3, 10_000)))) / 1024, "KiB", "< 64", digits=3)


def decoders(figures: Figures) -> None:
    """Report images/s of one thread for each decoder."""
    images = distinct_images()[:1000]
    out = np.empty((128, 64, 3), np.uint8)
    candidates: dict[str, Callable[[bytes], object]] = {
        "pillow": lambda image: np.asarray(Image.open(io.BytesIO(image)).convert("RGB")),
        "kornia_rs": lambda image: kornia_rs.io.decode_image_jpegturbo(image, "rgb"),
        "simplejpeg": lambda image: simplejpeg.decode_jpeg(image, "RGB", buffer=out),
    }
    for name, decode in candidates.items():
        best = 0.0
        for _ in range(5):
            started = time.perf_counter()
            for image in images:
                decode(image)
            best = max(best, len(images) / (time.perf_counter() - started))
        figures.figure(f"decoder.{name}", best, "images/s on one thread", digits=0)


def main() -> None:
    figures = Figures("loader", "0")
    use_local_services()
    if figures.wants("decoders"):
        decoders(figures)
    if figures.wants("scale"):
        scale(figures)
    if figures.wants("memory"):
        memory(figures)
    if figures.wants("shuffling"):
        shuffling(figures)
    for name in SETS:
        if figures.wants(name):
            throughput(figures, name)


if __name__ == "__main__":
    main()
