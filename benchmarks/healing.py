"""Every file of a small finished run, a campaign and a set, damaged one at a time: what commands make of it.

Files are cut at random, zeroed, and replaced by JSON of another shape and by binary. An answer or one clear error is asked of
each command that may read the file, and of a launch that goes on with the run. Models are neither measured nor drawn: see
``tests/unmeasured.py``, and ``tests/security/healing.py``, of which the tests try a part.
"""

import sys
import tempfile
from pathlib import Path

from benchmarks.figures import Figures
from tests.security.healing import EVERY, UPDATES, Answer, build, damages, is_trained_from, readers, try_readers, try_training
from tests.unmeasured import without_measures

SEED = 0
NEEDED = ("runs/mine/config.yaml", "set/")
"""Without these, nobody knows what is to be learnt: a launch that is refused in one clear sentence has done what it can."""


def main() -> None:
    """Damage, ask, count."""
    figures = Figures("healing", f"{SEED}")
    answers: list[Answer] = []
    launches: list[tuple[str, Answer]] = []
    damaged: set[tuple[str, str]] = set()
    with tempfile.TemporaryDirectory() as folder, without_measures():
        root = Path(folder) / "whole"
        root.mkdir()
        build(root)
        for file, kind, content in damages(root, SEED):
            damaged.add((file, kind))
            answers += try_readers(root, file, content, readers(root, file))
            if is_trained_from(file):
                launches.append((file, try_training(root, file, content)))
    answers += [answer for _, answer in launches]
    broken = [answer for answer in answers if not answer.clear]
    for answer in broken:
        print(" ".join(answer.words), answer.text, sep="\n", file=sys.stderr)
    figures.figure("files_damaged", len({file for file, _ in damaged}), f"files, {len(damaged)} contents", digits=0)
    figures.figure("commands_tried", len(answers), "commands", digits=0)
    figures.figure(
        "commands_answered", sum(answer.went_on for answer in answers), "with an answer, the others with an error", digits=0
    )
    figures.figure("tracebacks", len(broken), "commands", "0", digits=0)
    healed = [answer for file, answer in launches if not file.startswith(NEEDED)]
    figures.figure("runs_went_on", sum(a.went_on for a in healed), f"of {len(healed)} launches", f"{len(healed)}", digits=0)
    needed = [answer for file, answer in launches if file.startswith(NEEDED)]
    refused = sum(not answer.went_on for answer in needed)
    figures.figure(
        "runs_refused", refused, f"of {len(needed)} launches without a configuration or a set, in one sentence", digits=0
    )
    lost = [UPDATES - answer.begun_at for answer in healed if answer.went_on]
    figures.figure("updates_lost", sum(lost), f"updates in {len(lost)} launches", digits=0)
    figures.figure("updates_lost_at_most", max(lost, default=0), "updates of a launch", f"<= {EVERY}, a checkpoint's", digits=0)


if __name__ == "__main__":
    main()
