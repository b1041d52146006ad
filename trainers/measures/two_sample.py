"""A classifier as a two-sample test (C2ST; Lopez-Paz & Oquab, ICLR 2017): can a network tell fake samples from real ones?"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN = 256
STEPS, EPOCHS = 300, 100
"""Limits of the network's training: updates, and passes over its samples."""
BATCH = 128
RATE, WEIGHT_DECAY = 1e-2, 1e-2
SLOPE = 0.2
SEED = 20_170_424
Pair = tuple[Tensor, ...]
"""Real and fake samples of one half."""


def two_sample_accuracy(
    real: Tensor, fake: Tensor, groups: Tensor | None = None, fake_groups: Tensor | None = None, seed: int = SEED
) -> float:
    """Accuracy of a small network, trained on half of the samples, on the other half; the mean of both ways round.

    Both classes weigh the same.

    0.5 is a perfect fake, 1 one that is always found out. The network sees each number scaled to deviation 1, and the length
    of the vector, by which samples that vary too little are found in many dimensions. Computed on the CPU whatever the device.

    Args:
        real, fake: features (N, D) and (M, D).
        groups, fake_groups: (N,) and (M,) numbers of groups of samples that resemble each other, such as images of one person.
            A group is in one half only, or the network would recognise the second half by the first. Default: each sample is
            its own group.

    Raises:
        ValueError: when there are fewer than two groups of either.
    """
    generator = torch.Generator().manual_seed(seed)
    first, second = zip(_halves(real, groups, generator), _halves(fake, fake_groups, generator), strict=True)
    return (_accuracy(first, second, generator, seed) + _accuracy(second, first, generator, seed)) / 2


def _accuracy(seen: Pair, unseen: Pair, generator: torch.Generator, seed: int) -> float:
    mean, std = torch.cat(seen).mean(0), torch.cat(seen).std(0).clamp_min(1e-6)
    (known_real, known_fake), (new_real, new_fake) = ([_features((x - mean) / std) for x in half] for half in (seen, unseen))
    network = _trained(known_real, known_fake, generator, seed)
    with torch.no_grad():
        right = [(network(new_real) > 0).float().mean(), (network(new_fake) <= 0).float().mean()]
    return torch.stack(right).mean().item()


def _halves(samples: Tensor, groups: Tensor | None, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    values = samples.detach().float().cpu()
    numbers = torch.arange(len(values)) if groups is None else groups.cpu()
    known, of_group = torch.unique(numbers, return_inverse=True)
    if len(known) < 2:
        raise ValueError(f"{len(values)} samples in {len(known)} group cannot be halved: at least two groups are needed")
    is_first = torch.randperm(len(known), generator=generator) < len(known) // 2
    return values[is_first[of_group]], values[~is_first[of_group]]


def _features(scaled: Tensor) -> Tensor:
    """(N, D) → (N, D + 1): the numbers, and the vector's length around its usual one."""
    width = scaled.shape[1]
    length = scaled.square().sum(1, keepdim=True).sqrt() - width**0.5
    return torch.cat([scaled, length], 1)


def _trained(real: Tensor, fake: Tensor, generator: torch.Generator, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(real.shape[1], HIDDEN), nn.LeakyReLU(SLOPE), nn.Linear(HIDDEN, 1), nn.Flatten(0))
    adam = torch.optim.AdamW(network.parameters(), RATE, weight_decay=WEIGHT_DECAY)
    targets = torch.cat([torch.ones(BATCH // 2), torch.zeros(BATCH // 2)])
    steps = min(STEPS, -(-EPOCHS * (len(real) + len(fake)) // BATCH))
    for step in range(steps):
        for group in adam.param_groups:
            group["lr"] = RATE * (1 - step / steps)
        drawn = [x[torch.randint(len(x), (BATCH // 2,), generator=generator)] for x in (real, fake)]
        loss = F.binary_cross_entropy_with_logits(network(torch.cat(drawn)), targets)
        adam.zero_grad()
        loss.backward()
        adam.step()
    return network
