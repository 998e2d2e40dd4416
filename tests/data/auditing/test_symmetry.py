"""Whether left and right may be exchanged: chance is not taken for a rule, and a rule is not taken for chance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from maskwright.core.classes import IGNORE
from maskwright.data.auditing.symmetry import FEWEST, Mirror, Positions

Masks = list[npt.NDArray[np.uint8]]
NAMES = ["background", "left kidney", "right kidney"]


def mirrors(masks: Masks, names: list[str] | None = None) -> tuple[Mirror, Mirror]:
    classes = max(int(mask[mask != IGNORE].max(initial=0)) for mask in masks) + 1
    positions = Positions(names or [f"class_{k}" for k in range(classes)])
    for mask in masks:
        positions.add(mask)
    return positions.mirrors()


def square(mask: npt.NDArray[np.uint8], value: int, row: float, column: float, side: int) -> None:
    """Paints a square, its middle at shares of height and width."""
    top, left = (int(share * (length - side)) for share, length in zip((row, column), mask.shape, strict=True))
    mask[top : top + side, left : left + side] = value


def scattered(rng: np.random.Generator, images: int, classes: int, often: float = 1.0) -> Masks:
    """Each class, if it is in an image, is a small square anywhere: symmetric by distribution, never in a sample."""
    masks = []
    for _ in range(images):
        mask = np.zeros((24, 32), np.uint8)
        for value in range(1, classes):
            if rng.random() < often:
                square(mask, value, *rng.random(2), side=2)
        masks.append(mask)
    return masks


def pair(rng: np.random.Generator, images: int, wander: float, wrong: float = 0.0) -> Masks:
    """Two organs side by side, the first to the left but in the share `wrong`, as a pair anywhere in the image."""
    masks = []
    for _ in range(images):
        mask = np.zeros((32, 48), np.uint8)
        middle, row = 0.5 + wander * rng.uniform(-1, 1), rng.random()
        first, second = (1, 2) if rng.random() >= wrong else (2, 1)
        square(mask, first, row, middle - 0.17, 6)
        square(mask, second, row, middle + 0.17, 6)
        masks.append(mask)
    return masks


@pytest.mark.parametrize(
    ("images", "classes", "often"), [(40, 2, 1.0), (40, 4, 1.0), (40, 8, 0.2), (12, 3, 1.0), (8, 3, 1.0)]
)
def test_symmetric_data_keep_their_flips_whatever_chance_makes_of_the_sample(
    images: int, classes: int, often: float
) -> None:
    seeds, lost, far = 20, 0, 0
    for seed in range(seeds):
        found = mirrors(scattered(np.random.default_rng(seed), images, classes, often))
        lost += sum(not mirror.natural for mirror in found)
        far += sum("no more than chance" in mirror.reason for mirror in found)
    # Two families of tests at 1 % for each of two axes: at most 0.8 of 40 are expected, and more than 4 by a chance of
    # about 1 in 700.
    assert lost <= 4
    assert far > seeds / 4  # the sample does lie asymmetrically: the size of the difference alone would forbid the flip


@pytest.mark.parametrize(("images", "wander"), [(12, 0.0), (12, 0.3), (40, 0.15), (40, 0.3)])
def test_a_pair_of_left_and_right_switches_the_flip_off(images: int, wander: float) -> None:
    for seed in range(5):
        across, _ = mirrors(pair(np.random.default_rng(seed), images, wander), NAMES)
        assert not across.natural
        assert across.reason == (
            "class positions are not left/right symmetric: 'left kidney' lies to the left of "
            f"'right kidney' in {images} of {images} images"
        )


def test_a_pair_that_is_ordered_by_chance_keeps_the_flip() -> None:
    kept = [mirrors(pair(np.random.default_rng(seed), 40, 0.2, wrong=0.5), NAMES)[0].natural for seed in range(15)]
    assert sum(kept) >= 14


def test_a_few_wrong_labels_do_not_hide_a_rule() -> None:
    off = [not mirrors(pair(np.random.default_rng(seed), 60, 0.2, wrong=0.03), NAMES)[0].natural for seed in range(15)]
    assert sum(off) >= 14


def test_a_class_of_one_side_switches_the_flip_off_and_a_slight_lean_does_not() -> None:
    rng = np.random.default_rng(0)
    one_side, lean = [], []
    for _ in range(40):
        for masks, share in ((one_side, 0.4 * rng.random()), (lean, 0.05 + 0.9 * rng.random())):
            mask = np.zeros((32, 32), np.uint8)
            square(mask, 1, rng.random(), share, 8)
            masks.append(mask)
    assert not mirrors(one_side)[0].natural and mirrors(one_side)[1].natural
    for mask in lean:  # always a little more to the left: certain, and of no weight
        mask[:, :16][mask[:, :16] == 0] = 0
        mask[14:18, 13:18] = 1
    assert mirrors(lean)[0].natural


def test_ground_below_is_no_chance() -> None:
    rng = np.random.default_rng(0)
    masks = []
    for _ in range(20):
        mask = np.zeros((32, 32), np.uint8)
        mask[int(rng.integers(10, 22)) :] = 1
        masks.append(mask)
    across, down = mirrors(masks, ["sky", "ground"])
    assert across.natural and across.reason == "class positions are left/right symmetric (difference 0.00 of 1)"
    assert not down.natural and "'sky' lies above 'ground' in 20 of 20 images" in down.reason


@pytest.mark.parametrize("images", [1, 3, FEWEST - 1])
def test_too_few_images_keep_the_usual_flip_alone(images: int) -> None:
    found = mirrors([np.pad(np.ones((4, 4), np.uint8), ((0, 12), (0, 12)))] * images)
    assert [mirror.natural for mirror in found] == [True, False]
    said = "1 image is" if images == 1 else f"{images} images are"
    assert all(f"{said} too few to tell" in mirror.reason for mirror in found)


def test_mirroring_all_images_changes_nothing_and_both_axes_are_treated_alike() -> None:
    for seed in range(5):
        masks = pair(np.random.default_rng(seed), 20, 0.1)
        across, down = mirrors(masks)
        turned = mirrors([np.ascontiguousarray(mask.T) for mask in masks])
        assert (across.natural, down.natural) == tuple(mirror.natural for mirror in reversed(turned))
        assert mirrors([np.ascontiguousarray(mask[:, ::-1]) for mask in masks])[0].natural == across.natural


def test_ignored_pixels_and_absent_classes_do_not_count() -> None:
    masks = pair(np.random.default_rng(0), 10, 0.0)
    for mask in masks:
        mask[:, :2] = IGNORE
    assert not mirrors(masks, [*NAMES, "never seen"])[0].natural
    empty = np.full((8, 8), IGNORE, np.uint8)
    assert all(mirror.natural for mirror in mirrors([empty] * 9, NAMES))
