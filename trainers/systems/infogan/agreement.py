"""How far two InfoGANs mean the same by their codes, which ModelCentrality is made of. No label and no real image is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import normalized_mutual_info_score

from unbraid.models.infogan.codes import latent_vector, sample_codes, split_head
from unbraid.models.random import RandomSource

if TYPE_CHECKING:
    from unbraid.trainers.systems.infogan.system import InfoGAN

AGREEMENT_SEED = 20_200_712
BATCHES, BATCH = 8, 500
Table = NDArray[np.float64]


@torch.no_grad()
def agreement(reader: InfoGAN, maker: InfoGAN) -> float:
    """What the reader finds in the maker's images of what the maker put there, the mean over the maker's codes, in [0, 1].

    Categorical codes by normalised mutual information, continuous ones by squared correlation, each with the code of the
    reader that it is matched to: which code is called first, how classes are numbered and the direction of a continuous code
    are each model's own. (Lin et al. count here how often FactorVAE's vote finds the code that was held. With few codes that
    is always; these numbers also tell whether two models draw the borders between classes alike.)
    """
    source = RandomSource(AGREEMENT_SEED, maker.device)
    put = [sample_codes(maker.codes, source, BATCH) for _ in range(BATCHES)]
    images = [maker.draw(latent_vector(maker.codes, codes)) for codes in put]
    critics = reader.reader(images)
    read = [split_head(reader.codes, critics.read(batch)) for batch in images]
    classes = torch.cat([torch.stack([p.argmax(1) for p in r.logits], 1) if r.logits else r.mean[:, :0].long() for r in read])
    means = torch.cat([r.mean for r in read]).cpu().double().numpy()
    parts = [
        matched(_information(torch.cat([codes.categorical for codes in put]).cpu().numpy(), classes.cpu().numpy())),
        matched(_correlation(torch.cat([codes.continuous for codes in put]).cpu().double().numpy(), means)),
    ]
    found = np.concatenate(parts)
    return float(found.mean())


def matched(table: Table) -> Table:
    """Of each row its value in the best one-to-one matching with columns; 0 for rows that find none."""
    values = np.zeros(len(table))
    rows, columns = linear_sum_assignment(-table)
    values[rows] = table[rows, columns]
    return values


def _information(put: NDArray[np.int64], read: NDArray[np.int64]) -> Table:
    rows = [[normalized_mutual_info_score(a, b) for b in read.T] for a in put.T]
    return np.array(rows, np.float64).reshape(put.shape[1], read.shape[1])


def _correlation(put: Table, read: Table) -> Table:
    table = np.zeros((put.shape[1], read.shape[1]))
    for i, a in enumerate(put.T):
        for j, b in enumerate(read.T):
            table[i, j] = 0.0 if b.std() == 0 else np.corrcoef(a, b)[0, 1] ** 2
    return table
