"""The page of a run: everything in one file, true to the run, safe with strangers' text, and alive in a real browser."""

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import unbraid
from tests.cluster.commands.test_tune import unbraid as command
from unbraid.datasets.store import FolderStore
from unbraid.trainers.runs.record import CONFIG_KEY, METRICS_KEY, RUN_KEY, write_run
from unbraid.trainers.systems.cdd.inference import CDD
from unbraid.trainers.systems.dpig.trained import DPIG
from unbraid.trainers.systems.infogan.inference import InfoGAN
from unbraid.trainers.use.measures import readable
from unbraid.trainers.use.page import sections
from unbraid.trainers.use.page.page import page
from unbraid.trainers.use.run import Run

CHROMIUM = shutil.which("chromium")
MOVES = """<script>
const told = [document.querySelector("canvas").dataset.tile];
for (const slider of document.querySelectorAll("#explorer input")) {
  slider.value = slider.max;
  slider.dispatchEvent(new Event("input"));
  told.push(document.querySelector("canvas").dataset.tile);
}
const figure = document.querySelector("figure.steps");
const shown = () => [...figure.querySelectorAll("img")].findIndex((image) => !image.hidden);
const before = shown();
const slider = figure.querySelector("input");
if (slider) { slider.value = 0; slider.dispatchEvent(new Event("input")); }
const plots = document.querySelectorAll(".js-plotly-plot").length;
document.body.dataset.moved = JSON.stringify({ told, before, after: shown(), plots });
</script>"""
"""Moves each slider of the page to its end, and the first picture to its first update."""


@pytest.fixture
def copied(trained_infogan: Path, tmp_path: Path) -> Run:
    """A run of InfoGAN that a test may change."""
    shutil.copytree(trained_infogan / "info", tmp_path / "info")
    return Run(FolderStore(tmp_path / "info"))


def test_a_page_tells_what_the_run_is_and_loads_nothing(copied: Run) -> None:
    text = page(copied)
    assert len(text.encode()) < 15e6
    assert "default-src 'none'" in text
    own = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)  # plotly's own text names addresses
    assert not re.search(r"(src|href)=['\"]?https?:", own)
    for wanted in ("<h1>info</h1>", "code accuracy", "Explorer", "Curves", "traversal continuous 0", "digest", "Environment"):
        assert wanted in own, wanted
    drawn = json.loads(text.split("id=curves-data>")[1].split("</script>")[0])
    assert {"loss", "info"} <= set(drawn)
    lines = [json.loads(line) for line in copied.store.get(METRICS_KEY).splitlines()]
    (curve,) = [curve for curve in drawn["loss"]["data"] if curve["name"] == "d"]
    assert curve["y"] == [float(f"{line['loss/d']:.5g}") for line in lines if "loss/d" in line]


def test_each_step_of_infogans_explorer_is_drawn_with_its_codes(trained_infogan: Path) -> None:
    model = unbraid.open("info", str(trained_infogan)).model("cpu")
    assert isinstance(model, InfoGAN)
    found = model.explorer()
    names = [axis.name for axis in found.axes]
    assert names == ["noise", "categorical_0", "continuous_0", "continuous_1"]
    grid = list(itertools.product(*(range(len(axis.labels)) for axis in found.axes)))
    assert len(grid) == len(found.images)
    for row in (0, 137, len(grid) - 1):
        values = {axis.name: float(axis.labels[i]) for axis, i in zip(found.axes, grid[row], strict=True)}
        noise = int(values.pop("noise")) - 1
        alone = model.sample(len(found.axes[0].labels), seed=0, **dict(values))
        assert (alone.tensor[noise].int() - found.images.tensor[row].int()).abs().max() <= 1


def test_the_explorers_of_people_and_pairs_exchange_what_they_say(trained_dpig: Path, trained_cdd: Path) -> None:
    dpig = unbraid.open("mapping", str(trained_dpig)).model("cpu")
    assert isinstance(dpig, DPIG)
    people = dpig.explorer()
    count = len(people.axes[0].labels)
    assert [axis.name for axis in people.axes] == ["foreground", "background", "pose"]
    assert len(people.images) == count**3
    same_pose = people.images.tensor.unflatten(0, (count, count, count))
    assert not torch.equal(same_pose[0, 0, 0], same_pose[0, 0, 1])
    cdd = unbraid.open("cdd", str(trained_cdd)).model("cpu")
    assert isinstance(cdd, CDD)
    pairs = cdd.explorer()
    shared, exclusive = (axis.pictures for axis in pairs.axes)
    assert shared is not None
    assert exclusive is not None
    drawn = cdd.transfer(shared[:2], exclusive[:3], to="y")
    there = pairs.images.tensor.unflatten(0, (len(shared), len(exclusive)))[:2, :3].flatten(0, 1)
    assert (drawn.tensor.int() - there.int()).abs().max() <= 2


