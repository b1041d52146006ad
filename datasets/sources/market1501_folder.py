"""Images in Market-1501's layout, read as they are, without packing and without keypoints.

The published files are such a folder, and so is what ``unbraid generate dpig export`` writes.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.collection import UnusableSampleError
from unbraid.datasets.raw.files import open_files
from unbraid.datasets.raw.images import Size, image_names
from unbraid.datasets.raw.tally import Tally
from unbraid.datasets.shards.codec import decoder_of, image_shape
from unbraid.datasets.sources.market1501 import SPLITS, identity_and_camera
from unbraid.datasets.sources.source import image_field

Columns = dict[str, NDArray[np.generic]]


class Market1501Folder:
    """A folder or an archive that holds `bounding_box_train`, `bounding_box_test` and `query`, or some of them.

    Attributes:
        where: names it in messages.
        splits: names of its images by split, see :data:`unbraid.datasets.sources.market1501.SPLITS`. Distractors and junk are
            where the published files have them, in ``test``.

    Raises:
        DataError: when there is no such folder, or no image in any of these parts.
    """

    def __init__(self, path: Path) -> None:
        self._files = open_files(path)
        self.where = self._files.where
        splits: dict[str, list[str]] = {}
        for name in image_names(self._files, Tally()):
            if (part := PurePosixPath(name).parent.name) in SPLITS:
                splits.setdefault(SPLITS[part], []).append(name)
        if not splits:
            raise DataError(
                f"{self.where}: is neither a packed set nor a folder in Market-1501's layout: there is no index.json, and no "
                f"image in {', '.join(SPLITS)}"
            )
        self.splits: Mapping[str, list[str]] = splits

    @property
    def size(self) -> Size:
        """(height, width) of one of its images.

        Raises:
            DataError: when that cannot be read.
        """
        name = next(iter(self.splits.values()))[0]
        try:
            _, height, width = image_shape(self._files.read(name))
        except (ValueError, UnusableSampleError) as error:
            raise DataError(f"{self.where}/{name}: {error}") from None
        return height, width

    def read(self, split: str, size: Size) -> Columns:
        """Read all images of a split, resized: ``image`` (N, H, W, 3) uint8, ``person`` and ``camera`` (N,) int64.

        Raises:
            DataError: naming the image that cannot be read, or whose name is not Market-1501's.
        """
        names = self.splits[split]
        images, decode = np.empty((len(names), *size, 3), np.uint8), decoder_of(image_field((3, *size)), resize=True)
        numbers = np.empty((len(names), 2), np.int64)
        for row, name in enumerate(names):
            numbers[row] = identity_and_camera(PurePosixPath(name).name, f"{self.where}/{name}")
            try:
                decode(self._files.read(name), images[row : row + 1])
            except UnusableSampleError as error:
                raise DataError(str(error)) from None
            except ValueError as error:
                raise DataError(f"{self.where}/{name}: {error}") from None
        return {"image": images, "person": numbers[:, 0], "camera": numbers[:, 1]}
