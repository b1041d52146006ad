"""Rendered chairs, each seen from 62 directions (Aubry et al., CVPR 2014).

SOURCE is `rendered_chairs.tar`, or the folder in it. A batch holds `image`, grey as InfoGAN's figure of chairs has it, `chair`
(its number) and `attributes` (elevation and azimuth in degrees). All views of a chair are in one split, test for a tenth of the
chairs.
"""

import io
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

from PIL import Image

from unbraid.datasets.errors import DataError
from unbraid.datasets.raw.collection import Files
from unbraid.datasets.raw.files import open_files
from unbraid.datasets.raw.images import Size, encode_array, encode_png, fit_image, image_names
from unbraid.datasets.raw.names import key_of, split_by_hash
from unbraid.datasets.raw.survey import survey
from unbraid.datasets.raw.tally import Tally
from unbraid.datasets.shards.index import Field
from unbraid.datasets.sources.keypoints import number_field
from unbraid.datasets.sources.kinds import Option, PackKind
from unbraid.datasets.sources.source import Item, Source, fingerprint, image_field

TEST_SHARE = 0.1
_VIEW = re.compile(r"(?:^|/)([^/]+)/renders/image_\d+_p(\d{3})_t(\d{3})_r\d{3}\.png$")
"""``CHAIR/renders/image_062_p030_t348_r096.png``: seen from 30° above, turned by 348°."""


def read_chairs(path: Path, name: str, *, size: Annotated[Size, Option("Resize every image.")] = (64, 64)) -> Source:
    """List the views of all chairs.

    Raises:
        DataError: when no image is named as the published views are.
    """
    files = open_files(path)
    left_out = Tally()
    views: dict[str, tuple[str, tuple[int, int]]] = {}
    names = image_names(files, left_out)
    for image in names:
        match = _VIEW.search(image)
        if match is None:
            left_out.add("images that are not named as views of a chair", image)
        else:
            views[image] = match[1], (int(match[2]), int(match[3]))
    if not views:
        raise DataError(f"{path}: no image is CHAIR/renders/image_…_p030_t348_r….png; pack others with `data pack folder`")
    found = survey(files, list(views))
    numbers = {chair: number for number, chair in enumerate(sorted({chair for chair, _ in views.values()}))}
    splits: dict[str, list[Item]] = {}
    for image in found.headers:
        chair, view = views[image]
        load = partial(_members, files, image, size, numbers[chair], view)
        mark = fingerprint(files.fingerprint(image), size, numbers[chair], view)
        item = Item(key_of(image), load, mark, f"{files.where}/{image}", chair)
        splits.setdefault(split_by_hash(chair, TEST_SHARE), []).append(item)
    counts = ", ".join(f"{split} {len(items):,}" for split, items in splits.items())
    return Source(
        name=name,
        fields={
            "image": image_field((1, *size)),
            "chair": number_field("chair"),
            "attributes": Field("array", ("attributes.npy",), (2,)),
        },
        splits=splits,
        origin="Aubry et al.: Seeing 3D chairs, CVPR 2014",
        attributes=("elevation", "azimuth"),
        left_out=left_out,
        unusable=found.unusable,
        understood=[
            f"chairs   {len(numbers):,}, numbered in the order of their names, from 0",
            f"splits   {counts}: by a hash of the chair, {TEST_SHARE:.0%} are test",
            *found.describe(list(found.headers), size),
        ],
    )


def _members(files: Files, image: str, size: Size, chair: int, view: tuple[int, int]) -> Mapping[str, bytes]:
    _, fitted = fit_image(files.read(image), f"{files.where}/{image}", size)
    with Image.open(io.BytesIO(fitted)) as colour:
        grey = encode_png(colour.convert("L"))
    return {"png": grey, "chair.id": b"%d" % chair, "attributes.npy": encode_array(view)}


PACK = PackKind(read_chairs, example="~/rendered_chairs.tar")
