"""Images as people hold them: any kind in, one size and mode; and the batch that comes out."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from unbraid.datasets.errors import DataError
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.use.images import Images, pixels_of, sizes_of

SHAPE = (1, 6, 4)
ARRAY = np.arange(24, dtype=np.uint8).reshape(6, 4) * 10


def saved(folder: Path, name: str, image: Image.Image, **options: Any) -> str:
    image.save(folder / name, **options)
    return str(folder / name)


def test_every_kind_of_one_image_gives_the_same_pixels(tmp_path: Path) -> None:
    tensor = torch.from_numpy(ARRAY)[None]
    file = saved(tmp_path, "a.png", Image.fromarray(ARRAY))
    for given in (
        file,
        Path(file),
        Image.fromarray(ARRAY),
        ARRAY,
        ARRAY[..., None],
        tensor,
        tensor[None],
        Images(tensor[None]),
    ):
        assert torch.equal(pixels_of(given, SHAPE), tensor[None]), type(given)
    assert pixels_of([file, ARRAY], SHAPE).shape == (2, *SHAPE)
    assert pixels_of(np.stack([ARRAY, ARRAY])[..., None], SHAPE).shape == (2, *SHAPE)


def test_a_photograph_is_upright_opaque_and_resized_only_when_that_is_asked_for(tmp_path: Path) -> None:
    colour = Image.fromarray(np.stack([ARRAY] * 3, 2)).resize((12, 8))
    exif = colour.getexif()
    exif[0x0112] = 6  # lies on its side
    turned = saved(tmp_path, "turned.jpg", colour, exif=exif)
    with pytest.raises(ConfigError, match=r"turned\.jpg: is 8x12 in colour, and the model is for 4x6 grey"):
        pixels_of(turned, SHAPE)
    assert sizes_of(turned) == [(12, 8)]
    assert pixels_of(turned, SHAPE, resize=True).shape == (1, *SHAPE)
    clear = Image.new("RGBA", (4, 6), (0, 0, 0, 0))
    assert pixels_of(clear, (3, 6, 4)).min() == 255
    assert pixels_of(clear, SHAPE, resize=True).min() == 255


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("nowhere.png", DataError, r"nowhere\.png: cannot be read"),
        (ARRAY.astype(np.float32), ConfigError, "is float32 of the shape"),
        (np.zeros((2, 2, 5), np.uint8), ConfigError, "expected uint8 pixels"),
        ([], ConfigError, "no image is given"),
    ],
)
def test_what_is_no_image_is_named(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        pixels_of(given, SHAPE)


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(DataError, match=r"text\.png"):
        pixels_of(str(tmp_path / "text.png"), SHAPE)


def test_images_show_save_and_move(tmp_path: Path) -> None:
    images = Images.of_unit_range(torch.rand(6, 1, 6, 4), columns=3)
    assert (len(images), images[0].size, images[2:4].tensor.shape) == (6, (4, 6), (2, 1, 6, 4))
    assert images.numpy().shape == (6, 6, 4, 1)
    paths = images.save(tmp_path / "out", first=10)
    assert [path.name for path in paths] == [f"{n:06d}.png" for n in range(10, 16)]
    assert np.array_equal(np.asarray(Image.open(paths[3])), images.numpy()[3, ..., 0])
    assert Image.open(io.BytesIO(images._repr_png_())).size == images.grid().size
    for content in (images.animated("gif"), images.animated("webp")):
        with Image.open(io.BytesIO(content)) as moving:
            assert getattr(moving, "n_frames", 1) == 4  # there and back
            assert moving.width * 3 <= images.grid().width
