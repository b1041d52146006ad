"""Shares of mutants killed: small faults in models, steps, measures, order, checkpoints and leases that some test sees.

Mutants are those of :mod:`benchmarks.mutation.operators`; of a file with more than ``SAMPLE`` a seeded sample is tried. Each is
tried with the tests that ``GUARDS`` names for its file and that call the function it is in, fastest first, until one fails.
Results are kept in ``.unbraid/mutants``, so that a run goes on where it was ended; survivors are tried again after a test has
changed. Survivors are listed on standard error.
"""

from __future__ import annotations

import ast
import hashlib
import json
import random
import sys
import time
from pathlib import Path

from benchmarks.figures import Figures
from benchmarks.mutation.operators import Mutant, identity, mutants, mutated
from benchmarks.mutation.trial import ROOT, Plugin, Trial, copied_trees, finished, warm_up
from unbraid.datasets.shards.index import VERSION

SEED, SAMPLE, AT_ONCE = 0, 12, 3
BROKEN = (3, 4, 5)
"""Exit statuses of pytest that say nothing of a mutant: internal error, wrong usage, no tests."""
CACHE = ROOT / ".unbraid" / "mutants"
MODELS, SYSTEMS, STEP, RUNS = "tests/models", "tests/trainers/systems", "tests/trainers/step", "tests/trainers/runs"
INFOGAN, DPIG, CDD = (f"{SYSTEMS}/{name}/test_system.py" for name in ("infogan", "dpig", "cdd"))
INFOGAN_SIGNS, DPIG_SIGNS = (f"{SYSTEMS}/{name}/test_signs.py" for name in ("infogan", "dpig"))
DPIG_STEP, CDD_STEP = (f"{SYSTEMS}/{name}/test_step.py" for name in ("dpig", "cdd"))
ALL_STEPS = [f"{STEP}/test_precision.py", f"{STEP}/test_scalars.py", f"{STEP}/test_schedule.py"]
GUARDS: dict[str, dict[str, list[str]]] = {
    "models": {
        "models/augment.py": [MODELS],
        "models/critics.py": [MODELS],
        "models/ema.py": [MODELS],
        "models/image_spec.py": [MODELS],
        "models/initialisation.py": [MODELS],
        "models/losses.py": [MODELS],
        "models/normalization.py": [MODELS],
        "models/random.py": [MODELS],
        "models/infogan/codes.py": [MODELS],
        "models/infogan/networks.py": [MODELS],
        "models/infogan/specs.py": [MODELS],
        "models/dpig/embeddings.py": [MODELS],
        "models/dpig/generator.py": [MODELS],
        "models/dpig/pose.py": [MODELS],
        "models/dpig/specs.py": [MODELS],
        "models/cdd/critics.py": [MODELS],
        "models/cdd/specs.py": [MODELS],
        "models/cdd/translators.py": [MODELS],
    },
    "steps": {
        "trainers/systems/infogan/system.py": [INFOGAN_SIGNS, INFOGAN, *ALL_STEPS],
        "trainers/systems/dpig/appearance/system.py": [DPIG_SIGNS, DPIG_STEP, DPIG, *ALL_STEPS],
        "trainers/systems/dpig/mapping/system.py": [DPIG_SIGNS, DPIG_STEP, DPIG, *ALL_STEPS],
        "trainers/systems/dpig/pose/system.py": [DPIG_SIGNS, DPIG_STEP, DPIG, *ALL_STEPS],
        "trainers/systems/cdd/system.py": [CDD_STEP, CDD, *ALL_STEPS],
        "trainers/systems/cdd/losses.py": [CDD_STEP, CDD, *ALL_STEPS],
    },
    "players": {
        "trainers/step/player.py": [STEP, INFOGAN],
        "trainers/step/schedule.py": [STEP, INFOGAN],
        "trainers/step/adversaries.py": [STEP, INFOGAN],
        "trainers/step/distributed.py": [STEP, INFOGAN],
    },
    "measures": {
        "trainers/systems/infogan/measures.py": [INFOGAN],
        "trainers/systems/dpig/appearance/measures.py": [DPIG],
        "trainers/systems/dpig/mapping/measures.py": [DPIG],
        "trainers/systems/dpig/pose/measures.py": [DPIG],
        "trainers/systems/cdd/measures.py": [CDD],
    },
    "order": {"datasets/stream/order.py": ["tests/datasets/stream/test_order.py"]},
    "checkpoints": {
        "trainers/runs/checkpoint.py": [f"{RUNS}/test_checkpoint.py"],
        "trainers/runs/checkpoint_writer.py": [f"{RUNS}/test_checkpoint_writer.py"],
        "datasets/store/lease.py": ["tests/datasets/store/test_lease.py"],
    },
}
GOALS = {"models": ">= 90", "steps": ">= 90"}
SEEDED = ("models/random.py", "self._generator.manual_seed(int(mine >> np.uint64(1)))")
SEEDED_DEFAULT = ("models/random.py", "torch.manual_seed(int(default >> np.uint64(1)) + self.rank)")
_POSE_LOSS_LINE = 'loss = pose_loss(rebuilt.float(), vectors, counts_missing=self.config.loss.missing == "counted")'
POSE_LOSS = ("trainers/systems/dpig/pose/system.py", _POSE_LOSS_LINE)
EQUIVALENT: dict[tuple[str, str, str], str] = {
    (*SEEDED, "arithmetic"): "any bits of the hash seed as well",
    (*SEEDED, "constant + 1"): "any bits of the hash seed as well",
    (*SEEDED_DEFAULT, "arithmetic"): "any bits of the hash seed as well, and ranks may count down",
    (*SEEDED_DEFAULT, "constant + 1"): "any bits of the hash seed as well",
    ("trainers/systems/cdd/losses.py", "return F.l1_loss(a.float(), b.float())", "method dropped"): "one in float32 is enough",
    (*POSE_LOSS, "method dropped"): "the vectors are float32, and so is a difference with them",
}
"""Mutants that no test can kill, by file, text of the line and kind: why in a few words."""


