"""Dense warps: what their fields are, and that they go with the affine map in one resampling."""

from __future__ import annotations

import numpy as np
import pytest

from helpers import draw_pair
from maskwright.modeling.augment import AUGMENTATIONS, Pipeline
from maskwright.modeling.augment.passthrough import library
from maskwright.modeling.augment.warps import ElasticTransform, GridDistortion

SIZE = (60, 80)


@pytest.mark.parametrize(("alpha", "sigma"), [(120.0, 8.0), (40.0, 4.0), (10.0, 1.0)])
def test_elastic_fields_have_the_spread_and_smoothness_of_albumentations(alpha: float, sigma: float) -> None:
    library()
    from albumentations.augmentations.geometric.functional import generate_displacement_fields

    size, rng = (200, 240), np.random.default_rng(0)
    ours = np.stack([ElasticTransform(1, alpha, sigma).field(size, rng) for _ in range(6)])
    theirs = np.stack(
        [generate_displacement_fields(size, alpha, sigma, False, (0, 0), rng, "uniform") for _ in range(6)]
    )[..., 30:-30, 30:-30]
    assert ours.shape == (6, 2, *size) and ours.dtype == np.float32
    assert ours.std() == pytest.approx(theirs.std(), rel=0.12)
    assert ours.std() == pytest.approx(alpha / np.sqrt(3) / (2 * sigma * np.sqrt(np.pi)), rel=0.12)
    assert abs(ours.mean()) < 0.3 * ours.std()
    step = round(sigma)
    smooth = [float(np.corrcoef(f[..., step:].ravel(), f[..., :-step].ravel())[0, 1]) for f in (ours, theirs)]
    assert smooth[0] == pytest.approx(smooth[1], abs=0.06)
    edge, middle = ours[..., :8, :].std(), ours[..., 90:110, :].std()
    assert edge == pytest.approx(middle, rel=0.4)  # as much at the edges as inside


def test_the_two_axes_move_independently() -> None:
    fields = np.stack([ElasticTransform(1).field(SIZE, np.random.default_rng(s)) for s in range(30)])
    assert abs(np.corrcoef(fields[:, 0].ravel(), fields[:, 1].ravel())[0, 1]) < 0.15


def test_grid_distortion_stretches_cells_and_keeps_the_edges(rng: np.random.Generator) -> None:
    for _ in range(20):
        x, y = GridDistortion(1, 4, 0.5).field(SIZE, rng)
        assert (x == x[:1]).all() and (y == y[:, :1]).all()  # each along its axis alone
        for line in (x[0], y[:, 0]):
            side = len(line)
            sources = np.arange(side) + line
            assert (np.diff(sources) > 0).all()  # nothing folds
            steps = np.diff(sources).reshape(-1)
            inner = [steps[cell * side // 4 : (cell + 1) * side // 4 - 1] for cell in range(4)]
            assert all(np.ptp(cell) < 1e-3 for cell in inner)  # one factor a cell
            factors = np.array([cell.mean() for cell in inner])
            assert factors.max() / factors.min() <= 3 + 1e-3 and factors.mean() == pytest.approx(1, abs=1e-3)
            # The frame itself does not move: half a pixel beyond the first centre is where it was.
            assert sources[0] - steps[0] / 2 == pytest.approx(-0.5, abs=1e-3)
            assert sources[-1] + steps[-1] / 2 == pytest.approx(side - 0.5, abs=1e-3)


@pytest.mark.parametrize("transform", [ElasticTransform(1, 0), GridDistortion(1, 5, 0)])
def test_no_displacement_changes_nothing(
    transform: ElasticTransform | GridDistortion, rng: np.random.Generator
) -> None:
    image, mask = draw_pair(rng, SIZE)
    changed, labels = Pipeline([transform])(image, mask, rng)
    np.testing.assert_array_equal(labels, mask)
    assert np.abs(changed.astype(int) - image).max() <= 1


def test_with_an_affine_map_there_is_one_resampling(rng: np.random.Generator) -> None:
    """Turned there and back within one pipeline, a picture is as sharp as after the warp alone."""
    image, mask = draw_pair(rng, (64, 64))
    turn = AUGMENTATIONS["RandomRotate90"]

    class Turned(turn):  # type: ignore[misc,valid-type]
        def matrix(self, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
            angle = 0.3 * sign[len(calls) % 2]
            calls.append(0)
            linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            result = np.eye(3)
            result[:2, :2], result[:2, 2] = linear, 31.5 - linear @ (31.5, 31.5)
            return result

    class Same:
        def uniform(self, low: float, high: float, size: object = None) -> np.ndarray:
            return np.random.default_rng(3).uniform(low, high, size)  # type: ignore[call-overload]

        def random(self, count: int) -> np.ndarray:
            return np.zeros(count)

    sign, calls = (1, -1), []  # type: ignore[var-annotated]
    alone = Pipeline([GridDistortion(1)])(image, mask, Same())  # type: ignore[arg-type]
    turned = Pipeline([Turned(1), GridDistortion(1), Turned(1)])(image, mask, Same())  # type: ignore[arg-type]
    assert len(calls) == 2
    np.testing.assert_array_equal(turned[1], alone[1])
    assert np.abs(turned[0].astype(int) - alone[0]).max() <= 1


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ElasticTransform", {"alpha": -1}),
        ("ElasticTransform", {"sigma": 0.5}),
        ("GridDistortion", {"num_steps": 0}),
        ("GridDistortion", {"distort_limit": 1}),
        ("GridDistortion", {"distort_limit": float("nan")}),
    ],
)
def test_settings_are_checked(name: str, settings: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        AUGMENTATIONS[name](**settings)  # type: ignore[arg-type]
