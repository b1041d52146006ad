"""Networks that are used and not trained."""

from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def frozen(network: Network) -> Network:
    """Return the network itself, without gradients and in evaluation mode."""
    return network.requires_grad_(False).eval()
