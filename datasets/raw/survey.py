"""Looks at every image of a raw data set before any is packed: what its files hold, and what must be done with them."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.collection import Files, UnusableSampleError
from unbraid.datasets.raw.images import Size
from unbraid.datasets.raw.tally import Tally
from unbraid.datasets.shards.index import LARGEST_VALUE
from unbraid.datasets.shards.pixels import JPEG_SIGNATURE, WHITE, Colour, Header, read_header

HEAD_BYTES = 1 << 16
"""Bytes of a JPEG that hold its header, nearly always; more are read where they do not."""
SHOWN_SIZES = 5
MOST_THREADS = 16
TOGETHER = 64
"""Images that a thread looks at in one go: handing over each takes as long as looking at it."""

Headers = Mapping[str, Header]


@dataclass(frozen=True)
class Survey:
    """Holds the headers of images.

    Attributes:
        where: names the collection of files in messages.
        headers: of the images that can be read, by name.
        unusable: why each of the others cannot be packed; each names its file.
    """

    where: str
    headers: Headers
    unusable: Sequence[str] = field(default_factory=tuple)

    def shape(self, names: Sequence[str], size: Size | None, any_size: bool = False) -> tuple[int, int, int]:
        """Return (C, H, W) in which the images of these names are stored; (C, 0, 0) for several sizes, where they are allowed.

        Args:
            size: to which all are resized; None keeps theirs.
            any_size: whether several sizes are allowed.

        Raises:
            DataError: naming the sizes and an image of each, when they differ and may not.
        """
        channels = max((self.headers[name].channels for name in names), default=3)
        if size is not None:
            return channels, *size
        sizes = {(header.height, header.width) for header in map(self.headers.__getitem__, names)}
        if len(sizes) == 1:
            height, width = sizes.pop()
            if channels * height * width > LARGEST_VALUE:
                raise DataError(
                    f"{self.where}: the images have {height}x{width} pixels (height x width), at most "
                    f"{LARGEST_VALUE // channels:,} pixels are stored of one; resize them with --size"
                )
            return channels, height, width
        if any_size:
            return channels, 0, 0
        found = "\n".join(f"  {line}" for line in _sizes(self.headers, names))
        raise DataError(
            f"{self.where}: the images are of {len(sizes)} sizes, of which no batch can be made:\n{found}\n"
            "resize all with --size HEIGHTxWIDTH, or keep them with --any-size, to be resized in training by data.fit"
        )

    def require_size(self, size: Size, what: str, remedy: str) -> None:
        """Check that all images have the size of the published ones.

        Args:
            what: the published images, for the message, such as ``CelebA's aligned images``.
            remedy: what to do with images of another size.

        Raises:
            DataError: naming an image that has another one.
        """
        others = [name for name, header in self.headers.items() if (header.height, header.width) != size]
        if others:
            header = self.headers[others[0]]
            raise DataError(
                f"{self.where}: {what} have {size[0]}x{size[1]} pixels (height x width); {len(others):,} of "
                f"{len(self.headers):,} have not, such as {others[0]} ({header.height}x{header.width}): {remedy}"
            )

    def describe(self, names: Sequence[str], size: Size | None = None, background: Colour = WHITE) -> list[str]:
        """Return lines on the images of these names: formats, channels, sizes, and what is done with them."""
        formats, changed = Tally(), Tally()
        grey = sum(self.headers[name].channels == 1 for name in names)
        for name in names:
            header = self.headers[name]
            formats.add(header.format, name)
            for change in _changes(header, size, background):
                changed.add(change, name)
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in formats.counts.items())
        colours = "grey" if grey == len(names) else "colour" if not grey else f"colour, {grey:,} of them grey, shown in colour"
        lines = [f"images   {kinds}; {colours}"]
        lines += [f"sizes    {line}" for line in _sizes(self.headers, names)]
        if size is not None:
            lines.append(f"resized  {_resized(self.headers, names, size)}")
        lines += [f"changed  {line}" for line in changed]
        return lines


def survey(files: Files, names: Sequence[str]) -> Survey:
    """Read the header of every image.

    Raises:
        DataError: when there are no images, or none of them can be read.
    """
    if not names:
        left_out = "".join(f"\n  left out: {line}" for line in files.left_out)
        raise DataError(f"{files.where}: no images there{left_out}")
    headers: dict[str, Header] = {}
    unusable: list[str] = []
    shared: dict[Header, Header] = {}  # most images of a set have equal headers: one object for all
    with ThreadPoolExecutor(min(MOST_THREADS, 2 * (os.cpu_count() or 1)), thread_name_prefix="survey") as threads:
        parts = [names[i : i + TOGETHER] for i in range(0, len(names), TOGETHER)]
        for part, found in zip(parts, threads.map(lambda part: [_look(files, name) for name in part], parts), strict=True):
            for name, header in zip(part, found, strict=True):
                if isinstance(header, str):
                    unusable.append(header)
                else:
                    headers[name] = shared.setdefault(header, header)
    if not headers:
        raise DataError(f"{files.where}: none of {len(names):,} images can be read, the first because: {unusable[0]}")
    return Survey(files.where, headers, unusable)


def _look(files: Files, name: str) -> Header | str:
    """Return an image's header, or why it cannot be packed."""
    try:
        head = files.head(name, HEAD_BYTES)
        if head.startswith(JPEG_SIGNATURE) and len(head) == HEAD_BYTES:
            try:
                return read_header(head)
            except ValueError:
                pass  # its header is longer
        return read_header(head if len(head) < HEAD_BYTES else files.read(name))
    except ValueError as error:
        return f"{files.where}/{name}: {error}"
    except UnusableSampleError as error:
        return str(error)


