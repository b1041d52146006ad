"""Readers of representations: what a linear model, and a small non-linear one, read from features (Alain & Bengio, 2016).

Readers are fitted to training images and scored on others. How strongly they are regularised, or how long they learn, is
chosen on samples that are kept back from the fitting, so that a reader of noise is no worse than the mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KEPT_BACK = 0.2
"""Share of the fitted samples that is kept back for choosing."""
RIDGES = tuple(10.0**power for power in range(-2, 6))
"""Strengths as shares of the features' mean squared norm; the largest leaves the mean."""
MOST_SOLVED = 4000
"""Samples of the system of equations of a ridge regression; the time grows with their square."""
MOST_STEPS, MOST_EPOCHS, LOOKS = 1000, 75, 6
"""Updates of a reader, at most, and times that it is compared on what was kept back."""
BATCH, RATE, WEIGHT_DECAY = 100, 2e-3, 1e-3
HIDDEN = 64
SEED = 2016


@dataclass(frozen=True)
class Known:
    """Features (N, ...) and what is to be read from them: (N,) classes, or (N, 3) colours."""

    features: Tensor
    truth: Tensor


def class_accuracy(fitted: Known, scored: Known, linear: bool, noise: Callable[[Tensor], Tensor] | None = None) -> float:
    """Accuracy of a classifier of features on held-out samples: softmax regression, or a network with one hidden layer.

    Of maps (N, C, H, W) the hidden layer is a 3×3 convolution. torch's own random numbers are left as they were.

    Args:
        noise: adds new noise to a batch of features each time that it is seen, also when it is scored.
    """
    devices = [fitted.features.device] if fitted.features.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.enable_grad():
        torch.manual_seed(SEED)
        classes = int(torch.cat([fitted.truth, scored.truth]).max()) + 1
        noisy = noise or (lambda features: features)
        scaled = _Scaling(noisy(fitted.features))  # else noise on a number that hardly varies would be blown up
        reader = _reader(fitted.features.shape[1:], classes, linear).to(fitted.features.device)
        order = torch.randperm(len(fitted.truth)).to(fitted.truth.device)
        kept_back, rows = order[: (share := round(KEPT_BACK * len(order)))], order[share:]
        adam = torch.optim.AdamW(reader.parameters(), RATE, weight_decay=WEIGHT_DECAY)
        best = (-1.0, {name: value.clone() for name, value in reader.state_dict().items()})

        def accuracy(of: Known, which: Tensor) -> float:
            reader.eval()  # without dropout
            with torch.no_grad():
                hits = [
                    (reader(scaled(noisy(of.features[chunk]))).argmax(1) == of.truth[chunk]).float()
                    for chunk in which.split(500)
                ]
            reader.train()
            return torch.cat(hits).mean().item()

        steps = max(min(MOST_STEPS, MOST_EPOCHS * len(rows) // BATCH), LOOKS)
        for step in range(1, steps + 1):
            for group in adam.param_groups:
                group["lr"] = RATE * (1 - (step - 1) / steps)
            chunk = rows[torch.randint(len(rows), (BATCH,)).to(rows.device)]
            loss = F.cross_entropy(reader(scaled(noisy(fitted.features[chunk]))), fitted.truth[chunk])
            adam.zero_grad()
            loss.backward()
            adam.step()
            if step % (steps // LOOKS) == 0 and (found := accuracy(fitted, kept_back)) > best[0]:
                best = (found, {name: value.clone() for name, value in reader.state_dict().items()})
        reader.load_state_dict(best[1])
        return accuracy(scored, torch.arange(len(scored.truth), device=scored.truth.device))


@torch.no_grad()
def linear_r2(fitted: Known, scored: Known) -> float:
    """R² of a ridge regression of (N, 3) values on held-out samples, the mean over columns.

    Float32 is enough: the weakest of ``RIDGES`` bounds the condition of the equations.
    """
    limit = round(MOST_SOLVED / (1 - KEPT_BACK))
    scaled = _Scaling(fitted.features)
    known, seen = (scaled(features).flatten(1) for features in (fitted.features[:limit], scored.features))
    truth = fitted.truth[:limit].float()
    first = round((1 - KEPT_BACK) * len(known))
    design, centre = known[:first], truth[:first].mean(0)
    is_wide = design.shape[1] > first
    gram = design @ design.T if is_wide else design.T @ design
    target = truth[:first] - centre
    size = gram.diagonal().mean().clamp_min(1e-12)

    def weights(strength: float) -> Tensor:
        regularised = gram + strength * size * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        solved = torch.cholesky_solve(target if is_wide else design.T @ target, torch.linalg.cholesky(regularised))
        return design.T @ solved if is_wide else solved

    candidates = [weights(strength) for strength in RIDGES]
    best = max(candidates, key=lambda w: r_squared(known[first:] @ w + centre, truth[first:]))
    return r_squared(seen @ best + centre, scored.truth.float())


def r_squared(found: Tensor, truth: Tensor) -> float:
    """Share of the variance of (N, K) values that is explained, the mean over columns."""
    left = (found - truth).square().sum(0)
    return (1 - left / (truth - truth.mean(0)).square().sum(0).clamp_min(1e-12)).mean().item()


class _Scaling:
    """Scales each number of the features by its mean and deviation: what is faint would be taken for nothing."""

    def __init__(self, features: Tensor) -> None:
        plain = features.float()
        self.mean, deviation = plain.mean(0), plain.std(0)
        self.deviation = deviation.where(deviation > 0, 1.0)

    def __call__(self, features: Tensor) -> Tensor:
        return (features.float() - self.mean) / self.deviation


def _reader(shape: torch.Size, classes: int, linear: bool) -> nn.Module:
    if linear:
        return nn.Sequential(nn.Flatten(), nn.Linear(shape.numel(), classes))
    if len(shape) == 3:
        pooled = HIDDEN * ((shape[1] + 1) // 2) * ((shape[2] + 1) // 2)
        return nn.Sequential(
            nn.Conv2d(shape[0], HIDDEN, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True), nn.Flatten(), nn.Dropout(0.3),
            nn.Linear(pooled, classes),
        )  # fmt: skip
    return nn.Sequential(nn.Flatten(), nn.Linear(shape.numel(), HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))
