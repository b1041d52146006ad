"""Batch norm over the global batch of all ranks, and which batches the statistics for evaluation come from."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx


class SumOverRanks(torch.autograd.Function):
    """Sums a tensor over all ranks; its gradient is the sum of all ranks' gradients, as each rank's loss depends on the sum."""

    @staticmethod
    def forward(ctx: FunctionCtx, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Sum ``tensor`` over all ranks, differentiably."""
    total: Tensor = SumOverRanks.apply(tensor)  # type: ignore[no-untyped-call]
    return total


@torch.no_grad()
def estimate_statistics(
    network: nn.Module,
    forward: Callable[[Tensor], object],
    batches: Iterable[Tensor],
    total: Callable[[Tensor], Tensor] = lambda tensor: tensor,
) -> None:
    """Set each batch norm's statistics for evaluation to the mean of the statistics of ``batches``, at the present weights.

    Moving averages of training describe the weights of earlier updates, and the images that training mixed in its batches
    (Wu & Johnson, 2021, Rethinking "Batch" in BatchNorm, section 3). The network is in evaluation mode afterwards.

    Args:
        forward: runs the network on one batch.
        batches: this rank's share.
        total: sums a tensor over all ranks; one rank needs none.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    network.train()
    count = 0
    for batch in batches:
        forward(batch)
        count += 1
    network.eval()
    counts = total(torch.tensor([float(count)]))
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
        for statistic in (norm.running_mean, norm.running_var):
            assert statistic is not None
            statistic.copy_(total(statistic * count) / counts.to(statistic.device))


@contextmanager
def kept_statistics(network: nn.Module) -> Iterator[None]:
    """Keep the statistics for evaluation as they are during passes in training mode, so that they describe real images only."""
    norms = [module for module in network.modules() if isinstance(module, NORMS)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum


class GlobalBatchNorm(nn.Module):
    """Batch norm over the batch of *all* ranks, on any backend (torch's SyncBatchNorm needs CUDA).

    The forward pass sums each channel's first moment over ranks, and then its second central moment; ranks may have unequal
    numbers of samples. Autograd sums the gradients of both. As in torch, the biased variance normalises, and the moving average
    for evaluation is of the unbiased one.

    Args:
        features: channels C of an input (B, C) or (B, C, H, W).
        momentum, eps, affine: as in ``torch.nn.BatchNorm2d``.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, features: int, momentum: float = 0.1, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        self.momentum = momentum
        self.eps = eps
        for name, value in (("weight", torch.ones(features)), ("bias", torch.zeros(features))):
            if affine:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value, persistent=False)
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *further: Any) -> None:
        """Accept torch's batch norm too, which counts its batches: several workers may go on from a run of one."""
        state_dict.pop(f"{prefix}num_batches_tracked", None)
        super()._load_from_state_dict(state_dict, prefix, *further)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) → the same shape."""
        view = (1, -1) + (1,) * (x.ndim - 2)
        if not self.training:
            scale = self.weight * torch.rsqrt(self.running_var + self.eps)
            return x * scale.view(view) + (self.bias - self.running_mean * scale).view(view)
        dims = [d for d in range(x.ndim) if d != 1]
        mine = torch.full((1,), float(x.numel() // x.shape[1]), device=x.device)
        *sums, count = sum_over_ranks(torch.cat([x.float().sum(dims), mine])).split([x.shape[1], 1])
        mean = sums[0] / count
        centred = x.float() - mean.view(view)
        variance = sum_over_ranks(centred.square().sum(dims)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1).clamp_min(1)), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        normalised: Tensor = centred * scale.view(view) + self.bias.view(view)
        return normalised.to(x.dtype)


NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, GlobalBatchNorm)
"""The classes of batch norm in networks here."""


def synchronise_batch_norm(network: nn.Module) -> nn.Module:
    """Replace every batch norm in ``network``, in place, by a :class:`GlobalBatchNorm` of the same weights and statistics."""
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            replacement = GlobalBatchNorm(child.num_features, child.momentum or 0.1, child.eps, child.affine)
            replacement.load_state_dict({k: v for k, v in child.state_dict().items() if k != "num_batches_tracked"})
            setattr(network, name, replacement.to(next(child.buffers()).device))
        else:
            synchronise_batch_norm(child)
    return network
