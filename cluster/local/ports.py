"""Free TCP ports on loopback."""

import socket
from contextlib import ExitStack

LOOPBACK = "127.0.0.1"
GRPC_OFFSET = 10_000
"""SeaweedFS puts each server's gRPC port this far above its HTTP port."""


def is_free(port: int) -> bool:
    """Tell whether nothing listens on a port of the loopback interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Find different free ports whose gRPC neighbours are free too.

    Another program may take one before it is used; the caller must notice that.
    """
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            probe = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            probe.bind((LOOPBACK, 0))
            port: int = probe.getsockname()[1]
            if port + GRPC_OFFSET < 65_536 and is_free(port + GRPC_OFFSET):
                found.append(port)
    return found


def answers(port: int) -> bool:
    """Tell whether something accepts connections on a port of the loopback interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((LOOPBACK, port)) == 0