class Tried:
    """Which mutants of one file were tried, with what result, in a file of its own."""

    def __init__(self, path: str) -> None:
        self.file = CACHE / f"{path.replace('/', '.')}.json"
        self.known: dict[str, str] = json.loads(self.file.read_text()) if self.file.exists() else {}

    def __setitem__(self, key: str, result: str) -> None:
        self.known[key] = result
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(self.known))


def guards(tests: list[str], state: str, tree: Path) -> dict[str, tuple[float, set[str]]]:
    """Tests that pass without a mutant: their seconds, and the functions of modules in ``GUARDS`` that they call."""
    CACHE.mkdir(parents=True, exist_ok=True)
    results = CACHE / f"guards-{state[:16]}-v{VERSION}.json"  # it names packed sets
    if not results.exists():
        code = finished(Trial(tree, tests, Plugin(DATA, tuple(p for of in GUARDS.values() for p in of)), False, results), 1500)
        if not results.exists():
            raise SystemExit(f"{tests} do not run (status {code}), see {tree}/trial.log")
    found = json.loads(results.read_text())
    DATA.update({name: folder for name, folder in found["packed"].items() if Path(folder).exists()})
    for name in found["failed"]:
        print(f"fails without any mutant, left out: {name}", file=sys.stderr)
    return {name: (taken, set(called)) for name, (taken, called) in found["tests"].items() if name not in found["failed"]}


DATA: dict[str, str] = {}
"""Packed once, by the first baseline that needs them."""


def chosen(path: str, tests: dict[str, tuple[float, set[str]]], mutant: Mutant) -> list[str]:
    """Tests for one mutant, fastest first: those that call its function.

    For what an import runs: all of the files in which some test calls any function of the module.
    """
    wanted = f"{path}:{mutant.function}"
    calling = {name for name, (_, called) in tests.items() if any(c.startswith(wanted) for c in called)}
    if mutant.function:
        calling = {name for name, (_, called) in tests.items() if wanted in called}
    else:
        files = {name.partition("::")[0] for name in calling}
        calling = {name for name in tests if name.partition("::")[0] in files}
    return sorted(calling, key=lambda name: tests[name][0])


