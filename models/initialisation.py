"""First weights of networks, as the papers and their reference codes set them."""

from torch import nn


def normal_weights(network: nn.Module, norms: bool = False) -> None:
    """Draw weights of convolutions and fully connected layers from N(0, 0.02), biases 0 (DCGAN; Radford et al., 2016).

    Args:
        norms: also draw the scales of batch norms from N(1, 0.02), as pix2pix does; without it they stay 1.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif norms and isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)


def he_weights(network: nn.Module) -> None:
    """Draw weights of fully connected layers from He's uniform distribution, U(±√(6 / inputs)), biases 0 (He et al., 2015)."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def xavier_weights(network: nn.Module) -> None:
    """Draw weights of convolutions and fully connected layers from Xavier's uniform distribution, biases 0.

    This is the default of TensorFlow 1, in which DPIG's reference code is written.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
