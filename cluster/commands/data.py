"""``unbraid data``: fetch, pack, draw, inspect and time data sets.

The modules of ``datasets/sources`` declare the kinds that ``fetch``, ``pack`` and ``make`` offer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unbraid.cluster.commands.kinds import KindGroup, Share, Size, help_of, options_of
from unbraid.cluster.local.services import use_local_services
from unbraid.datasets.sources.kinds import FetchKind, MakeKind, PackKind, kinds, load_kind, name_with_size
from unbraid.datasets.untrusted.terminal import rewrite_line

if TYPE_CHECKING:
    from unbraid.datasets.sources.source import Source

RAW_FOLDER = Path(".unbraid/raw")
PACKING_OPTIONS = (
    click.Option(
        ["--shards"],
        type=click.IntRange(1),
        help="In the largest split.  [default: of about 32 MiB, 80 if these get 32 samples]",
    ),
    click.Option(
        ["--validation"],
        type=Share(0, 0.9),
        default=0.1,
        show_default=True,
        help="Share of the training split that becomes a validation split, where a set has none. A person is in one split.",
    ),
    click.Option(["--threads"], type=click.IntRange(1), help="Shards written at a time.  [default: cores]"),
    click.Option(["--dry-run"], is_flag=True, help="Report what would be written, and stop."),
    click.Option(["--force"], is_flag=True, help="Pack over what is already there."),
)
"""Options of every command that writes a set, see :func:`write_set`."""


@click.group()
def data() -> None:
    """Fetch, pack, draw, inspect and time data sets.

    \b
    Example:
      unbraid data fetch mnist && unbraid data pack mnist && unbraid data inspect s3://unbraid/mnist
    """


def fetch_command(kind: str) -> click.Command:
    """Make ``unbraid data fetch KIND``."""
    declared, docstring = load_kind(kind, FetchKind)

    def run(source: Path | None, destination: Path | None) -> None:
        declared.fetch(destination or RAW_FOLDER / kind, source.expanduser() if source else None, click.echo)

    options: list[click.Parameter] = [
        click.Option(["--source"], type=click.Path(path_type=Path), help="A folder that has the files already."),
        click.Option(
            ["--to", "destination"],
            type=click.Path(path_type=Path),
            help=f"Folder to put them into.  [default: {RAW_FOLDER / kind}]",
        ),
    ]
    return click.Command(kind, params=options, callback=run, help=help_of(docstring, f"fetch {kind}", "--source ~/Downloads"))


def pack_command(kind: str) -> click.Command:
    """Make ``unbraid data pack KIND``, with the options that the kind declares."""
    declared, docstring = load_kind(kind, PackKind)
    own = options_of(declared.read)

    def run(source: str | None, destination: str | None, name: str | None, **rest: Any) -> None:
        options = {option.name: rest.pop(option.name) for option in own if option.name}
        fetched = declared.fetched or kind
        needs_source = fetched not in kinds(FetchKind)
        if source and not destination and not needs_source and ("://" in source or not Path(source).expanduser().exists()):
            source, destination = None, source  # what is not there, and has no need to be, is where the set goes
        if source is None and needs_source:
            example = f"unbraid data pack {kind} {declared.example}"
            raise click.UsageError(f"SOURCE is missing: a folder or an archive, as in `{example}`")
        if source and "://" in source:
            raise click.UsageError(
                f"SOURCE {source}: raw files are read from a folder or an archive of this machine; copy them here"
            )
        raw = (Path(source) if source else RAW_FOLDER / fetched).expanduser()
        name = name or declared.default_name(kind, raw, options)
        place = destination or f"s3://unbraid/{name}"
        require_apart(raw, place)
        write_set(lambda: declared.read(raw, name, **options), place, options, **rest)

    parameters: list[click.Parameter] = [
        click.Argument(["source"], required=False),
        click.Argument(["destination"], required=False),
        *own,
        click.Option(["--name"], help="Name of the set.  [default: from KIND or SOURCE]"),
        click.Option(
            ["--max-skipped"],
            type=click.IntRange(0),
            default=0,
            show_default=True,
            help="Unusable samples before it is an error.",
        ),
        *PACKING_OPTIONS,
    ]
    return click.Command(kind, params=parameters, callback=run, help=help_of(docstring, f"pack {kind}", declared.example))


def make_command(kind: str) -> click.Command:
    """Make ``unbraid data make KIND``, with the options that the kind declares."""
    declared, docstring = load_kind(kind, MakeKind)
    own = options_of(declared.make)

    def run(destination: str | None, **rest: Any) -> None:
        options = {option.name: rest.pop(option.name) for option in own if option.name}
        name = name_with_size(kind, Path(), options)
        write_set(lambda: declared.make(name, **options), destination or f"s3://unbraid/{name}", options, **rest)

    parameters = [click.Argument(["destination"], required=False), *own, *PACKING_OPTIONS]
    return click.Command(kind, params=parameters, callback=run, help=help_of(docstring, f"make {kind}", declared.example))


@data.group(cls=KindGroup, form=FetchKind, command=fetch_command, subcommand_metavar="KIND [OPTIONS]")
def fetch() -> None:
    """Get the raw files of a public data set.

    The files are compared with their published checksums.

    \b
    Examples:
      unbraid data fetch mnist
      unbraid data fetch mnist --source ~/Downloads
    """


@data.group(cls=KindGroup, form=PackKind, command=pack_command, subcommand_metavar="KIND [SOURCE] [DESTINATION] [OPTIONS]")
def pack() -> None:
    """Pack raw files as shards.

    SOURCE is a folder, a zip or a tar. It defaults to the folder where `unbraid data fetch` puts the files of KIND. DESTINATION
    is a folder or an s3:// URL. It defaults to s3://unbraid/NAME. The same files give the same shards. A command that was
    stopped continues when it is repeated.

    \b
    Examples:
      unbraid data pack mnist
      unbraid data pack mnist-cdcb --size 256x256
      unbraid data pack folder ~/photos.zip s3://bucket/sets/photos --size 64x64 --labels
      unbraid data pack market1501 ~/Market-1501 --keypoints train.csv --keypoints test.csv
    """


@data.group(cls=KindGroup, form=MakeKind, command=make_command, subcommand_metavar="KIND [DESTINATION] [OPTIONS]")
def make() -> None:
    """Draw a data set whose every factor is known, and pack it.

    The set is packed at DESTINATION, a folder or an s3:// URL, which defaults to s3://unbraid/KIND-HEIGHTxWIDTH.

    \b
    Examples:
      unbraid data make people
      unbraid data make people s3://bucket/sets/people --identities 2000 --images 8 --size 256x256
      unbraid data make people ./small --identities 40 --size 64x32 && unbraid data inspect ./small --sheet small.png
    """


def require_apart(source: Path, destination: str) -> None:
    """Check that a set is not packed among its raw files.

    Raises:
        click.UsageError: when the destination is the source, or lies in it.
    """
    if "://" in destination:
        return
    with suppress(OSError):  # a source that cannot be read is an error later
        if source.is_dir() and Path(destination).expanduser().resolve().is_relative_to(source.resolve()):
            raise click.UsageError(
                f"DESTINATION {destination} lies in SOURCE {source}: its tars would be taken for raw files; pack elsewhere"
            )


def write_set(
    read: Callable[[], Source],
    destination: str,
    options: Mapping[str, object],
    *,
    shards: int | None,
    validation: float,
    threads: int | None,
    dry_run: bool,
    force: bool,
    max_skipped: int = 0,
) -> None:
    """Look at raw files, say how they were understood, and pack them, unless the same set is packed at ``destination`` already.

    Args:
        read: looks at the raw files.
        options: of the kind, for the index.
        validation: share of the training split that is held out.
        dry_run: write nothing.
        force: pack over another set, or the same one again.
    """
    from unbraid.datasets.packing.pack import pack
    from unbraid.datasets.packing.place import options_as_text
    from unbraid.datasets.packing.plan import describe_source, plan_shards
    from unbraid.datasets.packing.validation import with_validation
    from unbraid.datasets.store import open_store

    if not dry_run:
        if "://" in destination:
            use_local_services()
        require_writable(destination)  # before the raw files are looked at, which may take long
    source = with_validation(read(), validation)
    describe_source(source, plan_shards(source, shards), click.echo)
    if dry_run:
        return
    store = open_store(destination, create=True)
    written = options_as_text({**options, "shards": shards, "validation": validation})
    index = pack(
        source, store, one_line(), shards=shards, options=written, threads=threads, max_skipped=max_skipped, force=force
    )
    click.echo()
    click.echo(f"{index.name} → {store.url}, digest {index.digest[:12]}")


def require_writable(destination: str) -> None:
    """Check that a set can be written to a place; a bucket is made, a folder is not.

    Raises:
        DataError: when it cannot.
    """
    from unbraid.datasets.store import FolderStore, open_store

    store = open_store(destination, create="://" in destination)
    if isinstance(store, FolderStore):
        with suppress(OSError):  # a place that cannot be looked at is an error when it is written to
            existing = next(folder for folder in (store.root, *store.root.absolute().parents) if folder.exists())
            if not existing.is_dir() or not os.access(existing, os.W_OK):
                found = "is no folder" if not existing.is_dir() else "cannot be written to"
                raise click.ClickException(f"{destination}: {existing} {found}; pack to another place")
    else:
        store.exists("index.json")


@data.command()
@click.argument("tars")
@click.argument("destination", required=False)
@click.option("--fields", help="NAME=EXTENSIONS of each field.  [default: images, and cls as label]")
@click.option(
    "--split", "splits", multiple=True, help="NAME=GLOB: tars whose names match belong to that split; may be repeated."
)
@click.option("--name", help="Name of the set.  [default: the last folder of TARS]")
@click.option("--any-size", is_flag=True, help="Allow images of several sizes; training then resizes them, by data.fit.")
@click.option("--decode", is_flag=True, help="Decode every image, not its header alone.")
@click.option(
    "--max-skipped", type=click.IntRange(0), default=0, show_default=True, help="Unreadable samples before it is an error."
)
@click.option("--threads", type=click.IntRange(1), help="Tars read at a time.  [default: cores]")
@click.option("--force", is_flag=True, help="Replace the index of other tars or fields.")
def index(
    tars: str, destination: str | None, fields: str | None, splits: tuple[str, ...], name: str | None, **options: Any
) -> None:
    """Make a set of WebDataset tars that exist, without copying or changing them.

    TARS is a series such as s3://bucket/set-{000..127}.tar, a glob, or a folder. Tables and an index are written beside them,
    or at DESTINATION. From then on data.url=DESTINATION trains on them, in exact order on any number of workers. Every tar is
    read once. A command that was stopped continues when it is repeated.

    Members are named by their extensions: image=jpg;png,label=cls. A number or a text in a JSON member is named by its keys:
    label=json:class. Texts are numbered in alphabetical order, and are the names of the classes. A tar's split is the word in
    its URL that means one (train, val, test), else train.

    \b
    Examples:
      unbraid data index 's3://bucket/set-{000..127}.tar'
      unbraid data index 's3://bucket/{train,val}-*.tar' s3://mine/sets/photos --fields image=jpg;png,label=json:class
      unbraid data index ./tars ./index --any-size --split test='*-12?.tar'
    """
    from unbraid.datasets.indexing.index_tars import IndexOptions, index_tars
    from unbraid.datasets.indexing.tars import find_tars, parse_splits
    from unbraid.datasets.indexing.wanted import parse_fields
    from unbraid.datasets.store import open_store

    use_local_services()
    found = find_tars(tars, parse_splits(splits))
    wanted = parse_fields(fields) if fields else None
    store = open_store(destination or found.store.url, create=destination is not None)
    options["name"] = name or found.store.url.rstrip("/").rpartition("/")[2] or "tars"
    written = index_tars(found, wanted, store, IndexOptions(**options), click.echo, one_line())
    click.echo()
    click.echo(f"{written.name} → {store.url}, digest {written.digest[:12]}: train on it with data.url={store.url}")


@data.command()
@click.argument("url")
@click.option("--sheet", type=click.Path(path_type=Path), help="Write a PNG that shows samples of every class and split.")
@click.option("--no-check", is_flag=True, help="Do not read all shards; checksums and classes are then left out.")
def inspect(url: str, sheet: Path | None, no_check: bool) -> None:
    """Describe the set at URL, check its shards, and count its classes.

    Every shard must be what the index says. The sheet shows each sample with its class, split and key; pairs are beside each
    other, keypoints are drawn.

    \b
    Examples:
      unbraid data inspect s3://unbraid/mnist --sheet mnist.png
      unbraid data inspect ./shards --no-check
    """
    from unbraid.datasets.shards.index import MAKE_AGAIN
    from unbraid.datasets.shards.inspect import inspect_set

    use_local_services()
    broken = inspect_set(url, sheet, not no_check, click.echo)
    if broken:
        raise click.ClickException(f"{broken} damaged shards at {url}; {MAKE_AGAIN}")


@data.command()
@click.argument("url")
@click.option("--split", default="train", show_default=True, help="Split to read.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes that read at a time.")
@click.option("--batch", default=128, show_default=True, type=click.IntRange(1), help="Images in a global batch.")
@click.option("--lanes", default=16, show_default=True, type=click.IntRange(1), help="As data.lanes.")
@click.option("--window", default=256, show_default=True, type=click.IntRange(1), help="As data.window.")
@click.option("--fit", type=Size(), help="As data.fit.")
@click.option("--seconds", default=10.0, show_default=True, help="For each of the three measurements.")
def bench(url: str, split: str, seconds: float, **settings: Any) -> None:
    """Time how fast the set at URL is read.

    Reads it as training does, then reads and decodes alone; reports what limits the stream, and how close it comes to that.

    \b
    Examples:
      unbraid data bench s3://unbraid/mnist
      unbraid data bench s3://bucket/sets/people --workers 4 --batch 512 --seconds 30
    """
    from unbraid.datasets.stream.throughput import measure

    use_local_services()
    measure(url, split, seconds=seconds, report=click.echo, **settings)


def one_line() -> Callable[[str], None]:
    """Return a report function, which rewrites its line on a terminal."""
    if not sys.stdout.isatty():
        return click.echo
    return lambda text: rewrite_line(sys.stdout, text)
