"""Arrays as numpy writes them, read without Python's parser."""

import gc
import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib import format as npy
from numpy.typing import NDArray

from unbraid.datasets.shards.arrays import array_shape, read_array

TYPES = ["<f4", "<f8", "<f2", ">f4", "<i8", "<i4", ">i2", "|i1", "|u1", "<u2", "|b1"]


def saved(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@given(st.sampled_from(TYPES), st.lists(st.integers(0, 4), max_size=5).map(tuple), st.booleans())
def test_what_numpy_writes_is_read_as_numpy_reads_it(kind: str, shape: tuple[int, ...], transposed: bool) -> None:
    array = np.arange(int(np.prod(shape))).reshape(shape).astype(kind)
    content = saved(np.asarray(array, order="F" if transposed else "C"))
    assert array_shape(content) == shape
    read = read_array(content, shape, np.dtype(kind))
    assert read.dtype == np.dtype(kind)
    assert np.array_equal(read, array)


def test_headers_that_others_write_are_read_too() -> None:
    """In another order and of a later version, which numpy's own reader understands."""
    header = b"{'shape': (2,), 'fortran_order': False, 'descr': '<f4'}\n"
    other = npy.magic(1, 0) + len(header).to_bytes(2, "little") + header + np.ones(2, np.float32).tobytes()
    assert read_array(other, (2,)).tolist() == [1, 1]
    later = io.BytesIO()
    npy.write_array(later, np.ones(3, np.float32), (2, 0))
    assert read_array(later.getvalue(), (3,)).tolist() == [1, 1, 1]


@pytest.mark.parametrize("change", [b"\x00", b"{'descr': 'O',", b"{'descr': '<f3',", b"{'descr': __import__('os'),"])
def test_other_content_is_no_array(change: bytes) -> None:
    content = saved(np.ones(3, np.float32)).replace(b"{'descr': '<f4',", change)
    with pytest.raises(ValueError, match=r"not an array|it holds"):
        read_array(content, (3,))


class Slow:
    """Runs Python code while garbage is collected, in which another thread may take its turn."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        for _ in range(50):
            pass


@contextmanager
def frequent_turns() -> Iterator[None]:
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(1)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)


def test_threads_read_arrays_at_the_same_time() -> None:
    """numpy's own reader fails here about once in a thousand times: CPython's parser is not safe in several threads."""
    content, failures = saved(np.ones((18, 3), np.float32)), []

    def read() -> None:
        for _ in range(1500):
            Slow()
            try:
                read_array(content, (18, 3))
            except ValueError as error:
                failures.append(str(error))

    with frequent_turns():
        threads = [threading.Thread(target=read) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
