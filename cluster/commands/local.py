"""``unbraid local``: start and stop an S3 server and Ray on this machine."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import click

from unbraid.cluster.local.listeners import Listener
from unbraid.cluster.local.services import LocalServices


@click.group()
def local() -> None:
    """The embedded S3 server and Ray of this folder (in .unbraid, or in the folder that UNBRAID_LOCAL_DIR names).

    \b
    Example:
      unbraid local up && unbraid local status && unbraid local down
    """


@local.command()
@click.option("--s3-port", default=0, help="0 takes any free port.")
@click.option("--ray-port", default=0, help="0 takes any free port.")
def up(s3_port: int, ray_port: int) -> None:
    """Start what is not running: for this user only, and on loopback.

    \b
    Example:
      unbraid local up --s3-port 8333
    """
    LocalServices().up(s3_port, ray_port, click.echo)


@local.command()
@click.option("--env", "as_environment", is_flag=True, help="Print shell exports for other programs; holds the secret key.")
def status(as_environment: bool) -> None:
    """Print what is running and who can reach it; exits 1 when a service has died.

    \b
    Examples:
      unbraid local status
      eval "$(unbraid local status --env)"
    """
    services = LocalServices()
    if as_environment:
        for name, value in services.environment().items():
            click.echo(f"export {name}={shlex.quote(value)}")
        return
    running = services.status()
    for name, service in running.items():
        click.echo(f"{name:4} up   127.0.0.1:{service.port}  pid {service.pid}")
    if not running:
        click.echo("nothing is running; `unbraid local up` starts S3 and Ray")
        return
    click.echo(reach_text(services.listeners(), str(services.folder)))


def reach_text(listeners: Sequence[Listener], folder: str) -> str:
    """Say who can reach the services' ports, and what they want to see.

    Args:
        folder: of the services, which holds the keys.
    """
    keys = (
        f"S3 wants the keys in {folder}/s3.json, Ray the token in {folder}/ray_token; Ray's metrics want nothing, nor does the "
        "rendezvous of several workers while they train (ray::RayTrainWorker)"
    )
    beyond = [listener for listener in listeners if not listener.on_loopback]
    if not beyond:
        return f"all {len(listeners)} ports are on loopback: this machine's users reach them; {keys}"
    named = ", ".join(map(str, beyond))
    return f"{len(beyond)} of {len(listeners)} ports are not on loopback, the network reaches them: {named}; {keys}"


@local.command()
def down() -> None:
    """Stop everything; data and keys stay.

    \b
    Example:
      unbraid local down
    """
    LocalServices().down(click.echo)
