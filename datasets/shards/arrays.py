"""Reads ``.npy`` content whose header is compared with what is expected before any memory is taken for its values."""

import io
import re
import threading
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

LONGEST_HEADER = 10_000
"""Characters."""
_PLAIN = re.compile(
    rb"\x93NUMPY\x01\x00(?P<length>..)\{'descr': '(?P<type>[<>|](?:[iu][1248]|f[248]|b1))', "
    rb"'fortran_order': (?P<transposed>True|False), "
    rb"'shape': \((?P<shape>[0-9]{1,9},|[0-9]{1,9}(?:, [0-9]{1,9}){1,7}|)\), ?\} *\n",
    re.DOTALL,
)
"""The header of an array of numbers as numpy writes it."""
_PARSER = threading.Lock()


def array_shape(content: bytes | memoryview) -> tuple[int, ...]:
    """Return the shape that the header of a ``.npy`` file says.

    Raises:
        ValueError: when the content is none.
    """
    return _header(io.BytesIO(content))[0]


def read_array(content: bytes | memoryview, shape: tuple[int, ...], dtype: np.dtype[Any] | None = None) -> NDArray[Any]:
    """Read an array from the content of a ``.npy`` file, without a copy. Nothing is unpickled.

    Args:
        shape: that it must have.
        dtype: that it must have; None takes any of plain numbers.

    Raises:
        ValueError: when the content is no such array.
    """
    file = io.BytesIO(content)
    found, transposed, kind = _header(file)
    if found != shape:
        raise ValueError(f"it has shape {found}, the index says {shape}")
    if kind != dtype if dtype is not None else kind.hasobject or kind.kind not in "biuf":
        raise ValueError(f"it holds {kind}, expected {dtype or 'numbers'}")
    if len(content) - file.tell() != kind.itemsize * int(np.prod(shape, dtype=np.int64)):
        raise ValueError(f"it has {len(content) - file.tell()} bytes of values, which is not what shape {shape} needs")
    return np.frombuffer(content, kind, offset=file.tell()).reshape(shape, order="F" if transposed else "C")


def _header(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, whether columns come first, and type.

    As numpy writes them, headers are matched: numpy reads them by Python's parser, which is not safe in several threads
    (SystemError: AST constructor recursion depth mismatch, CPython issue 106905, seen in decoding threads).
    """
    plain = _PLAIN.match(file.getbuffer())
    if plain is not None and plain.end() == 10 + int.from_bytes(plain["length"], "little"):
        file.seek(plain.end())
        shape = tuple(int(side) for side in plain["shape"].split(b",") if side.strip())
        return shape, plain["transposed"] == b"True", np.dtype(plain["type"].decode())
    try:
        with _PARSER:
            version = npy.read_magic(file)
            read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
            return read(file, max_header_size=LONGEST_HEADER)
    except Exception as error:  # numpy documents none of what it raises for a damaged header
        raise ValueError(f"not an array ({type(error).__name__})") from None
