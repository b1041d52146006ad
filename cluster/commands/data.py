"""``unbraid data``: fetch, pack, inspect and time data sets."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unbraid.cluster.local.services import use_local_services

if TYPE_CHECKING:
    from unbraid.datasets.sources.source import Source

RAW_FOLDER = Path(".unbraid/raw")
KINDS = ("mnist", "mnist-cdcb", "idx", "svhn", "celeba", "folder", "pairs", "market1501", "deepfashion")


class Size(click.ParamType[tuple[int, int]]):
    """``HEIGHTxWIDTH``."""

    name = "HxW"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        match = re.fullmatch(r"(\d+)x(\d+)", str(value))
        if match is None or 0 in (int(match[1]), int(match[2])):
            self.fail(f"{value!r} is not HEIGHTxWIDTH, such as 128x64", param, ctx)
        return int(match[1]), int(match[2])


def packing_options(command: Callable[..., None]) -> Callable[..., None]:
    """What every command takes that writes a set, as :func:`write_set` does."""
    for option in (
        click.option("--force", is_flag=True, help="Write again what is already there."),
        click.option("--dry-run", is_flag=True, help="Say what would be written, and stop."),
        click.option("--threads", type=click.IntRange(1), help="Shards written at a time.  [default: cores]"),
        click.option("--shards", type=click.IntRange(1), help="In the largest split.  [default: of about 32 MiB, 80 at least]"),
    ):
        command = option(command)
    return command


@click.group()
def data() -> None:
    """Fetch, pack, inspect and time data sets.

    \b
    Example:
      unbraid data fetch mnist && unbraid data pack mnist && unbraid data inspect s3://unbraid/mnist
    """


@data.command()
@click.argument("name", type=click.Choice(["mnist"]))
@click.option("--source", type=click.Path(path_type=Path), help="A folder that has the files, tried first.")
@click.option("--to", "destination", type=click.Path(path_type=Path), help="Where to put them.  [default: .unbraid/raw/NAME]")
def fetch(name: str, source: Path | None, destination: Path | None) -> None:
    """Get the raw files of a public data set, checked by checksum.

    \b
    Examples:
      unbraid data fetch mnist
      unbraid data fetch mnist --source ~/Downloads
    """
    from unbraid.datasets.sources.fetch import fetch_mnist

    fetch_mnist(destination or RAW_FOLDER / name, source.expanduser() if source else None, click.echo)


@data.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("source", type=click.Path(path_type=Path), required=False)
@click.argument("destination", required=False)
@click.option("--name", help="Of the set.  [default: KIND, for folder and pairs the name of SOURCE]")
@click.option("--size", type=Size(), help="Fit every image to this size.")
@click.option("--labels", is_flag=True, help="folder: an image's folder is its class.")
@click.option("--attributes", type=click.Path(path_type=Path), help="folder: CSV with the image's name first, then numbers.")
@click.option("--split-list", type=click.Path(path_type=Path), help="folder: text file, NAME SPLIT on each line.")
@click.option("--test-share", default=0.1, show_default=True, help="folder, pairs: by hash, where nothing names the split.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="mnist-cdcb: of the colours.")
@click.option("--keypoints", type=click.Path(path_type=Path), multiple=True, help="market1501, deepfashion: CSV, may repeat.")
@click.option("--max-skipped", default=0, show_default=True, help="Unusable samples before it is an error.")
@packing_options
def pack(
    kind: str,
    source: Path | None,
    destination: str | None,
    name: str | None,
    size: tuple[int, int] | None,
    labels: bool,
    attributes: Path | None,
    split_list: Path | None,
    test_share: float,
    seed: int,
    keypoints: tuple[Path, ...],
    max_skipped: int,
    **packing: Any,
) -> None:
    """Pack the raw files in SOURCE as shards at DESTINATION, a folder or an s3:// URL.

    SOURCE is a folder, a zip or a tar; it defaults to where `unbraid data fetch` puts KIND, DESTINATION to
    s3://unbraid/NAME. The same files give the same shards; stopped and repeated, it goes on where it was.

    mnist-cdcb is made from MNIST's files: pairs of a coloured digit and the same digit on a coloured background.

    \b
    Examples:
      unbraid data pack mnist
      unbraid data pack mnist-cdcb --size 256x256
      unbraid data pack folder ~/photos.zip s3://bucket/sets/photos --size 64x64 --labels
      unbraid data pack pairs ~/facades s3://bucket/sets/facades
      unbraid data pack market1501 ~/Market-1501 --keypoints train.csv --keypoints test.csv
    """
    from unbraid.datasets.sources.folder import FolderOptions
    from unbraid.datasets.sources.mnist_cdcb import SIZE

    raw = (source or RAW_FOLDER / kind.partition("-")[0]).expanduser()
    if kind == "mnist-cdcb" and name is None:
        name = f"{kind}-{'x'.join(map(str, size or SIZE))}"
    name = name or (raw.stem.split(".")[0] if kind in ("folder", "pairs", "idx") else kind)
    options = FolderOptions(size, labels, attributes, split_list, test_share)
    write_set(
        lambda: read_source(kind, raw, name, options, keypoints, seed),
        destination or f"s3://unbraid/{name}",
        max_skipped=max_skipped,
        **packing,
    )


@data.command()
@click.argument("kind", type=click.Choice(["people"]))
@click.argument("destination", required=False)
@click.option("--identities", default=1000, show_default=True, type=click.IntRange(1), help="People, all different.")
@click.option("--images", default=12, show_default=True, type=click.IntRange(1), help="Of each of them, in other poses.")
@click.option("--cameras", default=6, show_default=True, type=click.IntRange(1), help="Whose views are the backgrounds.")
@click.option("--size", type=Size(), default="128x64", show_default=True, help="Of an image.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Another one is another population.")
@click.option("--test-share", default=0.15, show_default=True, type=click.FloatRange(0, 1), help="Of the identities.")
@packing_options
def make(
    kind: str,
    destination: str | None,
    identities: int,
    images: int,
    cameras: int,
    size: tuple[int, int],
    seed: int,
    test_share: float,
    **packing: Any,
) -> None:
    """Draw a data set whose every factor is known, and pack it at DESTINATION, a folder or an s3:// URL.

    People walk and stand before six cameras, with their 18 keypoints. Any foreground can be drawn again in any pose before any
    background, which is how `unbraid eval` tells true disentanglement. DESTINATION defaults to s3://unbraid/KIND-HEIGHTxWIDTH.

    \b
    Examples:
      unbraid data make people
      unbraid data make people s3://bucket/sets/people --identities 2000 --images 8 --size 256x256
      unbraid data make people ./small --identities 40 --size 64x32 && unbraid data inspect ./small --sheet small.png
    """
    from unbraid.datasets.sources.synthetic_people import make_people
    from unbraid.datasets.synthetic.people.population import Population

    name = f"{kind}-{size[0]}x{size[1]}"
    write_set(
        lambda: make_people(Population(seed, *size), identities, images, cameras, test_share, name),
        destination or f"s3://unbraid/{name}",
        **packing,
    )


def write_set(
    read: Callable[[], Source],
    destination: str,
    *,
    shards: int | None,
    threads: int | None,
    dry_run: bool,
    force: bool,
    max_skipped: int = 0,
) -> None:
    """Pack a source, or say what would be packed, or that it is there already."""
    from unbraid.datasets.shards.index import INDEX_KEY, read_index
    from unbraid.datasets.sources.packing import describe_plan, pack, plan_shards
    from unbraid.datasets.store import open_store

    if dry_run:
        source = read()
        describe_plan(source, plan_shards(source, shards), click.echo)
        return
    use_local_services()
    store = open_store(destination, create=True)
    if not force and store.exists(INDEX_KEY):
        index = read_index(store)
        click.echo(f"{index.name} is packed at {store.url} already (digest {index.digest[:12]}); --force packs it again")
        return
    source = read()
    index = pack(source, store, one_line(), shards=shards, threads=threads, max_skipped=max_skipped)
    click.echo()
    if source.left_out:
        click.echo(f"left out {len(source.left_out):,}: " + "; ".join(list(source.left_out)[:3]))
    click.echo(f"{index.name} → {store.url}, digest {index.digest[:12]}")


@data.command()
@click.argument("url")
@click.option("--sheet", type=click.Path(path_type=Path), help="Write a contact sheet of the first images as PNG.")
@click.option("--no-check", is_flag=True, help="Skip reading every shard to compare checksums.")
def inspect(url: str, sheet: Path | None, no_check: bool) -> None:
    """Say what is packed at URL, and check that every shard is what its index says.

    \b
    Examples:
      unbraid data inspect s3://unbraid/mnist --sheet mnist.png
      unbraid data inspect ./shards --no-check
    """
    from unbraid.datasets.shards.inspect import inspect_set

    use_local_services()
    broken = inspect_set(url, sheet, not no_check, click.echo)
    if broken:
        raise click.ClickException(f"{broken} damaged shards at {url}; pack the set again")


@data.command()
@click.argument("url")
@click.option("--split", default="train", show_default=True)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Read as so many workers would.")
@click.option("--batch", default=128, show_default=True, type=click.IntRange(1), help="Images in a global batch.")
@click.option("--lanes", default=16, show_default=True, type=click.IntRange(1))
@click.option("--window", default=256, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=10.0, show_default=True, help="For each of the three measurements.")
def bench(url: str, split: str, workers: int, batch: int, lanes: int, window: int, seconds: float) -> None:
    """Read URL as training would, and say how fast that is, what limits it, and how near it comes.

    \b
    Examples:
      unbraid data bench s3://unbraid/mnist
      unbraid data bench s3://bucket/sets/people --workers 4 --batch 512 --seconds 30
    """
    from unbraid.datasets.stream.throughput import measure

    use_local_services()
    measure(url, split, workers=workers, batch=batch, lanes=lanes, window=window, seconds=seconds, report=click.echo)


def read_source(kind: str, path: Path, name: str, options: object, keypoints: tuple[Path, ...], seed: int) -> Source:
    """The raw data set of one kind."""
    from unbraid.datasets.sources import celeba, deepfashion, folder, market1501, mnist, mnist_cdcb, pairs, svhn

    assert isinstance(options, folder.FolderOptions)
    readers: dict[str, Callable[[], Source]] = {
        "mnist": lambda: mnist.read_mnist(path),
        "mnist-cdcb": lambda: mnist_cdcb.read_mnist_cdcb(path, name, options.size or mnist_cdcb.SIZE, seed),
        "idx": lambda: mnist.read_idx_set(path, name),
        "svhn": lambda: svhn.read_svhn(path),
        "celeba": lambda: celeba.read_celeba(path, options.size),
        "folder": lambda: folder.read_folder(path, name, options),
        "pairs": lambda: pairs.read_pairs(path, name, options.size, options.test_share),
        "market1501": lambda: market1501.read_market1501(path, keypoints, options.size),
        "deepfashion": lambda: deepfashion.read_deepfashion(path, keypoints, options.size),
    }
    return readers[kind]()


def one_line() -> Callable[[str], None]:
    """A report that rewrites its line on a terminal."""
    if not sys.stdout.isatty():
        return click.echo
    return lambda text: click.echo(f"\r\x1b[2K{text}", nl=False)
