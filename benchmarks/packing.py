"""Compares packing a folder of JPEGs with other tools' writers on the same files and machine, and packs damaged images.

Needs `unbraid local up` for the lines of `data index`. Installs the other tools in .venv-bench on its first run. Takes about a
quarter of an hour on two cores; the machine must be idle otherwise.
"""

import io
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.figures import Figures
from benchmarks.loader import peers_python
from tests.datasets.packing.damaged_images import write_damaged
from unbraid.cluster.local.services import use_local_services
from unbraid.datasets.errors import DataError
from unbraid.datasets.packing.pack import pack
from unbraid.datasets.sources.folder import read_folder
from unbraid.datasets.store import FolderStore, discard, open_store
from unbraid.datasets.stream.stream import read_split

WRITERS_SCRIPT = Path(__file__).parent / "peers" / "writers.py"
PEERS = ("webdataset", "mosaicml_streaming", "litdata")
FOLDER = Path(".unbraid/bench/packing")
IMAGES = 4000
DISTINCT = 200
"""Images that are drawn; the others are these, shifted."""
TASKS = {"128.as_is": (128, "as-is"), "256.as_is": (256, "as-is"), "256.to_64x64": (256, "64x64")}
"""Side of the images, and what is done with them."""
ROUNDS = 3
TARS = 6
FUZZED_SETS, FILES_OF_A_SET = 250, 24
INDEX = """
import sys
from unbraid.datasets.indexing.index_tars import IndexOptions, index_tars
from unbraid.datasets.indexing.tars import find_tars
from unbraid.datasets.store import FolderStore
from pathlib import Path
if __name__ == "__main__":
    url, output = sys.argv[1:]
    said = lambda text: None
    index_tars(find_tars(url), None, FolderStore(Path(output) / "set", create=True), IndexOptions("bench"), said, said)
"""
READ = """
import sys
from unbraid.datasets.indexing.one_tar import BLOCK_BYTES
from unbraid.datasets.store import open_store
url, part, parts = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
store = open_store(url)
for name, size in sorted(store.sizes().items())[part::parts]:
    for start in range(0, size, BLOCK_BYTES):
        store.get_range(name, start, min(BLOCK_BYTES, size - start))
"""
OURS = """
import sys, time
from pathlib import Path
from unbraid.datasets.packing.pack import pack
from unbraid.datasets.sources.folder import read_folder
from unbraid.datasets.store import FolderStore
source, output, size = sys.argv[1:]
size = None if size == "as-is" else tuple(map(int, size.split("x")))
started = time.perf_counter()
pack(read_folder(Path(source), "bench", size=size), FolderStore(Path(output), create=True), lambda text: None)
print(time.perf_counter() - started)
"""


def photograph(side: int, seed: int) -> NDArray[np.uint8]:
    """Draw (side, side, 3) with the spectrum of photographs: in each octave half the amplitude of the one before."""
    generator = np.random.default_rng(seed)
    total = np.zeros((side, side, 3), np.float32)
    for octave in range(2, side.bit_length()):
        cells = 1 << octave
        noise = (generator.normal(0, 1, (cells, cells, 3)) + 1.5 * generator.normal(0, 1, (cells, cells, 1))).astype(np.float32)
        layers = [Image.fromarray(noise[:, :, c]).resize((side, side), Image.Resampling.BICUBIC) for c in range(3)]
        total += np.stack([np.asarray(layer) for layer in layers], -1) * (216 / cells**0.9)
    return (128 + total).clip(0, 255).astype(np.uint8)


def prepare(side: int) -> Path:
    """Return the folder of JPEGs of one size; draw them first if they are not there."""
    folder = FOLDER / str(side)
    if folder.exists():
        return folder
    partial = folder.with_suffix(".partial")
    partial.mkdir(parents=True, exist_ok=True)
    drawn = [photograph(side, seed) for seed in range(DISTINCT)]
    for number in range(IMAGES):
        shifted = np.roll(drawn[number % DISTINCT], (7 * number % side, 13 * number % side), (0, 1))
        buffer = io.BytesIO()
        Image.fromarray(shifted).save(buffer, "JPEG", quality=80 + number % 16)
        (partial / f"{number:06d}.jpg").write_bytes(buffer.getvalue())
    return partial.rename(folder)


