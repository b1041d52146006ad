"""How well an unsupervised assignment to clusters finds known classes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Clustering:
    """N samples in clusters, compared with their true classes.

    Attributes:
        accuracy: share of samples whose code is the one matched to their class, best one-to-one matching
            (Hungarian). With more codes than classes the unmatched codes count as wrong.
        nmi: normalised mutual information, arithmetic mean of the entropies.
        ari: adjusted Rand index, 0 for chance.
        counts: (codes, classes) samples of each pair.
        order: codes, sorted by the class that each was matched to; unmatched ones last.
    """

    accuracy: float
    nmi: float
    ari: float
    counts: NDArray[np.int64]
    order: NDArray[np.int64]


def clustering(assigned: NDArray[np.int64], classes: NDArray[np.int64], codes: int) -> Clustering:
    """Compare ``assigned`` codes (N,) with true ``classes`` (N,).

    Raises:
        ValueError: when there are no samples or the lengths differ.
    """
    # two seconds to import on a slow core, needed at evaluation only
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    if len(assigned) == 0 or len(assigned) != len(classes):
        raise ValueError(f"expected as many codes as classes and at least one, got {len(assigned)} and {len(classes)}")
    counts = np.zeros((codes, int(classes.max()) + 1), dtype=np.int64)
    np.add.at(counts, (assigned, classes), 1)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    matched = rows[np.argsort(columns)]
    order = np.concatenate([matched, np.setdiff1d(np.arange(codes), matched)])
    return Clustering(
        accuracy=float(counts[rows, columns].sum() / len(classes)),
        nmi=float(normalized_mutual_info_score(classes, assigned)),
        ari=float(adjusted_rand_score(classes, assigned)),
        counts=counts,
        order=order,
    )
