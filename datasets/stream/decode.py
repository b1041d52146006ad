"""Decodes the members of samples into the arrays of a batch, each image directly into its row."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unbraid.datasets.shards.codec import DTYPES, decoder_of, stored_shape
from unbraid.datasets.shards.index import Field, fitted_fields
from unbraid.datasets.stream.read import Block
from unbraid.datasets.untrusted.text import in_one_line

DAMAGED = "its checksum differs from the one packed: the shard was changed or damaged"

Arrays = dict[str, NDArray[np.generic]]


class BatchDecoder:
    """Decodes samples into arrays that are allocated for a whole batch; any number of threads may share one.

    Args:
        fields: of the data set.
        fit: (height, width) to which images of any size are resized; None takes images that have one size.

    Raises:
        ValueError: when a field's images are of several sizes, of which no batch can be made.
    """

    def __init__(self, fields: Mapping[str, Field], fit: tuple[int, int] | None = None) -> None:
        self.fields = fitted_fields(fields, fit)
        for name, field in self.fields.items():
            if field.has_several_sizes:
                raise ValueError(
                    f"the images of field {name!r} are of several sizes and make no batch: resize them when they are read, by "
                    "data.fit, or pack them with --size"
                )
        self._decoders = [decoder_of(field, resize=fit is not None) for field in self.fields.values()]

    def allocate(self, samples: int) -> Arrays:
        """Allocate arrays for N samples: images (N, H, W, C) uint8, integers (N,) int64, arrays (N, …) float32."""
        return {name: np.empty((samples, *stored_shape(field)), DTYPES[field.kind]) for name, field in self.fields.items()}

    def decode(self, block: Block, first: int, last: int, arrays: Arrays, row: int) -> dict[int, str]:
        """Decode all fields of samples ``first`` to ``last`` (exclusive) of a block into the arrays, from ``row`` on.

        Returns:
            The row of each sample that cannot be used, and why.
        """
        damaged = (row + np.flatnonzero(block.damaged[first:last])).tolist()
        unusable: dict[int, str] = dict.fromkeys(damaged, DAMAGED)
        for column, (name, field) in enumerate(self.fields.items()):
            decode, array = self._decoders[column], arrays[name]
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