def speed(command: list[str], source: Path, how: str) -> float | None:
    """Return images/s of a command that writes SOURCE to OUTPUT; None when it does not run here."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as output:
        done = subprocess.run(
            [*command, str(source), str(Path(output) / "set"), how], capture_output=True, text=True, check=False, timeout=300
        )
    if done.returncode:
        print(f"{command[-1]}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return IMAGES / float(done.stdout.split()[-1])


def ours(source: Path, how: str) -> float:
    """Return our images/s, from listing the folder to the written index."""
    measured = speed([sys.executable, "-c", OURS], source, how)
    if measured is None:
        raise RuntimeError("packing failed")
    return measured


def peer(name: str, source: Path, how: str) -> float | None:
    """Return images/s of another tool."""
    return speed([str(peers_python()), str(WRITERS_SCRIPT), name], source, how)


def throughput(figures: Figures, task: str) -> None:
    """Report images/s of all writers, and the ratio to the best; as is, also to the best that decodes every image as we do."""
    side, how = TASKS[task]
    source = prepare(side)
    others = [(name, how) for name in PEERS] + ([(name, "decoded") for name in PEERS] if how == "as-is" else [])
    rounds: list[dict[str, float]] = []
    for number in range(ROUNDS):  # interleaved and in turned order, so that other load on the machine affects all alike
        found: dict[str, float] = {}
        for name, way in [("ours", how), *others][:: -1 if number % 2 else 1]:
            measured = ours(source, way) if name == "ours" else peer(name, source, way)
            if measured is not None:
                found[f"{name}.decoded" if way == "decoded" else name] = measured
        rounds.append(found)
    for key in sorted(rounds[0], key=lambda key: (key != "ours", key)):
        figures.figure(f"{task}.{key}", statistics.median(r[key] for r in rounds if key in r), "images/s", digits=0)
    for label, decoded in (("best_peer", False), ("best_peer_that_decodes", True)):
        peers = [[v for k, v in r.items() if k != "ours" and k.endswith(".decoded") == decoded] for r in rounds]
        if all(peers):
            ratios = [r["ours"] / max(of_round) for r, of_round in zip(rounds, peers, strict=True)]
            figures.figure(f"{task}.ratio_to_{label}", statistics.median(ratios), "x", ">= 1", digits=2)


def prepare_tars() -> Path:
    """Return a folder of WebDataset tars of the larger JPEGs, each with a class; write them first if they are not there."""
    folder = FOLDER / "tars"
    if folder.exists():
        return folder
    partial = folder.with_suffix(".partial")
    partial.mkdir(parents=True, exist_ok=True)
    images = [path.read_bytes() for path in sorted(prepare(256).glob("*.jpg"))]
    for number in range(TARS):
        with tarfile.open(partial / f"set-{number:03d}.tar", "w") as tar:
            for place, image in enumerate(images):
                for extension, content in (("jpg", image), ("cls", b"%d" % (place % 10))):
                    member = tarfile.TarInfo(f"{number:03d}{place:06d}.{extension}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return partial.rename(folder)


def index_speed(url: str) -> float:
    """Return GB/s of indexing all tars at a URL, processes and imports included."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as output:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", INDEX, url, output], check=True, capture_output=True)
        return TARS * (FOLDER / "tars/set-000.tar").stat().st_size / 1e9 / (time.perf_counter() - started)


def read_speed(url: str) -> float:
    """Return GB/s of reading the same tars in the same blocks, by as many processes, without a look at them."""
    started = time.perf_counter()
    parts = [subprocess.Popen([sys.executable, "-c", READ, url, str(part), "2"]) for part in range(2)]
    if any(part.wait() for part in parts):
        raise RuntimeError("reading failed")
    return TARS * (FOLDER / "tars/set-000.tar").stat().st_size / 1e9 / (time.perf_counter() - started)


