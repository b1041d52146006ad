"""Pictures of the auto-encoder of strokes."""

import torch
from torch import Tensor

from unbraid.trainers.data import EvaluationData
from unbraid.trainers.runs.pictures import sheet
from unbraid.trainers.step.images import normalised, unit_range
from unbraid.trainers.system import Measures, Pictures
from unbraid.trainers.systems.tally.model import Model

SHOWN = 4


def preview(model: Model, data: EvaluationData) -> Pictures:
    """Draw ``rebuilt``: held-out images above, below what becomes of them."""
    batch = next(data.held_out(limit=SHOWN))
    images = normalised(batch["image"])
    rebuilt = model.decode(model.encode(images), batch["count"])
    return {"rebuilt": sheet(_in_colour(torch.cat([images, rebuilt])), len(images))}


def figures(model: Model, data: EvaluationData, scores: Measures) -> Pictures:
    """Draw ``counted``, see :func:`counted`."""
    return {"counted": counted(model, data, model.autoencoder.counts.num_embeddings)}


def counted(model: Model, data: EvaluationData, counts: int) -> Tensor:
    """Draw each of some images with every number of strokes, a column a number."""
    style = model.encode(normalised(next(data.held_out(limit=SHOWN))["image"])).repeat_interleave(counts, 0)
    numbers = torch.arange(counts, device=model.device).repeat(len(style) // counts)
    return sheet(_in_colour(model.decode(style, numbers)), counts)


def _in_colour(images: Tensor) -> Tensor:
    """[-1, 1] of any number of channels → [0, 1], (N, 3, H, W)."""
    return unit_range(images).expand(-1, 3, -1, -1)
