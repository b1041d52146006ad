"""The time that a run may take."""

import time

from unbraid.trainers.step.distributed import World


class Clock:
    """Tells when the minutes of a run are over; its first moment is its construction.

    Args:
        minutes: that the run may take, from now on; None is any number.
    """

    def __init__(self, minutes: float | None, world: World) -> None:
        self._minutes = minutes
        self._world = world
        self._started = time.monotonic()
        self.is_over = False

    def look(self) -> None:
        """Set ``is_over``; a collective where minutes are limited, so that all ranks stop at the same update."""
        if self._minutes is not None:
            self.is_over = self._world.any(time.monotonic() - self._started >= 60 * self._minutes)
