"""Each change of an image by known random numbers, against the image that it must give."""

import pytest
import torch
from torch import Tensor

from tests.models.drawing import ChosenNumbers
from unbraid.models.augment import random_affine, random_colour, random_cutout, random_flip, random_shift

MIDDLE = 0.5
"""The number that, drawn from [-1, 1], is 0: no change."""


def image(height: int = 5, width: int = 7) -> Tensor:
    return torch.arange(1.0, height * width + 1).view(1, 1, height, width)


def affine(
    images: Tensor,
    angle: float = MIDDLE, zoom: float = MIDDLE, shear_x: float = MIDDLE, shear_y: float = MIDDLE,
    shift_x: float = MIDDLE, shift_y: float = MIDDLE, padding: str = "zeros",
) -> Tensor:  # fmt: skip
    numbers = torch.tensor([[angle, zoom, shear_x, shear_y, shift_x, shift_y]])
    return random_affine(images, ChosenNumbers(numbers), 180.0, 1.0, 1.0, 2.0, padding)


def test_numbers_in_the_middle_of_their_ranges_change_nothing() -> None:
    assert torch.allclose(affine(image()), image(), atol=1e-4)


def test_half_a_turn_is_about_the_centre_of_the_image() -> None:
    assert torch.allclose(affine(image(), angle=1.0), image().flip(2, 3), atol=1e-4)


def test_a_quarter_turn_is_clockwise() -> None:
    square = image(5, 5)
    assert torch.allclose(affine(square, angle=0.75), square.rot90(-1, (2, 3)), atol=1e-4)


def test_a_zoom_of_two_doubles_distances_from_the_centre_on_both_axes() -> None:
    zoomed = affine(image(), zoom=1.0)
    row, column = torch.meshgrid((torch.arange(5.0) - 2) / 2 + 2, (torch.arange(7.0) - 3) / 2 + 3, indexing="ij")
    assert torch.allclose(zoomed[0, 0], row * 7 + column + 1, atol=1e-4)  # the image is linear in both


def test_a_shift_is_in_pixels_columns_first() -> None:
    assert torch.allclose(affine(image(), shift_x=1.0)[..., 2:], image()[..., :-2], atol=1e-4)
    assert torch.allclose(affine(image(), shift_y=1.0)[:, :, 2:], image()[:, :, :-2], atol=1e-4)


def test_shears_move_each_row_or_column_by_its_distance_from_the_centre() -> None:
    sheared = {"x": affine(image(5, 5), shear_x=1.0), "y": affine(image(5, 5), shear_y=1.0)}
    for offset in (-1, 0, 1):
        row, expected = sheared["x"][0, 0, 2 + offset], image(5, 5)[0, 0, 2 + offset]
        assert any(torch.allclose(row[1:-1], expected.roll(sign * offset)[1:-1], atol=1e-3) for sign in (1, -1))
        column, expected = sheared["y"][0, 0, :, 2 + offset], image(5, 5)[0, 0, :, 2 + offset]
        assert any(torch.allclose(column[1:-1], expected.roll(sign * offset)[1:-1], atol=1e-3) for sign in (1, -1))


@pytest.mark.parametrize(("padding", "filled"), [("zeros", 0.0), ("border", 1.0)])
def test_what_comes_in_by_an_affine_map_is_the_padding(padding: str, filled: float) -> None:
    moved = affine(torch.ones(1, 1, 5, 7), shift_x=1.0, shift_y=1.0, padding=padding)
    assert torch.allclose(moved[:, :, :2], torch.full((1, 1, 2, 7), filled), atol=1e-5)
    assert torch.allclose(moved[:, :, 2:, 2:], torch.ones(1, 1, 3, 5), atol=1e-5)


