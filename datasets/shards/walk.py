"""Walks through a tar once, from its first byte to its last, and yields its samples with their bytes.

This is not tarfile, because that ends without a word at a damaged header or where a tar is cut off, and takes twice as long
without handing out any bytes. POSIX (ustar and PAX) and GNU headers are understood. Neighbouring members of one name before the
first dot are a sample, as for every WebDataset reader.
"""

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

BLOCK = 512
LARGEST_SAMPLE = 1 << 30
"""Bytes of one sample that are held in memory."""
LONGEST_NAME = 1 << 16
"""Bytes of an extended header."""
_REGULAR = (b"0", b"\0", b"7")
_LINKS = (b"1", b"2")
_NAME, _SIZE, _SUM, _TYPE = slice(0, 100), slice(124, 136), slice(148, 156), slice(156, 157)
_MAGIC, _PREFIX = slice(257, 263), slice(345, 500)
_SIGNATURES = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


class TarError(Exception):
    """The bytes are not those of a whole tar; the message says where and why."""


@dataclass
class TarSample:
    """One sample of a tar.

    Attributes:
        key: shared by its members.
        offset: of its first header, in the tar.
        members: by extension in lower case: offset of the content in ``content``, and length.
        content: from its first header up to the next sample's.
    """

    key: str
    offset: int
    members: dict[str, tuple[int, int]] = field(default_factory=dict)
    content: bytes = b""

    def member(self, extension: str) -> memoryview:
        """Return the content of a member."""
        begin, length = self.members[extension]
        return memoryview(self.content)[begin : begin + length]


@dataclass(frozen=True)
class _Member:
    """A regular file of a tar: where its (first) header begins, where its content does, and how long that is."""

    name: str
    offset: int
    data: int
    size: int


def walk(blocks: Iterable[bytes | memoryview]) -> Iterator[TarSample]:
    """Yield the samples of a tar.

    Args:
        blocks: all bytes of the tar, in order, in pieces of any size.

    Raises:
        TarError: when the bytes are not those of a whole tar, members of a sample are not beside each other or have one
            extension, or a sample is too large.
    """
    window = _Window(iter(blocks))
    seen: set[str] = set()
    sample: TarSample | None = None
    for member in _members(window):
        key, extension = split_name(member.name)
        if not extension:
            continue  # a README, for instance; its bytes belong to the sample before it
        if sample is None or key != sample.key:
            if sample is not None:
                sample.content = window.take(sample.offset, member.offset)
                yield sample
            if key in seen:
                raise TarError(
                    f"members of {key} are not beside each other; write the tar again with sorted names (tar --sort=name)"
                )
            seen.add(key)
            window.keep_from = member.offset
            sample = TarSample(key, member.offset)
        if extension in sample.members:
            raise TarError(f"{key} has two members with the extension {extension}")
        sample.members[extension] = (member.data - sample.offset, member.size)
        if member.data + member.size - sample.offset > LARGEST_SAMPLE:
            raise TarError(f"{key} has more than {LARGEST_SAMPLE:,} bytes")
    if sample is not None:
        sample.content = window.take(sample.offset, window.end_mark)
        yield sample


def split_name(name: str) -> tuple[str, str]:
    """Split the name of a member at the first dot of its last part, as WebDataset does; extensions are in lower case."""
    folder, slash, file = name.rpartition("/")
    stem, _, extension = file.partition(".")
    return folder + slash + stem, extension.lower()


class _Window:
    """Holds the bytes of a stream from one place on.

    Attributes:
        keep_from: bytes before it may be dropped.
        end_mark: where the end mark of the tar begins, once it has been seen.
    """

    def __init__(self, blocks: Iterator[bytes | memoryview]) -> None:
        self._blocks = blocks
        self._held = bytearray()
        self._begin = 0
        self.keep_from = 0
        self.end_mark = 0

    def take(self, begin: int, end: int) -> bytes:
        """Return the bytes of a part, fewer where the stream ends in it."""
        self.reaches(end)
        return bytes(memoryview(self._held)[begin - self._begin : end - self._begin])

    def reaches(self, end: int) -> bool:
        """Read up to a place; return whether the stream has so many bytes."""
        while self._begin + len(self._held) < end:
            block = next(self._blocks, None)
            if block is None:
                return False
            drop = min(self.keep_from - self._begin, len(self._held))
            if drop > 0:
                del self._held[:drop]
                self._begin += drop
            self._held += block
        return True


