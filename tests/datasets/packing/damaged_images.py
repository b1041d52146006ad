"""Image files of every format and mode, whole and damaged in many ways, drawn from a random generator."""

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageDraw

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
INTERLACED = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""(top, left, down, right) of Adam7's passes."""
SIZES = ((24, 32), (24, 32), (24, 32), (16, 16), (1, 1), (9, 70))
"""(height, width); mostly one, so that a set has one size now and then."""

Pixels = NDArray[np.uint8]
Writer = Callable[[Image.Image, Random], bytes]


def damaged_image(random: Random) -> tuple[str, bytes]:
    """Draw a file: its suffix, and its content, which is whole in one of five."""
    suffix, content = whole_image(random)
    for _ in range(random.choice((0, 1, 1, 1, 2))):
        content = random.choice(DAMAGES)(content, random)
    if random.random() < 0.05:
        suffix = random.choice(SUFFIXES)
    return suffix, content


def write_damaged(folder: Path, random: Random, kind: str, count: int) -> Path:
    """Write damaged images into a folder, a zip or a tar."""
    folder.mkdir()
    files = [(f"{number:02d}{suffix}", content) for number in range(count) for suffix, content in [damaged_image(random)]]
    if kind == "folder":
        for name, content in files:
            (folder / name).write_bytes(content)
        return folder
    archive = folder / f"images.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as zipped:
            for name, content in files:
                zipped.writestr(name, content)
        return archive
    with tarfile.open(archive, "w") as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return archive


def whole_image(random: Random) -> tuple[str, bytes]:
    """Draw a file that nothing is wrong with."""
    suffix, write = random.choice(WRITERS)
    return suffix, write(picture(*random.choice(SIZES), random), random)


