"""What it costs to use what was trained: single images against the bare network, first image, import, page.

A run of `infogan-mnist-reference` of 20 updates on scikit-learn's digits is made for it; its networks are of the paper's size.
The part `slider` needs chromium.
"""

import queue
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import torch

import unbraid
from benchmarks.figures import Figures
from tests.conftest import pack_digits
from unbraid.cluster.commands.generate.pictures import write_many
from unbraid.datasets.store import open_store
from unbraid.models.infogan.codes import latent_vector, sample_codes
from unbraid.trainers.systems.infogan.inference import DRAWN_AT_ONCE, InfoGAN
from unbraid.trainers.use.page.page import page
from unbraid.trainers.use.run import Run

IMAGES = 4096
ROUNDS = 3
MOVES = """<script>
const slider = document.querySelector("#explorer input");
const took = [];
const next = (step) => {
  if (step > Number(slider.max)) { new Image().src = `http://127.0.0.1:PORT/${Math.max(...took)}`; return; }
  const from = performance.now();
  slider.value = step;
  slider.dispatchEvent(new Event("input"));
  document.querySelector("canvas").getContext("2d").getImageData(0, 0, 1, 1);  // waits until it is drawn
  took.push(performance.now() - from);
  setTimeout(() => next(step + 1), 20);
};
window.addEventListener("load", () => setTimeout(() => next(0), 200));
</script>"""


def seconds(work: Callable[[], object]) -> float:
    """The median of a few rounds."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        rounds.append(time.perf_counter() - started)
    return statistics.median(rounds)


def trained(folder: Path) -> Run:
    """A run of a few updates with networks of the paper's size."""
    pack_digits(open_store(str(folder / "digits"), create=True))
    changes: dict[str, Any] = {
        "data.url": str(folder / "digits"),
        "data.validation_split": "test",
        "run.storage": str(folder / "runs"),
        "run.updates": 20,
        "run.name": "bench",
        "run.preview_every": 10,
    }
    return unbraid.train("infogan-mnist-reference", **changes)


def measure_images(figures: Figures, model: InfoGAN, folder: Path) -> None:
    """Single PNGs on the disk, against the generator alone on batches of the same size."""
    source = model.random(0)
    latent = latent_vector(model.networks.codes, sample_codes(model.networks.codes, source, DRAWN_AT_ONCE))

    def bare() -> None:
        with torch.no_grad():
            for _ in range(IMAGES // DRAWN_AT_ONCE):
                model.networks.generator(latent)

    def written() -> None:
        shutil.rmtree(folder / "drawn", ignore_errors=True)
        write_many(model.stream(IMAGES), IMAGES, folder / "drawn")

    alone, whole = seconds(bare), seconds(written)
    figures.figure("network", IMAGES / alone, "images/s, the generator alone", digits=0)
    figures.figure("generate", IMAGES / whole, "images/s, single PNGs on the disk", digits=0)
    figures.figure("generate_ratio", alone / whole, "of the generator alone", ">= 0.9")


def python(words: str) -> None:
    """Run a line in a process of its own."""
    subprocess.run([sys.executable, "-c", words], check=True)


def measure_start(figures: Figures, run: Run, folder: Path) -> None:
    """Importing the package, and a first image from a stored run, each in a process of its own."""
    nothing, imported = (seconds(partial(python, words)) for words in ("", "import unbraid"))
    figures.figure("import", imported - nothing, "s more than Python alone", "<= 0.1")
    command = [sys.executable, "-m", "unbraid.cluster.cli", "generate", "infogan", "sample", run.url]
    command += ["--output", str(folder / "a.png")]
    figures.figure("first_image", seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)), "s", "<= 4")


def measure_page(figures: Figures, run: Run, folder: Path) -> None:
    """The page of the run: seconds to draw it, its size, and its answer to a moved slider."""
    figures.figure("page", seconds(lambda: page(run)), "s", "<= 15")
    text = page(run)
    figures.figure("page_size", len(text.encode()) / 1e6, "MB", "<= 15")
    chromium = shutil.which("chromium")
    if chromium is None:
        print("chromium is missing: the slider is not measured")
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), Told) as server:
        moves = MOVES.replace("PORT", str(server.server_address[1]))
        open_page = re.sub("<meta http-equiv=Content-Security-Policy[^>]*>", "", text).replace("</body>", f"{moves}</body>")
        (folder / "page.html").write_text(open_page)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/chromium"]
        arguments += ["--remote-debugging-port=0", f"file://{folder}/page.html"]  # which keeps it open
        browser = subprocess.Popen([chromium, *arguments], stderr=subprocess.DEVNULL)
        try:
            figures.figure("slider", Told.answers.get(timeout=60), "ms, the slowest step", "<= 100", digits=1)
        finally:
            browser.kill()
            browser.wait()
            server.shutdown()


class Told(BaseHTTPRequestHandler):
    """Takes the number that the page asks for."""

    answers: ClassVar[queue.Queue[float]] = queue.Queue()

    def do_GET(self) -> None:
        """Keep the number."""
        if self.path != "/favicon.ico":
            self.answers.put(float(self.path[1:]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        """Print nothing."""


def main() -> None:
    figures = Figures("use", "0")
    with tempfile.TemporaryDirectory(prefix="unbraid-bench-use-") as temporary:
        folder = Path(temporary)
        run = trained(folder)
        model = run.model()
        assert isinstance(model, InfoGAN)
        if figures.wants("images"):
            measure_images(figures, model, folder)
        if figures.wants("start"):
            measure_start(figures, run, folder)
        if figures.wants("page"):
            measure_page(figures, run, folder)


if __name__ == "__main__":
    main()
