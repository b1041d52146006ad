"""Joining a Ray cluster: what no cluster answers at is one error within seconds.

Ray's own client waits for minutes where nothing listens, prints a warning a second, and ends the process.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from unbraid.datasets.untrusted.text import in_one_line
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.launch.ray_internals import CHECK_ALIVE, authorization, connection_options

log = logging.getLogger("unbraid")
LISTEN_SECONDS = 8.0
"""For which a head that is just starting is waited for."""
SPEAK_SECONDS = 5.0
"""Within which what listens has to speak gRPC, as a control store does."""
RESOURCE_SECONDS = 30.0
"""For which nodes of a cluster that is just coming up are waited for."""
FOUND_BY_RAY = ("auto", "local")
"""Addresses that Ray looks up, or starts, on this machine."""
Share = TypeVar("Share")


def join(address: str | None, **options: Any) -> None:
    """Connect this process to the cluster at an address, or start a cluster here.

    Args:
        address: ``HOST:PORT`` of the head's control store, ``ray://HOST:PORT``, or ``auto``; None starts a cluster.
        options: further arguments of ``ray.init``.

    Raises:
        ConfigError: when no cluster can be joined there, within fifteen seconds; it says what the address is, and what to name.
    """
    import ray

    require_answer(address)
    try:
        ray.init(**connection_options(address), **options, ignore_reinit_error=True)
    except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
        if address is None:
            raise
        raise _no_cluster(address, error) from None


def require_answer(address: str | None) -> None:
    """Check that something which may be a Ray cluster answers at an address.

    Raises:
        ConfigError: when nothing does, or the address is one of something else.
    """
    if address is None or address in FOUND_BY_RAY:
        return
    scheme, separator, rest = address.partition("://")
    if separator and scheme in ("http", "https"):
        raise ConfigError(
            f"{address}: the address of a job server, which `unbraid submit` and `unbraid jobs` take; `train` and `tune` join "
            "a cluster from one of its machines, by HOST:PORT of its head (ray start prints it, such as head:6379)"
        )
    place = rest if scheme == "ray" and separator else address
    host, _, port = place.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{address}: not the address of a Ray cluster; expected HOST:PORT of its head, such as head:6379")
    _require_listener(address, host.strip("[]"), int(port))
    _require_grpc(address, place)


def fitted(
    fit: Callable[[Mapping[str, float]], Share],
    resources: Callable[[], Mapping[str, float]],
    address: str | None,
) -> Share:
    """What a run gets of a cluster; nodes that have not joined yet are waited for, with one line that says for what.

    A cluster of this machine alone, whose node is there, never has more: what is too large for it is refused at once.

    Args:
        fit: takes the resources of the whole cluster; raises ConfigError when they are too few.
        resources: of the cluster now.

    Raises:
        ConfigError: of ``fit``, when the resources are too few after half a minute.
    """
    deadline = time.monotonic() + RESOURCE_SECONDS
    reported = False
    while True:
        there = resources()
        try:
            return fit(there)
        except ConfigError as error:
            is_here = address is None or address.rpartition(":")[0] in ("127.0.0.1", "localhost", "[::1]")
            if (is_here and there.get("CPU")) or time.monotonic() > deadline:
                raise
            if not reported:
                log.warning("waiting up to %.0f s for nodes that are still joining: %s", RESOURCE_SECONDS, error)
                reported = True
        time.sleep(1)


def _require_listener(address: str, host: str, port: int) -> None:
    deadline = time.monotonic() + LISTEN_SECONDS
    while True:
        try:
            with socket.create_connection((host, port), max(deadline - time.monotonic(), 1.0)):
                return
        except OSError as error:
            if time.monotonic() + 1 > deadline:
                raise _no_cluster(address, error) from None
        time.sleep(1)


def _require_grpc(address: str, place: str) -> None:
    import grpc

    if os.environ.get("RAY_USE_TLS") == "1":
        return  # the channel below has no keys
    channel = grpc.insecure_channel(place, options=[("grpc.enable_http_proxy", 0)])
    try:
        grpc.channel_ready_future(channel).result(timeout=SPEAK_SECONDS)
        _require_token(address, channel)
    except grpc.FutureTimeoutError:
        raise _no_cluster(address, "something listens there that is no control store of Ray") from None
    finally:
        channel.close()


def _require_token(address: str, channel: Any) -> None:
    """See that a control store accepts this process's token, or wants none; Ray's own client waits for ever otherwise."""
    import grpc

    shown = tuple(authorization().items())
    call = channel.unary_unary(CHECK_ALIVE, request_serializer=bytes, response_deserializer=bytes)
    try:
        call(b"", timeout=SPEAK_SECONDS, metadata=shown)
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.UNAUTHENTICATED:
            return  # ray:// has no such call; what else is wrong, joining will say
        which = "refuses this process's token" if shown else "wants a token"
        raise ConfigError(
            f"{address}: the cluster {which}: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH, a file) "
            "to the cluster's, before this process begins"
        ) from None


def _no_cluster(address: str, why: object) -> ConfigError:
    return ConfigError(
        f"no Ray cluster answers at {address} ({in_one_line(why, 200)}): see that it runs, or name another by --address or "
        "RAY_ADDRESS; without either the local services are used, or a cluster is started here"
    )
