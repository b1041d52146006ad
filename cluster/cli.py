"""The command ``unbraid``. Its commands are the modules of ``cluster/commands``, imported when they are used."""

from __future__ import annotations

import sys
from typing import Any

import click

from unbraid.cluster.commands.discovery import FolderGroup
from unbraid.cluster.local.services import ServiceError
from unbraid.datasets.errors import DataError
from unbraid.datasets.untrusted.terminal import protect_terminal
from unbraid.trainers.errors import DivergenceError, TrainingError


class Diverged(click.ClickException):
    """A run that has diverged: an exit status of its own, because no repetition of the command helps."""

    exit_code = DivergenceError.EXIT_STATUS


class CommandLine(FolderGroup):
    """Reports a user's mistake as one message with exit status 1, a run that has diverged with 3, Ctrl-C with 130.

    A bug keeps its traceback.

    Whatever a command prints, text that strangers wrote included, reaches the terminal without control characters.
    """

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run the command line."""
        protect_terminal()
        return super().main(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except (TrainingError, DataError, ServiceError) as error:
            diverged = isinstance(error.__cause__, DivergenceError)
            raise (Diverged if diverged else click.ClickException)(str(error)) from None
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(130)


@click.group(
    cls=CommandLine,
    package="unbraid.cluster.commands",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="unbraid")
def main() -> None:
    """Train disentangled image generators on a Ray cluster, from shards on S3.

    \b
    Examples:
      unbraid local up                                    an S3 server and Ray on this machine
      unbraid data fetch mnist && unbraid data pack mnist
      unbraid train infogan-mnist-small                   train, measure, draw a report
      unbraid train infogan-mnist --debug                 the same in this process, without Ray
      unbraid submit train infogan-mnist                  the same as a job on a cluster
    """


if __name__ == "__main__":
    main()
