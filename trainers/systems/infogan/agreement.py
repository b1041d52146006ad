"""How far the codes of two InfoGANs mean the same, for ModelCentrality; needs no label and no real image."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import normalized_mutual_info_score

from unbraid.models.infogan.codes import latent_vector, sample_codes
from unbraid.models.random import RandomSource
from unbraid.trainers.step.distributed import World
from unbraid.trainers.systems.infogan.model import Model

AGREEMENT_SEED = 20_200_712
BATCHES, BATCH = 8, 500
Table = NDArray[np.float64]


@torch.no_grad()
def agreement(reader: Model, drawer: Model) -> float:
    """How well ``reader`` finds the codes that the drawer's images were drawn with, in [0, 1], the mean over codes.

    Categorical codes are compared by normalised mutual information, continuous ones by squared correlation, each with the code
    of the reader that it is matched to: the order of codes, the numbers of classes and the direction of a continuous code are
    each model's own. (Lin et al. count how often FactorVAE's vote finds the code that was held fixed. With few codes that is
    always; these numbers also tell whether two models draw the borders between classes alike.)
    """
    source = RandomSource(AGREEMENT_SEED, drawer.device)
    drawn = [sample_codes(drawer.codes, source, BATCH) for _ in range(BATCHES)]
    images = [drawer.draw(latent_vector(drawer.codes, codes)) for codes in drawn]
    q = reader.reader(images, World())
    read = [q.read(batch) for batch in images]
    classes = torch.cat([torch.stack([p.argmax(1) for p in r.logits], 1) if r.logits else r.mean[:, :0].long() for r in read])
    means = torch.cat([r.mean for r in read]).cpu().double().numpy()
    parts = [
        matched(_information(torch.cat([codes.categorical for codes in drawn]).cpu().numpy(), classes.cpu().numpy())),
        matched(_correlation(torch.cat([codes.continuous for codes in drawn]).cpu().double().numpy(), means)),
    ]
    return float(np.concatenate(parts).mean())


def matched(table: Table) -> Table:
    """Match rows to columns one to one for the largest sum; returns each row's value, 0 for unmatched rows."""
    values = np.zeros(len(table))
    rows, columns = linear_sum_assignment(-table)
    values[rows] = table[rows, columns]
    return values


def _information(drawn: NDArray[np.int64], read: NDArray[np.int64]) -> Table:
    rows = [[normalized_mutual_info_score(a, b) for b in read.T] for a in drawn.T]
    return np.array(rows, np.float64).reshape(drawn.shape[1], read.shape[1])


def _correlation(drawn: Table, read: Table) -> Table:
    table = np.zeros((drawn.shape[1], read.shape[1]))
    for i, a in enumerate(drawn.T):
        for j, b in enumerate(read.T):
            table[i, j] = 0.0 if b.std() == 0 else np.corrcoef(a, b)[0, 1] ** 2
    return table
