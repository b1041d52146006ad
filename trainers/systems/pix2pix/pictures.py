"""Pictures that show what a pix2pix has learnt, of fixed images and draws of dropout."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from unbraid.models.random import RandomSource
from unbraid.trainers.data import EvaluationData
from unbraid.trainers.paired.pairs import SHOWN, Pairs, held_out
from unbraid.trainers.runs.pictures import sheet
from unbraid.trainers.step.images import unit_range
from unbraid.trainers.systems.pix2pix.model import Model

PICTURE_SEED = 7
ROWS, COLUMNS = SHOWN // 2, 6


def preview(model: Model, data: EvaluationData) -> dict[str, Tensor]:
    """Held-out images, each with translations of other dropout and the true image, named after the direction."""
    pairs = held_out(data.config, model.device, data.split, SHOWN)[:ROWS]
    return {
        f"{model.source}_to_{model.target}": translation_sheet(model, pairs, COLUMNS, RandomSource(PICTURE_SEED, model.device))
    }


def figures(model: Model, data: EvaluationData, scores: Mapping[str, float]) -> dict[str, Tensor]:
    """``truth``: columns of held-out images, their translations, and the true images."""
    pairs = held_out(data.config, model.device, data.split, SHOWN)
    given, real = pairs.images[model.source], pairs.images[model.target]
    fake = model.translate(given, RandomSource(PICTURE_SEED, model.device))
    return {"truth": sheet(unit_range(torch.cat([given, fake, real])), len(pairs))}


def translation_sheet(model: Model, pairs: Pairs, samples: int, random: RandomSource) -> Tensor:
    """Each row: an image of the source domain, ``samples`` translations with other dropout, and the true image."""
    given, real = pairs.images[model.source], pairs.images[model.target]
    fake = model.translate(given.repeat_interleave(samples, 0), random).unflatten(0, (len(given), samples))
    return sheet(unit_range(torch.cat([given[:, None], fake, real[:, None]], 1).flatten(0, 1)), samples + 2)