def _members(window: _Window) -> Iterator[_Member]:
    """Yield the regular files of a tar, with the names that extended headers give them.

    Raises:
        TarError: when a header is damaged, or the tar ends without its end mark.
    """
    at = 0
    begin: int | None = None
    extended: dict[str, str] = {}
    while True:
        header = window.take(at, at + BLOCK)
        if len(header) < BLOCK:
            raise TarError(f"is cut off after {at + len(header):,} bytes, without an end mark{_hint(header) if not at else ''}")
        if not any(header):
            window.end_mark = at
            return
        size, kind = _checked(header, at)
        start = at if begin is None else begin
        at += BLOCK
        if size > LARGEST_SAMPLE:
            raise TarError(f"has a member of {size:,} bytes at byte {start:,}, at most {LARGEST_SAMPLE:,} are read")
        if kind in (b"x", b"L", b"g"):
            if size > LONGEST_NAME:
                raise TarError(f"has an extended header of {size:,} bytes at byte {at - BLOCK:,}")
            content = window.take(at, at + size)
            if kind == b"L":
                extended["path"] = _text(content.rstrip(b"\0"))
            elif kind == b"x":
                extended |= _pax(content, at)
            begin = start
            at += -(-size // BLOCK) * BLOCK
            continue
        if kind == b"S" or any(name.startswith("GNU.sparse") for name in extended):
            raise TarError(f"has a sparse file at byte {start:,}; write the tar again without --sparse")
        size = int(extended.get("size", size)) if kind in _REGULAR else 0 if kind in _LINKS or kind == b"5" else size
        name = extended.get("path") or _header_name(header)
        if kind in _REGULAR and not name.endswith("/"):
            if not window.reaches(at + size):
                raise TarError(f"is cut off in the member {name}")
            yield _Member(_tidied(name), start, at, size)
        at += -(-size // BLOCK) * BLOCK
        begin, extended = None, {}


def _tidied(name: str) -> str:
    """Write a name without ``./`` and the like; most names have none."""
    return posixpath.normpath(name) if name.startswith("./") or "/." in name or "//" in name else name


def _checked(header: bytes, at: int) -> tuple[int, bytes]:
    """Return size and type of the member of a header.

    Raises:
        TarError: when its checksum differs.
    """
    try:
        expected = int(header[_SUM].split(b"\0")[0].strip() or b"-1", 8)
        size = (
            int.from_bytes(header[124:136][1:], "big") if header[124] & 0x80 else int(header[_SIZE].rstrip(b"\0 ") or b"0", 8)
        )
    except ValueError:
        raise TarError(f"has no header of a member at byte {at:,}{_hint(header)}") from None
    if sum(header) - sum(header[_SUM]) + 8 * 32 != expected:
        raise TarError(f"has a damaged header at byte {at:,}{_hint(header)}")
    return size, header[_TYPE]


def _hint(header: bytes) -> str:
    """Say what else the bytes are, where that is known."""
    kind = next((name for start, name in _SIGNATURES.items() if header.startswith(start)), None)
    if kind is None:
        return ""
    return f": is compressed with {kind}, so that no sample can be read without all those before it; decompress it once"


def _header_name(header: bytes) -> str:
    name = header[_NAME].split(b"\0", 1)[0]
    prefix = header[_PREFIX].split(b"\0", 1)[0] if header[_MAGIC] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _pax(content: bytes, at: int) -> dict[str, str]:
    """Read the records of a PAX header, ``LENGTH KEY=VALUE\\n``."""
    records = {}
    while content:
        digits = content.split(b" ", 1)[0]
        try:
            length = int(digits)
            key, _, value = content[len(digits) + 1 : length - 1].partition(b"=")
        except ValueError:
            length = 0
        if length <= len(digits) or length > len(content):
            raise TarError(f"has a damaged extended header at byte {at:,}")
        records[_text(key)] = _text(value)
        content = content[length:]
    return records


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
