"""The IDX format of MNIST and its relatives."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unbraid.datasets.errors import DataError

_UINT8 = 0x08


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes, gzipped or not.

    Raises:
        DataError: when the file is missing, is not IDX, holds another type, or is shorter or longer than its header says.
    """
    content = read_uncompressed(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UINT8 or not 1 <= content[3] <= 4:
        raise DataError(f"{path}: not an IDX file of unsigned bytes (it begins {content[:4].hex(' ') or 'with nothing'})")
    dimensions = content[3]
    header = 4 + 4 * dimensions
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4))
    expected = header + math.prod(shape)
    if len(content) != expected:
        raise DataError(f"{path}: has {len(content)} bytes where its header says {expected}: it is truncated; fetch it again")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def read_uncompressed(path: Path) -> bytes:
    """A file's content, unpacked when it is gzipped."""
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: a damaged gzip file ({error}); fetch it again") from None