def test_an_affine_map_brings_in_zeros_unless_the_border_is_asked_for() -> None:
    moved = random_affine(torch.ones(1, 1, 5, 5), ChosenNumbers(torch.tensor([[0.5, 0.5, 0.5, 0.5, 1.0, 0.5]])), 0, 0, 0, 2)
    assert moved.sum().item() == pytest.approx(15)


def test_an_image_is_mirrored_below_one_half() -> None:
    images = image().expand(2, -1, -1, -1)
    flipped = random_flip(images, ChosenNumbers(torch.tensor([[0.4999], [0.5]])))
    assert torch.equal(flipped[0], images[0].flip(2))
    assert torch.equal(flipped[1], images[1])


@pytest.mark.parametrize("rows", range(3))
@pytest.mark.parametrize("columns", range(5))
def test_every_whole_shift_has_the_same_share_of_the_numbers(rows: int, columns: int) -> None:
    """Of at most 1 row and 2 columns either way there are 3 and 5."""
    for edge in (0.01, 0.99):
        numbers = torch.tensor([[(rows + edge) / 3, (columns + edge) / 5]])
        moved = random_shift(image(), ChosenNumbers(numbers), 1, 2)
        padded = torch.nn.functional.pad(image(), (2, 2, 1, 1))
        assert torch.equal(moved, padded[:, :, rows : rows + 5, columns : columns + 7])


def test_a_number_that_rounds_up_to_one_is_the_last_shift() -> None:
    moved = random_shift(image(), ChosenNumbers(torch.ones(1, 2)), 1, 2)
    assert torch.equal(moved[:, :, :-1, :-2], image()[:, :, 1:, 2:])


def test_a_shift_brings_in_zeros_or_the_border() -> None:
    down_right = torch.zeros(1, 2)
    assert random_shift(image(), ChosenNumbers(down_right), 1, 2)[0, 0, 0].abs().sum() == 0
    bordered = random_shift(image(), ChosenNumbers(down_right), 1, 2, "border")
    assert torch.equal(bordered[0, 0, 0, 2:], image()[0, 0, 0, :-2])
    assert bordered[0, 0, 3, :3].tolist() == [15, 15, 15]  # of row 2, which begins with 15


def test_brightness_saturation_and_contrast_are_the_numbers_drawn_for_each() -> None:
    images = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    numbers = torch.tensor([[0.75, 1.0, 0.25]])  # half of the range up, all of it up, half of it down
    changed = random_colour(images, ChosenNumbers(numbers), brightness=0.4, contrast=0.6, saturation=0.5)
    brighter = images + 0.4 / 2 * 0.5
    grey = brighter.mean(1, keepdim=True)
    saturated = grey + 1.5 * (brighter - grey)
    expected = saturated.mean() + (1 - 0.6 * 0.5) * (saturated - saturated.mean())
    assert torch.allclose(changed, expected, atol=1e-6)


def test_colour_changes_each_image_about_its_own_mean() -> None:
    images = torch.stack([torch.zeros(3, 4, 5), torch.ones(3, 4, 5)])
    assert torch.equal(random_colour(images, ChosenNumbers(torch.ones(1, 3)), 0.0, 0.5, 0.5), images)


def test_a_hole_is_a_share_of_both_sides_about_the_number_drawn() -> None:
    images = torch.ones(1, 2, 8, 12)
    inner = random_cutout(images, ChosenNumbers(torch.tensor([[0.5, 0.5]])), 0.5)
    expected = images.clone()
    expected[:, :, 2:6, 3:9] = 0
    assert torch.equal(inner, expected)
    edge = random_cutout(images, ChosenNumbers(torch.tensor([[0.0, 0.75]])), 0.5)
    expected = images.clone()
    expected[:, :, :2, 6:] = 0
    assert torch.equal(edge, expected)
    tight = random_cutout(images, ChosenNumbers(torch.tensor([[0.0625, 0.5]])), 0.125)  # as wide as one row
    assert torch.equal(tight[0, 0, :, 6], torch.tensor([0.0, *[1.0] * 7]))