def _changes(header: Header, size: Size | None, background: Colour) -> list[str]:
    """Return in what an image's pixels are changed, other than in size."""
    changes = []
    if header.orientation != 1:
        changes.append("images turned upright, as their EXIF orientation says")
    if header.is_transparent:
        changes.append(f"images with transparency, composed on rgb{background} (--background)")
    if header.mode.startswith("I;16"):
        changes.append("images of 16 bits, scaled to 8 (65,535 becomes 255: images of 10 or 12 bits must be scaled before)")
    if header.frames > 1:
        changes.append("files of several pictures, of which the first is used")
    if header.format not in ("PNG", "JPEG"):
        changes.append(f"{header.format} files, stored as PNG")
    return changes


def _sizes(headers: Headers, names: Sequence[str]) -> list[str]:
    """Describe the most frequent sizes, and the others by their range."""
    sizes = Tally()
    for name in names:
        header = headers[name]
        sizes.add(f"of {header.height}x{header.width} (height x width)", name)
    lines = list(sizes)
    if len(lines) == 1:
        header = headers[names[0]]
        return [f"all {header.height}x{header.width} (height x width)"]
    if len(lines) <= SHOWN_SIZES:
        return lines
    heights, widths = ([getattr(headers[name], side) for name in names] for side in ("height", "width"))
    rest = len(lines) - SHOWN_SIZES
    ends = f"heights {min(heights)} to {max(heights)}, widths {min(widths)} to {max(widths)}"
    return [*lines[:SHOWN_SIZES], f"and {rest:,} other sizes; {ends}"]


def _resized(headers: Headers, names: Sequence[str], size: Size) -> str:
    """Say what resizing does to the images' proportions."""
    wanted = size[1] / size[0]
    stretched = [name for name in names if abs(headers[name].width / headers[name].height / wanted - 1) > 0.02]
    text = f"all to {size[0]}x{size[1]}"
    if not stretched:
        return text
    header = headers[stretched[0]]
    return (
        f"{text}; {len(stretched):,} have other proportions and are stretched, such as {stretched[0]} "
        f"({header.height}x{header.width})"
    )
