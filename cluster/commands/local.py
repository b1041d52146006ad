"""``unbraid local``: start and stop an S3 server and Ray on this machine."""

from __future__ import annotations

import shlex

import click

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
    """Start what is not running.

    \b
    Example:
      unbraid local up --s3-port 8333
    """
    LocalServices().up(s3_port, ray_port, click.echo)


@local.command()
@click.option("--env", "as_environment", is_flag=True, help="Print shell exports for other programs; holds the secret key.")
def status(as_environment: bool) -> None:
    """Print what is running; exits 1 when a service has died.

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


@local.command()
def down() -> None:
    """Stop everything; data and keys stay.

    \b
    Example:
      unbraid local down
    """
    LocalServices().down(click.echo)
