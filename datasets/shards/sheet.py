"""Draws a contact sheet: samples of every class and split, each in a frame with its class, split and key under it."""

import secrets
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.arrays import read_array
from unbraid.datasets.shards.codec import decoder_of, image_shape
from unbraid.datasets.shards.index import Field, Index
from unbraid.datasets.shards.selection import Look, choose, class_field, class_name
from unbraid.datasets.untrusted.text import in_one_line

LIMBS = (
    (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
"""Pairs of OpenPose's 18 keypoints that a line connects."""
RIGHT, LEFT = {2, 3, 4, 8, 9, 10, 14, 16}, {5, 6, 7, 11, 12, 13, 15, 17}
GROUND, TEXT, FAINT, FRAME = (86, 100, 128), (255, 255, 255), (212, 220, 234), (166, 178, 202)
"""A ground of a colour that is neither white nor black nor grey, so that the edges of such images are seen."""
RIGHT_COLOUR, LEFT_COLOUR, MIDDLE_COLOUR = (255, 150, 30), (40, 215, 255), (250, 240, 70)
DAMAGED = (255, 90, 90)
MARGIN, PADDING = 16, 5
"""Pixels around all, and between a frame and what is in it."""
NARROWEST_TITLE = 420
OPENPOSE = 18
"""Keypoints that have limbs and sides."""
NOT_A_LETTER = "\U0010ffff"
LONGEST_TEXT = 1200
"""Characters of a text that are read before it is shortened."""


@dataclass(frozen=True)
class Style:
    """How large things are drawn.

    Attributes:
        box: pixels of the larger side of an image, at most.
        narrowest: pixels for text, at least.
        font: height of letters in pixels.
        gap: pixels between frames.
        width, height: of the whole sheet, at most.
    """

    box: int
    narrowest: int
    font: int
    gap: int
    width: int
    height: int


NORMAL = Style(box=160, narrowest=120, font=13, gap=10, width=2000, height=3000)
WITH_KEYPOINTS = Style(box=256, narrowest=120, font=13, gap=10, width=2000, height=3000)
SMALL = Style(box=56, narrowest=70, font=11, gap=6, width=2400, height=4000)
"""For more classes than there is room for otherwise."""


@dataclass(frozen=True)
class Layout:
    """Where frames are: all of one size, in rows.

    Attributes:
        slots: (height, width) of the place of each image in a frame, beside each other.
        lines: of text under each frame.
    """

    style: Style
    slots: tuple[tuple[int, int], ...]
    lines: int

    @property
    def line(self) -> int:
        """Height of a line of text."""
        return sum(_font(self.style.font).getmetrics()) + 1

    @property
    def frame(self) -> tuple[int, int]:
        """(height, width) of a frame."""
        width = sum(width for _, width in self.slots) + PADDING * (len(self.slots) - 1)
        return max(height for height, _ in self.slots) + 2 * PADDING, max(width, self.style.narrowest) + 2 * PADDING

    @property
    def pitch(self) -> tuple[int, int]:
        """(height, width) from one frame to the next one's place."""
        height, width = self.frame
        return height + self.lines * self.line + self.style.gap, width + self.style.gap

    @property
    def top(self) -> int:
        """Pixels above the first row: there is the title."""
        return MARGIN + self.line + self.style.gap

    @property
    def columns(self) -> int:
        """Frames in a row, at most."""
        return max(1, (self.style.width - 2 * MARGIN + self.style.gap) // self.pitch[1])

    @property
    def count(self) -> int:
        """Frames for which there is room."""
        return self.columns * max(1, (self.style.height - self.top - MARGIN + self.style.gap) // self.pitch[0])

    def size(self, count: int) -> tuple[int, int]:
        """Return (width, height) of a sheet of so many frames."""
        height, width = self.pitch
        columns = min(count, self.columns)
        return max(columns * width - self.style.gap, NARROWEST_TITLE) + 2 * MARGIN, self.top + -(
            -count // columns
        ) * height - self.style.gap + MARGIN

    def place(self, number: int) -> tuple[int, int]:
        """Return left and top of a frame."""
        row, column = divmod(number, self.columns)
        return MARGIN + column * self.pitch[1], self.top + row * self.pitch[0]


@dataclass(frozen=True)
class Drawn:
    """What a sheet shows.

    Attributes:
        samples: how many.
        unreadable: why images could not be drawn.
    """

    samples: int
    unreadable: list[str]


@contextmanager
def sheet_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file beside ``path`` that takes its place at the end, unless an exception is raised before.

    Raises:
        DataError: when the path is not one of a PNG file that can be written there.
    """
    if path.suffix.lower() != ".png":
        raise DataError(f"{path}: the sheet is a PNG file: name one that ends with .png")
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        if path.is_dir():
            raise DataError(f"{path}: is a folder: name a file that ends with .png in it")
        file = partial.open("xb")
    except OSError as error:
        raise DataError(f"{path}: the sheet cannot be written ({error.strerror or error})") from None
    try:
        with file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise DataError(f"{path}: the sheet cannot be written ({error.strerror or error})") from error
    finally:
        partial.unlink(missing_ok=True)


def draw_sheet(index: Index, looks: Sequence[Look], file: BinaryIO) -> Drawn:
    """Choose samples and draw them, as PNG.

    Raises:
        DataError: when the set has no images, or there are no samples to choose from.
    """
    if not looks:
        raise DataError(f"{index.name}: no sample can be read: there is nothing to draw on a sheet")
    classed = class_field(index)
    layout = fitting_layout(index, len({look.integer(classed) for look in looks}))
    chosen = choose(looks, classed, layout.count)
    sheet = Image.new("RGB", layout.size(len(chosen)), GROUND)
    total = sum(shard.count for shards in index.splits.values() for shard in shards)
    shown = ", ".join(index.image_shapes)
    title = f"{index.name}: {len(chosen):,} of {total:,} samples{f', each of {shown}' if len(layout.slots) > 1 else ''}"
    _write(sheet, (MARGIN, MARGIN), title, sheet.width - 2 * MARGIN, layout, TEXT)
    unreadable: list[str] = []
    for number, look in enumerate(chosen):
        left, top = layout.place(number)
        height, width = layout.frame
        ImageDraw.Draw(sheet).rectangle((left, top, left + width - 1, top + height - 1), outline=FRAME)
        _place_images(sheet, (left, top), index, look, layout, unreadable)
        for line, text in enumerate(_captions(index, look, classed, layout)):
            colour = FAINT if line == layout.lines - 1 else TEXT
            _write(sheet, (left, top + height + line * layout.line), text, width - PADDING, layout, colour)
    sheet.save(file, "PNG")
    return Drawn(len(chosen), unreadable)


def fitting_layout(index: Index, classes: int) -> Layout:
    """Return a layout for the images of a set that has room for one sample of each class, if there is one.

    Raises:
        DataError: when the set has no images.
    """
    if not index.image_shapes:
        raise DataError(f"{index.name}: no field holds images: there is nothing to draw on a sheet")
    normal = WITH_KEYPOINTS if _keypoints_shape(index) is not None else NORMAL
    captions = 2 if class_field(index) is None else 3
    layout = _layout(index, normal, captions)
    return layout if classes <= layout.count else _layout(index, SMALL, captions - 1)


def _layout(index: Index, style: Style, lines: int) -> Layout:
    shapes = index.image_shapes.values()
    room = (style.width - 2 * MARGIN - PADDING) // len(shapes) - PADDING
    box = min(style.box, room)
    return Layout(style, tuple((box, box) if 0 in shape else _fitted(shape[1], shape[2], box) for shape in shapes), lines)


def _fitted(height: int, width: int, box: int) -> tuple[int, int]:
    """Return the size at which an image is drawn: a whole multiple of its own, or, of a large one, as much as the box holds."""
    larger = max(height, width)
    if larger <= box:
        return height * (box // larger), width * (box // larger)
    return max(1, height * box // larger), max(1, width * box // larger)


def _place_images(
    sheet: Image.Image, corner: tuple[int, int], index: Index, look: Look, layout: Layout, unreadable: list[str]
) -> None:
    """Draw the images of a sample into its frame, beside each other."""
    names, keypoints = list(index.image_shapes), _keypoints_shape(index)
    height, width = layout.frame
    used = sum(slot for _, slot in layout.slots) + PADDING * (len(names) - 1)
    left = corner[0] + (width - used) // 2
    for name, (slot_height, slot_width) in zip(names, layout.slots, strict=True):
        try:
            image, pixels = _drawn_image(look, name, index.fields[name], max(slot_height, slot_width))
            if keypoints is not None and name == ("image" if "image" in names else names[0]):
                _draw_keypoints(image, look, keypoints, pixels)
        except Exception as error:  # whatever a decoder raises of a hostile sample, the others are shown
            unreadable.append(f"{look.shard}: sample {look.number}: its {name} cannot be drawn ({in_one_line(error)})")
            image = _crossed_out(slot_height, slot_width)
        top = corner[1] + (height - image.height) // 2
        sheet.paste(image, (left + (slot_width - image.width) // 2, top))
        left += slot_width + PADDING


def _drawn_image(look: Look, name: str, field: Field, box: int) -> tuple[Image.Image, tuple[int, int]]:
    """Decode one image, and enlarge or shrink it.

    Returns:
        The image in its new size, and the (height, width) that it had.

    Raises:
        ValueError: when it is damaged, missing, or larger than what is read.
    """
    content = look.members[name]
    if not look.whole:
        raise ValueError("the checksum of the sample differs")
    if content is None:
        raise ValueError(f"it has no {' or '.join(field.members)}")
    channels, height, width = image_shape(bytes(content)) if field.has_several_sizes else field.shape
    pixels = np.empty((height, width, channels), np.uint8)
    decoder_of(field)(content, pixels[None])
    image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    to_height, to_width = _fitted(height, width, box)
    method = Image.Resampling.NEAREST if to_height >= height else Image.Resampling.BOX
    return image.resize((to_width, to_height), method).convert("RGB"), (height, width)


def _draw_keypoints(image: Image.Image, look: Look, shape: tuple[int, ...], pixels: tuple[int, int]) -> None:
    """Draw the visible keypoints of a sample on its image, which was enlarged or shrunk from (height, width) pixels."""
    points = read_array(bytes(look.members["keypoints"] or b""), shape).astype(np.float64)
    scale = np.array([image.height / pixels[0], image.width / pixels[1]])
    seen = np.isfinite(points).all(1) & (points[:, 2] > 0.5) & (points[:, :2] >= 0).all(1) & (points[:, :2] < pixels).all(1)
    places = [(float(column), float(row)) for row, column in np.where(seen[:, None], (points[:, :2] + 0.5) * scale, 0)]
    pen = ImageDraw.Draw(image)
    for first, second in LIMBS if len(places) == OPENPOSE else ():
        if seen[first] and seen[second]:
            pen.line((places[first], places[second]), _colour(second), 2)
    for number in np.flatnonzero(seen).tolist():
        pen.circle(places[number], 3, _colour(number), (0, 0, 0))


def _colour(keypoint: int) -> tuple[int, int, int]:
    return RIGHT_COLOUR if keypoint in RIGHT else LEFT_COLOUR if keypoint in LEFT else MIDDLE_COLOUR


def _crossed_out(height: int, width: int) -> Image.Image:
    """Draw what takes the place of an image that cannot be decoded."""
    image = Image.new("RGB", (width, height), GROUND)
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, width - 1, height - 1), outline=DAMAGED)
    pen.line((0, 0, width - 1, height - 1), DAMAGED)
    pen.line((0, height - 1, width - 1, 0), DAMAGED)
    return image


def _keypoints_shape(index: Index) -> tuple[int, int] | None:
    """Return (K, 3) of a field of keypoints, row, column and visible; None where the set has none."""
    field = index.fields.get("keypoints")
    if field is None or field.kind != "array" or len(field.shape) != 2 or field.shape[1] != 3:
        return None
    return (field.shape[0], 3)


def _captions(index: Index, look: Look, classed: str | None, layout: Layout) -> list[str]:
    """Return the lines under a frame: class, split, key; the last two on one line where there is room for no more."""
    captions = []
    if classed is not None:
        value = look.integer(classed)
        name = class_name(index, classed, value)
        captions.append(name if all(map(_is_drawn, name)) else f"{value}: {name}")
    rest = [look.split, look.key]
    return [*captions, *rest] if len(captions) + 2 == layout.lines else [*captions, "  ".join(rest)]


def shortened(text: str, width: int, size: int) -> str:
    """Return a text that is at most so many pixels wide; of a longer one, the middle is left out.

    Letters that the font does not have are written as escapes.
    """
    text = in_one_line(text, LONGEST_TEXT)
    text = "".join(c if _is_drawn(c) else c.encode("unicode_escape").decode() for c in text)
    font = _font(size)
    if font.getlength(text) <= width:
        return text
    fewest, most = 0, len(text) - 1
    while fewest < most:  # the largest number of letters that fits
        kept = (fewest + most + 1) // 2
        fewest, most = (kept, most) if font.getlength(_cut(text, kept)) <= width else (fewest, kept - 1)
    return _cut(text, fewest)


def _cut(text: str, kept: int) -> str:
    """Keep the beginning and the end of a text."""
    return text[: kept - kept // 2] + "…" + text[len(text) - kept // 2 :]


def _write(
    sheet: Image.Image, corner: tuple[int, int], text: str, width: int, layout: Layout, colour: tuple[int, int, int]
) -> None:
    """Write a line of text that covers nothing beyond its own place."""
    line = Image.new("RGB", (width, layout.line), GROUND)
    size = layout.style.font
    ImageDraw.Draw(line).text((0, 0), shortened(text, width, size), colour, _font(size))
    sheet.paste(line, corner)


@lru_cache(maxsize=4)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


@lru_cache(maxsize=4096)
def _is_drawn(letter: str) -> bool:
    """Return whether the font has a letter; marks that are put over others count as missing."""
    font = _font(NORMAL.font)
    if letter == " ":
        return True
    return not unicodedata.combining(letter) and bytes(font.getmask(letter)) != bytes(font.getmask(NOT_A_LETTER))