def picture(height: int, width: int, random: Random) -> Image.Image:
    """Draw an RGB image of coarse colours with a few shapes."""
    coarse = np.frombuffer(random.randbytes(3 * 4 * 4), np.uint8).reshape(4, 4, 3)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        x, y = random.randrange(width), random.randrange(height)
        draw.ellipse((x, y, x + width // 4, y + height // 4), fill=tuple(random.randbytes(3)))
    return image


def chunk(kind: bytes, content: bytes) -> bytes:
    """Write a chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _saved(kind: str, mode: str, image: Image.Image, random: Random, **options: object) -> bytes:
    converted = image.convert("L").convert(mode) if mode in ("LA", "1") else image.convert(mode)
    if mode in ("LA", "RGBA"):
        converted.putalpha(
            Image.fromarray(
                np.frombuffer(random.randbytes(image.width * image.height), np.uint8).reshape(image.height, image.width)
            )
        )
    buffer = io.BytesIO()
    converted.save(buffer, kind, **options)
    return buffer.getvalue()


def _deep(kind: str, image: Image.Image, random: Random) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(buffer, kind)
    return buffer.getvalue()


def _numbers(dtype: type[np.generic], image: Image.Image, random: Random) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(image.convert("L")).astype(dtype)).save(buffer, "TIFF")
    return buffer.getvalue()


def _deep_colour(image: Image.Image, random: Random) -> bytes:
    pixels = np.asarray(image).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", image.width, image.height, 16, 2, 0, 0, 0))
    return PNG_SIGNATURE + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _interlaced(image: Image.Image, random: Random) -> bytes:
    pixels, rows = np.asarray(image), b""
    for top, left, down, right in INTERLACED:
        part = pixels[top::down, left::right]
        rows += b"".join(b"\0" + row.tobytes() for row in part) if part.size else b""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", image.width, image.height, 8, 2, 0, 0, 1))
    return PNG_SIGNATURE + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _turned(kind: str, image: Image.Image, random: Random) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = random.randint(1, 8)
    return _saved(kind, "RGB", image, random, exif=exif)


def _animated(kind: str, image: Image.Image, random: Random) -> bytes:
    other = picture(image.height, image.width, random)
    return _saved(kind, "P" if kind == "GIF" else "RGB", image, random, save_all=True, append_images=[other])


def _as_text(image: Image.Image, random: Random) -> bytes:
    numbers = " ".join(map(str, np.asarray(image).reshape(-1).tolist()))
    return f"P3\n# a remark\n{image.width} {image.height}\n255\n{numbers}\n".encode()


def _each(suffix: str, kind: str, modes: Sequence[str], **options: Any) -> list[tuple[str, Writer]]:
    return [(suffix, partial(_saved, kind, mode, **options)) for mode in modes]


WRITERS: list[tuple[str, Writer]] = [
    *_each(".png", "PNG", ("1", "L", "P", "RGB", "RGB", "LA", "RGBA")),
    *_each(".png", "PNG", ("L",), transparency=0), *_each(".png", "PNG", ("RGB",), transparency=(0, 0, 0)),
    (".png", partial(_deep, "PNG")), (".png", _deep_colour), (".png", _interlaced), (".png", partial(_turned, "PNG")),
    (".png", partial(_animated, "PNG")),
    *_each(".jpg", "JPEG", ("L", "RGB", "RGB", "CMYK")), *_each(".jpeg", "JPEG", ("L", "RGB", "CMYK"), progressive=True),
    *_each(".jpg", "JPEG", ("RGB",), subsampling=0), *_each(".JPG", "JPEG", ("RGB",), restart_marker_blocks=1),
    (".jpg", partial(_turned, "JPEG")),
    *_each(".webp", "WEBP", ("RGB", "RGBA")), *_each(".webp", "WEBP", ("RGB",), lossless=True),
    (".webp", partial(_turned, "WEBP")), (".webp", partial(_animated, "WEBP")),
    *_each(".bmp", "BMP", ("1", "L", "P", "RGB", "RGBA")),
    *_each(".gif", "GIF", ("L", "P", "RGB", "RGBA")), (".gif", partial(_animated, "GIF")),
    *_each(".tif", "TIFF", ("1", "L", "P", "RGB", "RGBA", "CMYK", "LAB")),
    *_each(".tiff", "TIFF", ("L", "RGB"), compression="tiff_lzw"),
    *_each(".tiff", "TIFF", ("RGB",), compression="jpeg"), *_each(".tiff", "TIFF", ("1",), compression="group4"),
    *_each(".tif", "TIFF", ("L", "RGB"), compression="tiff_adobe_deflate"),
    *_each(".tif", "TIFF", ("L",), compression="packbits"),
    (".tif", partial(_deep, "TIFF")), (".tif", partial(_turned, "TIFF")), (".tif", partial(_animated, "TIFF")),
    (".tif", partial(_numbers, np.float32)), (".tif", partial(_numbers, np.int32)),
    *_each(".ppm", "PPM", ("1", "L", "RGB")), (".pgm", partial(_deep, "PPM")), (".pnm", _as_text),
]  # fmt: skip
SUFFIXES = sorted({suffix for suffix, _ in WRITERS})


def _cut(content: bytes, random: Random) -> bytes:
    return content[: random.choice((0, 1, 8, random.randint(0, len(content)), len(content) - random.randint(0, 12)))]


def _cut_front(content: bytes, random: Random) -> bytes:
    return content[random.randint(0, 40) :]


def _flipped(content: bytes, random: Random) -> bytes:
    changed = bytearray(content or b"\0")
    within = len(changed) if random.random() < 0.5 else min(len(changed), 100)  # headers matter most
    for _ in range(random.choice((1, 1, 2, 5, 40))):
        changed[random.randrange(within)] ^= 1 << random.randrange(8)
    return bytes(changed)


def _inserted(content: bytes, random: Random) -> bytes:
    at = random.randint(0, len(content))
    return content[:at] + random.randbytes(random.randint(1, 64)) + content[at:]


def _removed(content: bytes, random: Random) -> bytes:
    at = random.randint(0, len(content))
    return content[:at] + content[at + random.randint(1, 64) :]


def _zeroed(content: bytes, random: Random) -> bytes:
    at, length = random.randint(0, len(content)), random.randint(1, 64)
    return content[:at] + bytes(length) + content[at + length :]


def _repeated(content: bytes, random: Random) -> bytes:
    at, length = random.randint(0, len(content)), random.randint(1, 200)
    return content[: at + length] + content[at:]


def _joined(content: bytes, random: Random) -> bytes:
    return content + random.choice((whole_image(random)[1], random.randbytes(100), bytes(1000)))


def _number_replaced(content: bytes, random: Random) -> bytes:
    """Overwrite two or four bytes of the header by a number that sizes and lengths break by."""
    at, form = random.randint(0, min(len(content), 200)), random.choice(("<H", ">H", "<I", ">I"))
    number = random.choice((0, 1, 2, 255, 256, 1 << 15, (1 << 16) - 1, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1))
    put = struct.pack(form, number & (0xFFFF if form[1] == "H" else 0xFFFFFFFF))
    return content[:at] + put + content[at + len(put) :]


def _chunks_reordered(content: bytes, random: Random) -> bytes:
    """Exchange, repeat, drop or change chunks of a PNG, with checksums that are right."""
    chunks, at = [], len(PNG_SIGNATURE)
    if not content.startswith(PNG_SIGNATURE):
        return _segments_reordered(content, random)
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return content
    one, other = random.randrange(len(chunks)), random.randrange(len(chunks))
    how = random.choice(("exchange", "repeat", "drop", "change", "split", "add"))
    kind, body = chunks[one]
    if how == "exchange":
        chunks[one], chunks[other] = chunks[other], chunks[one]
    elif how == "repeat":
        chunks.insert(other, chunks[one])
    elif how == "drop":
        del chunks[one]
    elif how == "change":
        chunks[one] = (kind, _flipped(body, random))
    elif how == "split":
        chunks[one : one + 1] = [(kind, body[: len(body) // 2]), (kind, body[len(body) // 2 :])]
    else:
        kinds = (
            b"tRNS",
            b"PLTE",
            b"eXIf",
            b"acTL",
            b"fcTL",
            b"fdAT",
            b"iCCP",
            b"zTXt",
            b"gAMA",
            b"tEXt",
            b"IDAT",
            b"ABCD",
            b"IEND",
        )
        chunks.insert(other, (random.choice(kinds), random.randbytes(random.choice((0, 1, 2, 6, 8, 26, 40)))))
    return PNG_SIGNATURE + b"".join(chunk(*c) for c in chunks)


def _segments_reordered(content: bytes, random: Random) -> bytes:
    """Exchange, repeat or drop the segments of a JPEG."""
    starts = [i for i in range(len(content) - 1) if content[i] == 0xFF and content[i + 1] not in (0, 0xFF)]
    if not content.startswith(b"\xff\xd8") or len(starts) < 3:
        return _flipped(content, random)
    parts = [content[a:b] for a, b in zip(starts, [*starts[1:], len(content)], strict=True)]
    one, other = random.randrange(len(parts)), random.randrange(len(parts))
    how = random.choice(("exchange", "repeat", "drop"))
    if how == "exchange":
        parts[one], parts[other] = parts[other], parts[one]
    elif how == "repeat":
        parts.insert(other, parts[one])
    else:
        del parts[one]
    return b"".join(parts)


def _another_size(content: bytes, random: Random) -> bytes:
    """Let the header say another size than that of the pixels."""
    number = random.choice((0, 1, 7, 23, 25, 33, 200, 5000, 65500, 1 << 20, (1 << 31) - 1))
    side = random.randrange(2)
    if content.startswith(PNG_SIGNATURE) and len(content) > 33:
        header = bytearray(content[16:29])
        header[4 * side : 4 * side + 4] = struct.pack(">I", number)
        return PNG_SIGNATURE + chunk(b"IHDR", bytes(header)) + content[33:]
    if content.startswith(b"\xff\xd8"):
        at = next((i for i in range(len(content) - 9) if content[i] == 0xFF and content[i + 1] in (0xC0, 0xC2)), None)
        if at is not None:
            at += 5 + 2 * side
            return content[:at] + struct.pack(">H", number & 0xFFFF) + content[at + 2 :]
    if content.startswith(b"BM"):
        return content[: 18 + 4 * side] + struct.pack("<I", number) + content[22 + 4 * side :]
    if content.startswith(b"GIF8"):
        return content[: 6 + 2 * side] + struct.pack("<H", number & 0xFFFF) + content[8 + 2 * side :]
    if content[:1] == b"P":
        return content[:3] + str(number).encode() + content[5:]
    return _number_replaced(content, random)


DAMAGES = (
    _cut, _cut, _cut_front, _flipped, _flipped, _flipped, _inserted, _removed, _zeroed, _repeated, _joined, _number_replaced,
    _chunks_reordered, _chunks_reordered, _another_size,
)  # fmt: skip
