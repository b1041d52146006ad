"""Measures of the auto-encoder of strokes."""

import torch

from unbraid.trainers.data import EvaluationData
from unbraid.trainers.step.distributed import gather_parts
from unbraid.trainers.step.images import normalised
from unbraid.trainers.systems.tally.model import Model


def evaluate(model: Model, data: EvaluationData) -> dict[str, float]:
    """How near rebuilt images come, how far styles differ, and, where slants are known, how the style follows them."""
    differences, styles, slants = [], [], []
    for batch in data.held_out():
        images = normalised(batch["image"])
        style = model.encode(images)
        styles.append(style)
        differences.append((model.decode(style, batch["count"]) - images).abs().mean((1, 2, 3)))
        if "slant" in batch:
            slants.append(batch["slant"].float())
    style = torch.cat(gather_parts(styles, data.world))
    scores = {
        "rebuilt/l1": torch.cat(gather_parts(differences, data.world)).mean().item(),
        "style/deviation": style.std(0).mean().item(),
    }
    if data.world.any(bool(slants)):
        slant = torch.cat(gather_parts(slants, data.world))
        table = torch.corrcoef(torch.cat([slant[:, None], style], 1).T)
        scores["style/slant_correlation"] = table[0, 1:].abs().nan_to_num().max().item()
    return scores