def test_text_of_strangers_is_text(copied: Run) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    write_run(copied.store, {"message": evil, "command": f"train {evil}", "device": evil})
    line = json.dumps({"step": 7, f"loss/{evil}": 1.0})
    copied.store.put(
        METRICS_KEY, copied.store.get(METRICS_KEY) + f"{line}\n".encode() + line.replace("7", "8").encode() + b"\n"
    )
    text = page(Run(copied.store))
    assert "<script>alert" not in text
    assert "<img src=x" not in text


def test_a_run_that_has_not_begun_and_one_without_its_data_have_a_page_too(copied: Run) -> None:
    text = copied.store.get(CONFIG_KEY).decode()
    copied.store.put(CONFIG_KEY, text.replace(str(copied.config.data.url), "/nowhere/at/all").encode())
    bare = page(Run(copied.store))
    assert "/nowhere/at/all: " in bare.split("<h2>Data</h2>")[1]
    assert "<canvas" in bare, "the codes need no data"
    for key in copied.store.keys("checkpoints/"):
        copied.store.delete(key)
    copied.store.delete(METRICS_KEY)
    copied.store.delete(RUN_KEY)
    text = page(Run(copied.store))
    assert "Not drawn: " in text
    assert "no checkpoint yet" in text


def test_a_page_that_cannot_be_drawn_takes_no_run_with_it(
    digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unmeasured: None
) -> None:
    def fail(run: Run) -> int:
        raise ValueError("no ink")

    monkeypatch.setattr("unbraid.trainers.use.page.page.write_page", fail)
    where = [f"data.url={digits_folder}", f"run.storage={tmp_path}", "run.updates=2", "run.name=mine", "data.batch=16"]
    done = command("train", "infogan-mnist-small", "--debug", *where)
    assert done.exit_code == 0, done.output
    assert "report.html could not be drawn (no ink)" in done.output
    assert unbraid.open("mine", str(tmp_path)).status == "finished"
    monkeypatch.undo()
    again = command("runs", "report", "mine", "--storage", str(tmp_path))
    assert again.exit_code == 0, again.output
    assert (tmp_path / "mine/report.html").is_file()


def test_information_is_told_beside_what_it_could_be() -> None:
    scores = {
        "info/categorical_0_nats": 2.29,
        "info/categorical_0_ceiling_nats": 2.3026,
        "info/categorical_0_share": 0.994,
        "info/continuous_0_nats": -0.24,
        "info/continuous_0_ceiling_nats": -0.2258,
        "info/continuous_0_share": 0.94,
        "info/share": 0.97,
        "code/accuracy": 0.81234567,
    }
    assert readable(scores) == [
        ("info/categorical_0", "2.29 of 2.30 nats, 99 % of what is attainable"),
        ("info/continuous_0", "94 % of what is attainable"),
        ("info/share", "0.97"),
        ("code/accuracy", "0.8123"),
    ]


def test_many_pictures_are_thinned_to_a_bound(copied: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    one = copied.store.get("preview/samples/00000006.png")
    for update in range(7, 60):
        copied.store.put(f"preview/samples/{update:08d}.png", one)
    block = sections.pictures(copied).split("traversal")[0]
    assert block.count("<img") <= sections.MOST_UPDATES + 1
    assert "update 59" in block
    monkeypatch.setattr(sections, "PICTURES_BYTES", 10_000)
    assert sections.pictures(copied).split("traversal")[0].count("<img") < block.count("<img")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: `apt-get install chromium`")
@pytest.mark.parametrize("name", ["infogan", "dpig", "cdd"])
def test_sliders_move_what_they_should_in_a_real_browser(
    name: str, trained_infogan: Path, trained_dpig: Path, trained_cdd: Path, tmp_path: Path
) -> None:
    storage, run = {"infogan": (trained_infogan, "info"), "dpig": (trained_dpig, "mapping"), "cdd": (trained_cdd, "cdd")}[name]
    found = unbraid.open(run, str(storage))
    (tmp_path / "page.html").write_text(page(found).replace("</body>", f"{MOVES}</body>"))
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=9000"]
    done = subprocess.run(
        [*map(str, command), "--dump-dom", f"file://{tmp_path}/page.html"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    told = re.search(r'data-moved="([^"]*)"', done.stdout)
    assert told is not None
    moved = json.loads(told[1].replace("&quot;", '"'))
    explorer = found.model("cpu").explorer()
    assert explorer is not None
    state, wanted = [axis.start for axis in explorer.axes], []
    for i in range(len(state) + 1):
        if i:
            state[i - 1] = len(explorer.axes[i - 1].labels) - 1
        tile = 0
        for axis, step in zip(explorer.axes, state, strict=True):
            tile = tile * len(axis.labels) + step
        wanted.append(str(tile))
    assert moved["told"][1:] == wanted[1:]
    assert moved["plots"] >= 2
    assert moved["after"] == 0
