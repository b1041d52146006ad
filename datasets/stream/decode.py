"""Decodes the members of samples into the arrays of a batch, each image directly into its row."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unbraid.datasets.shards.arrays import read_array
from unbraid.datasets.shards.codec import decode_image, decode_integer
from unbraid.datasets.shards.index import Field
from unbraid.datasets.stream.read import Block
from unbraid.datasets.untrusted.text import in_one_line

DAMAGED = "its checksum differs from the one packed: the shard was changed or damaged"
_DTYPES = {"image": np.uint8, "integer": np.int64, "array": np.float32}

Arrays = dict[str, NDArray[np.generic]]


class BatchDecoder:
    """Decodes samples into arrays that are allocated for a whole batch; any number of threads may share one.

    Args:
        fields: of the data set.

    Raises:
        ValueError: when a field's images are of several sizes, of which no batch can be made.
    """

    def __init__(self, fields: Mapping[str, Field]) -> None:
        for name, field in fields.items():
            if field.shape is None:
                raise ValueError(f"the images of field {name!r} are of several sizes and make no batch: pack with --size")
        self.fields = dict(fields)

    def allocate(self, samples: int) -> Arrays:
        """Allocate arrays for N samples: images (N, H, W, C) uint8, integers (N,) int64, arrays (N, …) float32."""
        shapes = {name: self._stored_shape(field) for name, field in self.fields.items()}
        return {name: np.empty((samples, *shape), _DTYPES[self.fields[name].kind]) for name, shape in shapes.items()}

    def decode(self, block: Block, first: int, last: int, arrays: Arrays, row: int) -> dict[int, str]:
        """Decode all fields of samples ``first`` to ``last`` (exclusive) of a block into the arrays, from ``row`` on.

        Returns:
            The row of each sample that cannot be used, and why.
        """
        damaged = (row + np.flatnonzero(block.damaged[first:last])).tolist()
        unusable: dict[int, str] = dict.fromkeys(damaged, DAMAGED)
        for column, (name, field) in enumerate(self.fields.items()):
            decode, array = _DECODERS[field.kind], arrays[name]
            for at, content in enumerate(block.encoded(first, last, column), row):
                if at in unusable:
                    continue
                try:
                    if content is None:
                        unusable[at] = f"it has no {' or '.join(field.members)} for the field {name!r}"
                    else:
                        decode(content, array[at : at + 1])
                except Exception as error:  # whatever a decoder raises of a hostile sample, the sample is counted
                    unusable[at] = f"its {name} cannot be decoded ({in_one_line(error)})"
        return unusable

    def tensors(self, arrays: Arrays) -> dict[str, Tensor]:
        """Wrap the arrays as tensors; images become (N, C, H, W) views of (N, H, W, C) memory."""
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        images = {name: tensors[name].permute(0, 3, 1, 2) for name, field in self.fields.items() if field.kind == "image"}
        return tensors | images

    @staticmethod
    def _stored_shape(field: Field) -> tuple[int, ...]:
        assert field.shape is not None
        if field.kind != "image":
            return field.shape
        channels, height, width = field.shape
        return height, width, channels


def _decode_image(content: memoryview, out: NDArray[np.generic]) -> None:
    decode_image(content, out[0])


def _decode_integer(content: memoryview, out: NDArray[np.generic]) -> None:
    out[0] = decode_integer(content)


def _decode_array(content: memoryview, out: NDArray[np.generic]) -> None:
    out[0] = read_array(content, out.shape[1:])


_DECODERS = {"image": _decode_image, "integer": _decode_integer, "array": _decode_array}
"""By kind of field; each writes one value into an array of length 1, a row of the batch."""