def tried(path: str, tests: list[str], trees: list[Path]) -> tuple[int, int, int]:
    """Mutants of one file: killed, tried, and all that there are."""
    source = (trees[0] / path).read_text()
    lines = source.splitlines()
    every = [m for m in mutants(source) if (path, lines[m.line - 1].strip(), m.kind) not in EQUIVALENT]
    random.Random(f"{SEED} {path}").shuffle(every)
    sample = every[:SAMPLE]
    known, state = Tried(path), _digest(trees[0], tests)
    killed, waiting = 0, []
    for mutant in sorted(sample, key=lambda m: m.line):
        key = identity(source, mutant)
        if known.known.get(key) == "killed":
            killed += 1
        elif known.known.get(key) == state:
            _survived(path, lines, mutant)
        else:
            waiting.append((key, mutant))
    if waiting:
        guarding = guards(tests, state, trees[0])
        _control(path, source, guarding, trees[0])
        killed += _try(path, source, waiting, guarding, known, state, trees)
    return killed, len(sample), len(every)


def _control(path: str, source: str, guarding: dict[str, tuple[float, set[str]]], tree: Path) -> None:
    """The tests must pass on the source as mutants are written, without a fault.

    Raises:
        SystemExit: when they do not, and kills would mean nothing.
    """
    (tree / path).write_text(ast.unparse(ast.parse(source)))
    names = [name for name, (_, called) in guarding.items() if any(c.startswith(path) for c in called)]
    code = finished(Trial(tree, names, Plugin(DATA), True), 600)
    (tree / path).write_text(source)
    if code:
        raise SystemExit(f"tests of {path} fail without a fault (status {code}), see {tree}/trial.log")


def _try(
    path: str,
    source: str,
    waiting: list[tuple[str, Mutant]],
    guarding: dict[str, tuple[float, set[str]]],
    known: Tried,
    state: str,
    trees: list[Path],
) -> int:
    killed, free = 0, list(trees)
    running: dict[str, tuple[Trial, Mutant, float]] = {}
    waiting = list(waiting)
    while waiting or running:
        while waiting and free:
            key, mutant = waiting.pop(0)
            names = chosen(path, guarding, mutant)
            if not names:
                known[key] = state
                _survived(path, source.splitlines(), mutant, "no test calls it")
                continue
            tree = free.pop()
            (tree / path).write_text(mutated(source, mutant))
            limit = 30 + 5 * sum(guarding[name][0] for name in names)
            running[key] = (Trial(tree, names, Plugin(DATA), True), mutant, limit)
        for key, (trial, mutant, limit) in list(running.items()):
            code = trial.code()
            if code is None and time.monotonic() - trial.started > limit:
                trial.end()
                code = -1
            if code is None:
                continue
            if code in BROKEN:
                raise SystemExit(f"pytest could not try a mutant of {path} (status {code}), see {trial.tree}/trial.log")
            del running[key]
            (trial.tree / path).write_text(source)
            free.append(trial.tree)
            known[key] = "killed" if code else state
            killed += bool(code)
            if not code:
                _survived(path, source.splitlines(), mutant)
        time.sleep(0.02)
    return killed


def _survived(path: str, lines: list[str], mutant: Mutant, remark: str = "") -> None:
    place, text = f"{path}:{mutant.line}", lines[mutant.line - 1].strip()
    print(f"survived: {place}: {mutant.kind}: {text} {remark}", file=sys.stderr, flush=True)


def _digest(tree: Path, tests: list[str]) -> str:
    """Of the files that hold these tests."""
    files = [file for name in tests for file in sorted((tree / name).rglob("*.py")) or [tree / name]]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def main() -> None:
    """Try the mutants of each group."""
    figures = Figures("mutants", str(SEED))
    warm_up()
    trees = copied_trees(AT_ONCE)
    for group, files in GUARDS.items():
        counts = [tried(path, tests, trees) for path, tests in files.items() if figures.wants(f"{group}:{path}")]
        if not counts:
            continue
        killed, sampled, every = (sum(column) for column in zip(*counts, strict=True))
        figures.figure(group, 100 * killed / sampled, f"% killed, {sampled} sampled of {every}", GOALS.get(group), 1)


if __name__ == "__main__":
    main()
