"""The sign of a player's loss: an update of that player alone must improve the player's own objective."""

import copy
from collections.abc import Callable

from torch import Tensor, no_grad

from unbraid.trainers.step.player import Network, Player


def gain(player: Player[Network], step: Callable[[], object], objective: Callable[[], Tensor], rate: float = 1e-4) -> float:
    """How much an objective grows by one update of a player.

    Objectives are written out in the tests, and not taken from the losses that they check. At a small rate an update with the
    right sign always improves its objective, and one with the wrong sign never does. Weights before the update are a deep copy.

    Args:
        player: with a fresh optimiser, whose rate is set.
        step: updates that player, and no other.
        objective: that the player maximises, a scalar; the same latents and images at each call.
    """
    for group in player.optimizer.param_groups:
        group["lr"] = rate
    before = copy.deepcopy(player.network.state_dict())
    step()
    after = copy.deepcopy(player.network.state_dict())
    with no_grad():
        reached = objective().item()
        player.network.load_state_dict(before)
        begun = objective().item()
        player.network.load_state_dict(after)
    return reached - begun
