"""Geometry of the augmentations: image and mask stay together, one resampling does what several would, and
uncovered places never become background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import LOOKS, draw_pair
from maskwright.core.classes import IGNORE
from maskwright.core.masks import boundary
from maskwright.modeling.augment import AUGMENTATIONS, Pipeline, Transform
from maskwright.modeling.augment.geometric import Affine, HorizontalFlip, RandomSizedCrop, VerticalFlip

SIZE = (60, 80)
BORDERS = ["reflect", "ignore"]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fixed(Transform):
    """Always the same map."""

    rows: tuple[tuple[float, ...], ...] = ()

    def matrix(self, size: tuple[int, int], rng: np.random.Generator) -> Matrix:
        return np.array(self.rows)


def always(name: str) -> Transform:
    return AUGMENTATIONS[name](p=1)


def fixed(transform: Transform, rng: np.random.Generator) -> Fixed:
    matrix = transform.matrix(SIZE, rng)
    assert matrix is not None
    return Fixed(1, tuple(map(tuple, matrix.tolist())))


def sample(seed: int = 0) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    return draw_pair(np.random.default_rng(seed), SIZE, 4)


def inside(labels: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.bool_]:
    """Pixels that count and lie further than `width` from every outline, the frame included."""
    result = ~boundary(labels, width) & (labels != IGNORE)
    return result & np.pad(np.ones(np.array(labels.shape) - 2 * width, bool), width)


@pytest.mark.parametrize("name", AUGMENTATIONS)
class TestEveryRow:
    @pytest.mark.parametrize("border", BORDERS)
    def test_sizes_and_types(self, name: str, border: str, rng: np.random.Generator) -> None:
        image, mask = sample()
        before = image.copy(), mask.copy()
        for _ in range(5):
            changed, labels = Pipeline([always(name)], border)(image, mask, rng)
            assert changed.shape == image.shape and labels.shape == mask.shape
            assert changed.dtype == labels.dtype == np.uint8
            assert changed.flags.c_contiguous and labels.flags.c_contiguous
            np.testing.assert_array_equal(image, before[0])
            np.testing.assert_array_equal(mask, before[1])

    def test_never_acts_at_p_0(self, name: str, rng: np.random.Generator) -> None:
        image, mask = sample()
        changed, labels = Pipeline([AUGMENTATIONS[name](p=0)])(image, mask, rng)
        np.testing.assert_array_equal(changed, image)
        np.testing.assert_array_equal(labels, mask)

    def test_the_same_generator_gives_the_same(self, name: str) -> None:
        image, mask = sample()
        pipeline = Pipeline([always(name)])
        first, again, *others = (pipeline(image, mask, np.random.default_rng((7, seed))) for seed in (1, *range(1, 9)))
        np.testing.assert_array_equal(first[0], again[0])
        np.testing.assert_array_equal(first[1], again[1])
        # Tiles of so small an image are clipped alike by every limit of CLAHE.
        if name not in ("HorizontalFlip", "VerticalFlip", "Transpose", "CLAHE"):
            assert any(not np.array_equal(first[0], other[0]) for other in others)

    def test_global_random_state_is_left_alone(self, name: str, rng: np.random.Generator) -> None:
        np.random.seed(3)
        expected = np.random.random()
        np.random.seed(3)
        Pipeline([always(name)])(*sample(), rng)
        assert np.random.random() == expected

    def test_p_is_checked(self, name: str) -> None:
        for p in (-0.1, 1.1, float("nan")):
            with pytest.raises(ValueError, match="p must be within"):
                AUGMENTATIONS[name](p=p)

    @pytest.mark.parametrize("border", BORDERS)
    def test_image_and_mask_stay_together(self, name: str, border: str, rng: np.random.Generator) -> None:
        """An image in the colours of its mask shows them after the transform too, away from outlines."""
        transform = always(name)
        if transform.matrix(SIZE, rng) is None and transform.field(SIZE, rng) is None:
            return  # changes no geometry
        mask = np.kron(np.array([[0, 1, 2, 3], [2, 3, 0, 1], [1, 0, 3, 2]], np.uint8), np.ones((20, 20), np.uint8))
        for _ in range(20):
            image, labels = Pipeline([transform], border)(LOOKS[mask], mask, rng)
            inner = inside(labels, 3)
            assert inner.mean() > 0.2
            np.testing.assert_allclose(image[inner], LOOKS[labels[inner]].astype(float), atol=1)

    def test_no_black_is_mixed_in_where_places_are_uncovered(self, name: str, rng: np.random.Generator) -> None:
        """Also in the outermost pixel that counts: the image is mirrored, whatever becomes of the labels."""
        transform = always(name)
        if transform.matrix(SIZE, rng) is None and transform.field(SIZE, rng) is None:
            return
        for border in BORDERS:
            for _ in range(10):
                white = np.full((*SIZE, 3), 255, np.uint8)
                assert (Pipeline([transform], border)(white, white[..., 0] * 0, rng)[0] == 255).all()

    @pytest.mark.parametrize("border", BORDERS)
    def test_background_is_never_invented(self, name: str, border: str, rng: np.random.Generator) -> None:
        mask = rng.integers(1, 4, SIZE, dtype=np.uint8)
        image = np.full((*SIZE, 3), 255, np.uint8)
        allowed = {1, 2, 3} | ({IGNORE} if border == "ignore" else set())
        hidden = AUGMENTATIONS["CoarseDropout"](p=0.5, fill_mask="ignore")  # type: ignore[call-arg]
        for _ in range(20):
            _, labels = Pipeline([always(name)], border)(image, mask, rng)
            assert set(np.unique(labels)) <= allowed
            _, labels = Pipeline([always(name), hidden], border)(image, mask, rng)
            assert set(np.unique(labels)) <= allowed | {IGNORE}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["HorizontalFlip"], (slice(None), slice(None, None, -1))),
        (["VerticalFlip"], (slice(None, None, -1), slice(None))),
        (["HorizontalFlip", "VerticalFlip"], (slice(None, None, -1), slice(None, None, -1))),
        (["HorizontalFlip", "HorizontalFlip"], (slice(None), slice(None))),
    ],
)
@pytest.mark.parametrize("size", [SIZE, (61, 81), (1, 5), (5, 1)])
def test_flips_are_exact(
    names: list[str], expected: tuple[slice, slice], size: tuple[int, int], rng: np.random.Generator
) -> None:
    image, mask = rng.integers(0, 256, (*size, 3), dtype=np.uint8), rng.integers(0, 5, size, dtype=np.uint8)
    changed, labels = Pipeline([always(name) for name in names])(image, mask, rng)
    np.testing.assert_array_equal(changed, image[expected])
    np.testing.assert_array_equal(labels, mask[expected])


def test_a_step_to_the_side_is_not_taken_for_a_flip(rng: np.random.Generator) -> None:
    image, mask = sample()
    moved = Fixed(1, ((1, 0, 3), (0, 1, 0), (0, 0, 1)))
    changed, labels = Pipeline([moved], "ignore")(image, mask, rng)
    np.testing.assert_array_equal(changed[:, 3:], image[:, :-3])
    np.testing.assert_array_equal(labels[:, 3:], mask[:, :-3])
    assert (labels[:, :3] == IGNORE).all()
    np.testing.assert_array_equal(changed[:, :3], image[:, 3:0:-1])
    changed, labels = Pipeline([moved], "reflect")(image, mask, rng)
    np.testing.assert_array_equal(changed[:, :3], image[:, 3:0:-1])
    np.testing.assert_array_equal(labels[:, :3], mask[:, 3:0:-1])


@pytest.mark.parametrize("seed", range(6))
def test_one_resampling_does_what_several_would(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(SIZE)
    waves = 127 + 100 * np.sin(columns / 9) * np.cos(rows / 8)
    image, mask = np.repeat(waves[..., None], 3, 2).astype(np.uint8), sample(seed)[1]
    steps = [
        fixed(transform, rng)
        for transform in (
            Affine(1, (0.9, 1.1), 10, 0.03),
            HorizontalFlip(1),
            RandomSizedCrop(1, (0.7, 0.9), 1.2),
            VerticalFlip(1),
        )
    ]
    together = Pipeline(steps, "ignore")(image, mask, rng)
    apart = image, mask
    for step in steps:
        apart = Pipeline([step], "ignore")(*apart, rng)
    known = inside(together[1], 3) & inside(apart[1], 3)
    assert known.mean() > 0.35
    assert (together[1] == apart[1])[known].all()
    assert np.abs(together[0].astype(int) - apart[0])[known].max() <= 5
    assert np.abs(together[0].astype(float) - apart[0])[known].mean() < 1


def test_the_order_of_transforms_matters(rng: np.random.Generator) -> None:
    image, mask = sample()
    right, twice = Fixed(1, ((1, 0, 10), (0, 1, 0), (0, 0, 1))), Fixed(1, ((2, 0, 0), (0, 2, 0), (0, 0, 1)))
    first = Pipeline([right, twice], "ignore")(image, mask, rng)[1]
    second = Pipeline([twice, right], "ignore")(image, mask, rng)[1]
    uncovered = [int((labels == IGNORE).all(0).sum()) for labels in (first, second)]
    assert abs(uncovered[0] - 20) <= 1 and abs(uncovered[1] - 10) <= 1


def test_image_and_mask_do_not_drift_apart() -> None:
    """The middle of an object moves by the same fraction of a pixel in both."""
    rows, columns = np.indices(SIZE)
    mask = (((rows - 30) / 14) ** 2 + ((columns - 40) / 17) ** 2 < 1).astype(np.uint8)
    image = np.repeat(mask[..., None] * np.uint8(250), 3, 2)
    pipeline, rng = Pipeline([Affine(1, (0.9, 1.1), 20, 0.05)], "reflect"), np.random.default_rng(0)
    drifts = []
    for _ in range(100):
        changed, labels = pipeline(image, mask, rng)
        weights = changed[..., 0] / 250.0
        drifts.append([(weights * axis).sum() / weights.sum() - axis[labels == 1].mean() for axis in (rows, columns)])
    assert np.abs(np.mean(drifts, axis=0)).max() < 0.03
    assert np.abs(drifts).max() < 0.35  # the outline of a mask is only good to a pixel


class TestRandomSizedCrop:
    @given(st.floats(0.1, 1), st.floats(0, 1), st.floats(1, 2), st.integers(0, 1000))
    def test_the_part_lies_inside_the_image(self, low: float, more: float, ratio: float, seed: int) -> None:
        crop = RandomSizedCrop(1, (low, low + (1 - low) * more), ratio)
        back = np.linalg.inv(crop.matrix(SIZE, np.random.default_rng(seed)))
        # Pixel centres are at whole numbers: the picture reaches from -0.5 to its size - 0.5.
        first, last = back @ (-0.5, -0.5, 1), back @ (SIZE[1] - 0.5, SIZE[0] - 0.5, 1)
        assert (first[:2] >= -0.5 - 1e-9).all()
        assert (last[:2] <= np.array([SIZE[1], SIZE[0]]) - 0.5 + 1e-9).all()
        shares = (last - first)[:2] / (SIZE[1], SIZE[0])
        assert (shares <= 1 + 1e-9).all() and shares[0] / shares[1] <= ratio + 1e-9

    @pytest.mark.parametrize("end", [0, 1])
    def test_the_outermost_part_ends_with_the_image(self, end: int) -> None:
        class Drawn:
            """Draws the ends of every range."""

            def uniform(self, low: float, high: float, size: int | None = None) -> object:
                value = (low, high)[end]
                return value if size is None else np.full(size, value)

        back = np.linalg.inv(RandomSizedCrop(1, (0.4, 0.6), 1.0).matrix(SIZE, Drawn()))  # type: ignore[arg-type]
        corner = (-0.5, -0.5, 1) if end == 0 else (SIZE[1] - 0.5, SIZE[0] - 0.5, 1)
        np.testing.assert_allclose(back @ corner, corner)

    def test_nothing_is_uncovered(self, rng: np.random.Generator) -> None:
        image, mask = sample()
        pipeline = Pipeline([RandomSizedCrop(1, (0.3, 1.0), 1.5)], "ignore")
        assert all((pipeline(image, mask, rng)[1] != IGNORE).all() for _ in range(100))

    def test_a_gradient_keeps_its_place(self, rng: np.random.Generator) -> None:
        """Half of the image enlarged twice: values rise at half the slope from where the crop begins."""
        ramp = np.repeat(np.tile(np.arange(80, dtype=np.uint8) * 3, (60, 1))[..., None], 3, 2)
        crop = RandomSizedCrop(1, (0.5, 0.5))
        for _ in range(10):
            step = fixed(crop, rng)
            left = -(step.rows[0][2] + 0.5) / 2 + 0.5  # where the left edge of the crop is, in source pixels
            changed, _ = Pipeline([step])(ramp, ramp[..., 0], rng)
            expected = (left + (np.arange(80) + 0.5) / 2 - 0.5) * 3
            np.testing.assert_allclose(changed[30, 2:-2, 0], expected[2:-2], atol=0.6)

    @pytest.mark.parametrize(
        "settings",
        [
            {"scale": (0, 1)},
            {"scale": (0.5, 1.1)},
            {"scale": (0.9, 0.5)},
            {"ratio": 0.9},
            {"scale": (-1, 1)},
            {"ratio": float("nan")},
            {"scale": (float("nan"), 1)},
        ],
    )
    def test_settings_are_checked(self, settings: dict[str, object]) -> None:
        with pytest.raises(ValueError):
            RandomSizedCrop(**settings)  # type: ignore[arg-type]


class TestAffine:
    @given(st.integers(0, 1000))
    def test_scale_angle_and_shift_stay_in_their_ranges(self, seed: int) -> None:
        affine = Affine(1, (0.8, 1.25), 15, 0.06)
        matrix = affine.matrix(SIZE, np.random.default_rng(seed))
        factor = np.sqrt(np.linalg.det(matrix[:2, :2]))
        angle = np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0]))
        centre = np.array([(SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2, 1])
        shift = (matrix @ centre - centre)[:2]
        assert 0.8 - 1e-9 <= factor <= 1.25 + 1e-9 and abs(angle) <= 15 + 1e-9
        assert (np.abs(shift) <= np.array([SIZE[1], SIZE[0]]) * 0.06 + 1e-9).all()
        np.testing.assert_allclose(matrix[:2, :2] @ matrix[:2, :2].T, np.eye(2) * factor**2, atol=1e-9)

    def test_without_a_shift_the_middle_stays(self, rng: np.random.Generator) -> None:
        centre = np.array([(SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2, 1])
        for _ in range(10):
            np.testing.assert_allclose(Affine(1, (0.5, 2), 90, 0).matrix(SIZE, rng) @ centre, centre)

    def test_the_whole_range_is_used(self) -> None:
        rng = np.random.default_rng(0)
        factors = [np.sqrt(np.linalg.det(Affine(1).matrix(SIZE, rng)[:2, :2])) for _ in range(300)]
        assert min(factors) < 0.82 and max(factors) > 1.22
        assert abs(np.mean(np.log(factors))) < 0.02  # as often larger as smaller

    @pytest.mark.parametrize(
        "settings",
        [
            {"scale": (0, 1)},
            {"scale": (1.2, 1)},
            {"rotate": -1},
            {"translate_percent": 1},
            {"translate_percent": -0.1},
            {"rotate": float("nan")},
            {"translate_percent": float("nan")},
            {"scale": (1, float("inf"))},
        ],
    )
    def test_settings_are_checked(self, settings: dict[str, object]) -> None:
        with pytest.raises(ValueError):
            Affine(**settings)  # type: ignore[arg-type]


def test_p_is_a_share(rng: np.random.Generator) -> None:
    image, mask = sample()
    pipeline = Pipeline([HorizontalFlip(0.3)])
    acted = np.mean([not np.array_equal(pipeline(image, mask, rng)[1], mask) for _ in range(600)])
    assert abs(acted - 0.3) < 0.07


def test_which_ones_act_does_not_depend_on_settings() -> None:
    image = sample()[0]
    halves = np.repeat(np.array([[0, 1]], np.uint8), 40, 1).repeat(60, 0)
    for seed in range(20):
        found = []
        for affine in (Affine(0.5, (1, 1), 0, 0), Affine(0.5, (0.9, 1.1), 5, 0.01)):
            marked = [affine, *(Fixed(0.5, ((1, 0, 0), (0, 1, 0), (0, 0, 1))) for _ in range(2)), HorizontalFlip(0.5)]
            labels = Pipeline(marked)(image, halves, np.random.default_rng(seed))[1]
            found.append(labels[30, 5])
        assert found[0] == found[1]


def test_an_empty_pipeline_changes_nothing(rng: np.random.Generator) -> None:
    image, mask = sample()
    changed, labels = Pipeline([])(image, mask, rng)
    np.testing.assert_array_equal(changed, image)
    np.testing.assert_array_equal(labels, mask)
