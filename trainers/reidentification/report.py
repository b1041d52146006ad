"""The figures of a reader and of one with fresh weights, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch

from unbraid.datasets.errors import DataError
from unbraid.datasets.passwords import without_password
from unbraid.trainers.reidentification.identities import open_identities
from unbraid.trainers.reidentification.reader import Learning, new_reader, score_reader, train_reader
from unbraid.trainers.reidentification.trial import read_trial, require_repeated

SHOWN = {"rank_1": "rank-1", "rank_5": "rank-5", "rank_10": "rank-10", "map": "mAP", "map_stepwise": "mAP by steps"}
READERS = ("untrained", "trained")


def compare(
    train: tuple[str, str],
    test: tuple[str, str],
    size: tuple[int, int] | None,
    learning: Learning,
    device: torch.device,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Train a reader on one split, and measure it and a fresh one on another.

    Args:
        train, test: set and split.
        size: (height, width) of all images; None: of the training set's.
        report: takes lines on what is read, and on progress.

    Returns:
        What was read, by which rule and how it was learnt, and the scores of each of ``READERS``.

    Raises:
        DataError: when a set cannot be read, both are the same split, or it does not hold several images of several people.
    """
    if train == test:
        raise DataError(f"{test[0]}: split {test[1]!r} is learnt from and measured on; name another split or set to measure")
    learnt, measured = open_identities(train[0]), open_identities(test[0])
    used = size or learnt.size
    if used is None:
        raise DataError(f"{learnt.where}: its images are of several sizes; name the size to resize them to, --size 128x64")
    people = learnt.read(train[1], used)
    require_repeated(people)
    trial = read_trial(measured, test[1], used)
    left_out = len(trial.queries) - trial.answerable
    lines = {
        "learnt": str(people),
        "queries": f"{trial.queries}" + (f"; {left_out:,} without an answer in the gallery are left out" if left_out else ""),
        "gallery": str(trial.gallery),
        "rule": trial.rule,
    }
    lines = {name: without_password(line) for name, line in lines.items()}
    for name, line in lines.items():
        report(f"{name:<8} {line}")
    reader = new_reader(people.identities, learning, device)
    scores = {"untrained": score_reader(reader, trial)}
    train_reader(reader, people, learning, report)
    scores["trained"] = score_reader(reader, trial)
    return {**lines, "size": list(used), "learning": asdict(learning), **scores}


def table(found: Mapping[str, Any]) -> str:
    """The scores of both readers in percent, one line each."""
    head = f"{'':<10}" + "".join(f"{name:>14}" for name in SHOWN.values())
    rows = [f"{reader:<10}" + "".join(f"{100 * found[reader][name]:>13.1f}%" for name in SHOWN) for reader in READERS]
    return "\n".join([head, *rows])
