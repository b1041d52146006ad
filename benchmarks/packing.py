"""Compares packing a folder of JPEGs with other tools' writers on the same files and machine, and packs damaged images.

Installs the other tools in .venv-bench on its first run. Takes about ten minutes on two cores; the machine must be idle
otherwise.
"""

import io
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.figures import Figures
from benchmarks.loader import peers_python
from tests.datasets.packing.damaged_images import write_damaged
from unbraid.datasets.errors import DataError
from unbraid.datasets.packing.pack import pack
from unbraid.datasets.sources.folder import read_folder
from unbraid.datasets.store import FolderStore
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
FUZZED_SETS, FILES_OF_A_SET = 250, 24
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
    if figures.wants("fuzz"):
        fuzz(figures)
    for left in FOLDER.glob("tmp*"):
        shutil.rmtree(left)


if __name__ == "__main__":
    main()