def rewrite_speed(name: str, tars: Path) -> float | None:
    """Return GB/s at which another tool reads the tars from disk and writes shards of its own."""
    script = Path(__file__).parent / "peers" / "rewrite.py"
    paths = sorted(map(str, tars.glob("*.tar")))
    with tempfile.TemporaryDirectory(dir=FOLDER) as output:
        command = [str(peers_python()), str(script), name, *paths, f"{output}/set"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        print(f"{name}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return sum(path.stat().st_size for path in tars.glob("*.tar")) / 1e9 / float(done.stdout.split()[-1])


def indexing(figures: Figures) -> None:
    """Index tars on disk and on S3, beside reading alone and beside tools that must write them anew."""
    tars = prepare_tars()
    use_local_services()
    store = open_store("s3://unbraid/bench-tars", create=True)
    for path in sorted(tars.glob("*.tar")):
        store.put_file(path.name, path)
    rounds: list[dict[str, float]] = []
    for number in range(ROUNDS):
        measures: list[tuple[str, Callable[[], float | None]]] = [
            ("disk", partial(index_speed, str(tars))),
            ("s3", partial(index_speed, store.url)),
            ("s3.reading_alone", partial(read_speed, store.url)),
            *((f"{name}.writing_anew", partial(rewrite_speed, name, tars)) for name in PEERS[:2]),
        ]
        found = {key: measure() for key, measure in measures[:: -1 if number % 2 else 1]}
        rounds.append({key: value for key, value in found.items() if value is not None})
    for key in rounds[0]:
        figures.figure(f"index.{key}", statistics.median(r[key] for r in rounds if key in r), "GB/s", digits=3)
    share = statistics.median(r["s3"] / r["s3.reading_alone"] for r in rounds)
    figures.figure("index.s3.share_of_reading_alone", share, "of what the store gives", digits=2)
    peers = [max((v for k, v in r.items() if "writing_anew" in k), default=0) for r in rounds]
    if all(peers):
        ratios = [r["disk"] / best for r, best in zip(rounds, peers, strict=True)]
        figures.figure("index.ratio_to_best_peer", statistics.median(ratios), "x", ">= 1", digits=2)
    discard(store, store.keys())


def fuzz(figures: Figures) -> None:
    """Pack damaged images, and read what was packed as training does."""
    packed = read = 0
    for number in range(FUZZED_SETS):
        with tempfile.TemporaryDirectory() as place:
            kind = ("folder", "zip", "tar")[number % 3]
            source = write_damaged(Path(place) / "raw", Random(1_000_000 + number), kind, FILES_OF_A_SET)
            size = (16, 16) if number % 2 else None
            try:
                opened = read_folder(source, "fuzz", size=size, any_size=True, test_share=0)
            except DataError:
                continue  # not one image can be read
            store = FolderStore(Path(place) / "set", create=True)
            index = pack(opened, store, lambda text: None, max_skipped=FILES_OF_A_SET)
            packed += sum(shard.count for shards in index.splits.values() for shard in shards)
            fit = (16, 16) if index.fields["image"].has_several_sizes else None
            read += decodable(store.url, fit)
    figures.figure("fuzz.files", FUZZED_SETS * FILES_OF_A_SET, "files tried", digits=0)
    figures.figure("fuzz.accepted", packed, "packed", digits=0)
    figures.figure("fuzz.undecodable", packed - read, "of those", "0", digits=0)


def decodable(url: str, fit: tuple[int, int] | None) -> int:
    """Return how many samples of a set are read before one cannot be."""
    read = 0
    try:
        for batch in read_split(url, "train", 1, fit=fit):
            read += len(batch["image"])
    except DataError as error:
        print(error, file=sys.stderr)
    return read


def main() -> None:
    figures = Figures("packing", "0")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for task in TASKS:
        if figures.wants(task):
            throughput(figures, task)
    if figures.wants("index"):
        indexing(figures)
    if figures.wants("fuzz"):
        fuzz(figures)
    for left in FOLDER.glob("tmp*"):
        shutil.rmtree(left)


if __name__ == "__main__":
    main()
