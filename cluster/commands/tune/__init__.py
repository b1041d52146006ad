"""``unbraid tune``: search configurations by campaigns."""

from __future__ import annotations

import click

from unbraid.cluster.commands.discovery import FolderGroup


class FileOrCommand(FolderGroup):
    """Reads ``tune FILE`` as ``tune run FILE``: a first word that is no command's name is what to run."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.short_helps and args[0] not in ("-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=FileOrCommand, package="unbraid.cluster.commands.tune")
def tune() -> None:
    """Search configurations. `tune FILE` or `tune PRESET` with ranges starts a campaign, or goes on with it.

    \b
    Examples:
      unbraid tune infogan-mnist run.seed=0..4             five seeds of a preset: medians and their spread
      unbraid tune infogan-mnist 'loss.info_continuous=log(0.03,3)' --trials 30
      unbraid tune infogan-mnist-weights-small --dry-run   what it would try, and what that costs
      unbraid tune infogan-mnist-weights-small             run it; Ctrl-C and the same again go on
      unbraid tune --resume NAME                           go on with what is in the storage
      unbraid tune status NAME                             how far it is; needs its storage only
      unbraid tune change NAME 'loss.info_continuous=log(0.01,10)'   widen what is searched; its history stays
      unbraid tune stop NAME 0007-s0                       end one trial; repeat and pin likewise
      unbraid tune export NAME --best                      the best configuration as a preset
    """
