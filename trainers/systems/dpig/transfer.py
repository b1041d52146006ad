"""How pose-guided generation is measured: one image of a person in the pose of another, against that other."""

from __future__ import annotations

import logging
from collections.abc import Callable

from torch import Tensor

from unbraid.trainers.data import EvaluationData
from unbraid.trainers.measures.fidelity import inception_scores
from unbraid.trainers.measures.similarity import image_quality
from unbraid.trainers.measures.similarity_pg2 import image_quality_pg2
from unbraid.trainers.step.distributed import on_main
from unbraid.trainers.step.images import unit_range
from unbraid.trainers.systems.dpig.people import People, same_person_pairs

log = logging.getLogger("unbraid")


def transfer_scores(
    people: People, masks: Tensor, posed: Callable[[Tensor, Tensor], Tensor], data: EvaluationData
) -> dict[str, float]:
    """``transfer/…``; empty, with one warning, where no person is seen twice.

    Args:
        masks: (N, 1, H, W) body masks of the people.
        posed: takes rows of conditions and of targets, (P,) each; returns the conditions in the targets' poses (P, 3, H, W).
        data: that the people are from.
    """
    condition, target = same_person_pairs(people)
    if not len(condition):
        if data.world.is_main:
            log.warning(
                "transfer/… is left out: of %d images in split %s of %s no two show one person (field person); measure a split "
                "with several images of each", len(people), data.split, data.config.data.url,
            )  # fmt: skip
        return {}
    real = unit_range(people.images)[target]
    fake = unit_range(posed(condition, target))
    quality = image_quality(fake, real, masks[target]) | image_quality_pg2(fake, real, masks[target])

    def inception() -> dict[str, float]:
        masked = inception_scores(fake * masks[target], real * masks[target])
        return inception_scores(fake, real) | {f"mask_{name}": value for name, value in masked.items()}

    quality |= on_main(inception, data.world)
    return {f"transfer/{name}": value for name, value in quality.items()}
