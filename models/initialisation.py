"""First weights that several systems begin with."""

import torch
from torch import nn


@torch.no_grad()
def normal_weights(network: nn.Module, norms: bool = False) -> None:
    """DCGAN's N(0, 0.02) and zero biases (Radford et al., 2016) for convolutions and fully connected layers.

    Args:
        norms: whether scales of batch norms become N(1, 0.02), as pix2pix has them; else they keep 1.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif norms and isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
