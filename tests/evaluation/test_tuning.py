"""Which post-processing is chosen: what surely helps on images that did not choose it, and nothing else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy import ndimage

from maskwright.core.bands import RGB
from maskwright.core.classes import ClassInfo, ClassTree
from maskwright.core.geometry import Geometry
from maskwright.core.postprocessing import ClassRule, PostProcessing
from maskwright.core.smoothing import Smoothing
from maskwright.core.tiles import NUMPY, whole
from maskwright.evaluation.metrics import Marginals, confusion_matrix
from maskwright.evaluation.tuning import FOLDS, LEAST, SMOOTHINGS, Option, Pair, Tuning, tuned

CLASSES = ClassTree(
    (ClassInfo(0, "background", (0, 0, 0)), ClassInfo(1, "field", (0, 255, 0)), ClassInfo(2, "well", (255, 0, 0)))
)


def scene(rng: np.random.Generator) -> np.ndarray:
    """A field, and in half of the images one well of some 60 pixels."""
    rows, columns = np.indices((48, 64))
    mask = np.zeros((48, 64), np.uint8)
    y, x = rng.uniform(14, 34), rng.uniform(20, 44)
    mask[((rows - y) / 12) ** 2 + ((columns - x) / 17) ** 2 < 1] = 1
    if rng.random() < 0.5:
        mask[(rows - rng.uniform(8, 40)) ** 2 + (columns - rng.uniform(8, 56)) ** 2 < 20] = 2
    return mask


def blurred(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A prediction whose outlines waver."""
    spread = np.stack([ndimage.gaussian_filter((mask == k).astype(float), 1.5) for k in range(3)])
    return (
        (spread + ndimage.gaussian_filter(rng.normal(0, 0.35, spread.shape), (0, 1.5, 1.5))).argmax(0).astype(np.uint8)
    )


def dotted(mask: np.ndarray, rng: np.random.Generator, value: int, count: int) -> np.ndarray:
    mask = mask.copy()
    for _ in range(count):
        y, x = rng.integers(0, 46), rng.integers(0, 62)
        mask[y : y + 2, x : x + 2] = value
    return mask


def tuning_of(scenes: list[tuple[np.ndarray, np.ndarray]], score: str = "mIoU") -> Tuning:
    return tuned([Pair(truth, found, 3) for truth, found in scenes], CLASSES, score)


def score_of(scenes: list[tuple[np.ndarray, np.ndarray]], rules: PostProcessing) -> float:
    counts = [confusion_matrix(truth, rules.apply(found), 3) for truth, found in scenes]
    return float(Marginals.of(np.sum(counts, 0)).mIoU())


@pytest.mark.parametrize("score", ["mIoU", "mDice"])
def test_specks_of_a_rare_class_go(score: str) -> None:
    rng = np.random.default_rng(1)
    scenes = [(truth, dotted(blurred(truth, rng), rng, 2, 9)) for truth in (scene(rng) for _ in range(60))]
    found = tuning_of(scenes[:30], score)
    assert found.helps and found.difference.low > 0 and found.held_out > found.none
    rule = found.rules.rules[2]
    assert 4 < rule.min_pixels < 60 or rule.largest_only
    assert any(step.name == "well" and step.folds == FOLDS and step.difference.low > 0 for step in found.steps)
    nothing = PostProcessing(tuple(ClassRule(name) for name in CLASSES.names))
    assert score_of(scenes[30:], found.rules) > score_of(scenes[30:], nothing) + 0.05
    if score == "mIoU":
        assert found.none == pytest.approx(score_of(scenes[:30], nothing))
    assert found.classes["well"].low > 0


def smoothed_scenes(seed: int, visible: bool) -> Tuning:
    """Coarse outlines, in images that show the true ones, or nothing but noise."""
    rng = np.random.default_rng(seed)
    pairs: list[Pair] = []
    smoothed: dict[Smoothing, list[Pair]] = {way: [] for way in SMOOTHINGS}
    for _ in range(25):
        truth = scene(rng)
        spread = np.stack([ndimage.gaussian_filter((truth == k).astype(np.float32), 2.5) for k in range(3)])
        spread = spread + ndimage.gaussian_filter(rng.normal(0, 0.5, spread.shape), (0, 2, 2)).astype(np.float32)
        image = np.repeat((60 * truth * visible + rng.integers(0, 4, truth.shape))[..., None], 3, 2).astype(np.uint8)
        pairs.append(Pair(truth, spread.argmax(0).astype(np.uint8), 3, spread))
        for way, found in smoothed.items():
            maps = way.on(whole(spread), image, Geometry((48, 64)), RGB, NUMPY)
            values = np.stack([maps([index]) for index in range(3)])
            found.append(Pair(truth, values.argmax(0).astype(np.uint8), 3, values))
    return tuned(pairs, CLASSES, "mIoU", smoothed=smoothed)


def test_outlines_are_drawn_towards_edges_that_are_there() -> None:
    found = smoothed_scenes(0, visible=True)
    assert found.helps and found.rules.smoothing in SMOOTHINGS and found.held_out > found.none + 0.02
    assert found.steps[0].kind == "smoothing" and found.steps[0].name is None and found.steps[0].folds == FOLDS
    assert str(found.steps[0]).startswith("all classes: smoothing ")


def test_and_not_where_the_image_says_nothing() -> None:
    """Averages over noise help where predictions waver, so that the gain, not the choice, tells the two apart."""
    found, seen = (smoothed_scenes(1, visible=visible) for visible in (False, True))
    assert seen.difference.value > 2 * max(0.0, found.difference.value)


def test_holes_are_filled() -> None:
    rng = np.random.default_rng(2)
    scenes = [
        (truth, np.where(truth == 1, dotted(truth, rng, 0, 30), truth)) for truth in (scene(rng) for _ in range(25))
    ]
    found = tuning_of(scenes)
    assert found.helps and found.rules.rules[1].fill_holes >= 4 and found.classes["field"].low > 0


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_done_where_nothing_helps(seed: int) -> None:
    """True objects of every size, predicted as they are."""
    rng = np.random.default_rng(seed)
    truths = [dotted(dotted(scene(rng), rng, 2, 3), rng, 1, 3) for _ in range(20)]
    found = tuning_of([(truth, truth) for truth in truths])
    assert not found.helps and not found.rules and found.difference.value == 0 and found.tried > 3


def test_rules_that_do_not_hold_on_other_images_are_not_taken() -> None:
    """In every other image the specks are true."""
    rng = np.random.default_rng(3)
    scenes = []
    for place in range(20):
        truth = scene(rng)
        found = dotted(truth, rng, 2, 12)
        scenes.append((found, found) if place % 2 else (truth, found))
    found = tuning_of(scenes)
    assert not found.helps


def test_what_can_change_is_known_beforehand() -> None:
    rng = np.random.default_rng(4)
    for _ in range(10):
        truth = scene(rng)
        pair = Pair(truth, dotted(blurred(truth, rng), rng, 2, 2), 3)
        for option in [
            *(Option(k, "min_pixels", 9) for k in (1, 2)),
            Option(1, "fill_holes", 5),
            Option(2, "largest_only", 1),
        ]:
            rules = PostProcessing(
                tuple(
                    option.on(ClassRule(n)) if k == option.index else ClassRule(n) for k, n in enumerate(CLASSES.names)
                )
            )
            changed = (pair.counts(rules) != pair.unchanged).any()
            assert pair.changes(option) or not changed


def softened(mask: np.ndarray, rng: np.random.Generator, faint: int) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and its probabilities (3, H, W): sure of what is there, and unsure of `faint` more wells."""
    found = np.full((3, *mask.shape), 0.02)
    np.put_along_axis(found, mask[None].astype(int), 0.96, 0)
    for _ in range(faint):
        y, x = rng.integers(0, 42), rng.integers(0, 58)
        found[:, y : y + 6, x : x + 6] = [[[0.3]], [[0.12]], [[0.58]]]
    found = (found + rng.uniform(0, 0.01, found.shape)).astype(np.float32)
    found /= found.sum(0)
    return found.argmax(0).astype(np.uint8), found


def test_a_class_is_given_only_where_it_is_probable() -> None:
    rng = np.random.default_rng(6)
    truths = [scene(rng) for _ in range(24)]
    made = [softened(truth, rng, 4) for truth in truths]
    pairs = [Pair(truth, labels, 3, values) for truth, (labels, values) in zip(truths, made, strict=True)]
    found = tuned(pairs, CLASSES, "mIoU")
    assert found.helps and found.rules.rules[2].min_probability >= 0.6 and found.classes["well"].low > 0
    (step,) = [step for step in found.steps if step.kind == "min_probability"]
    assert step.name == "well" and step.folds == FOLDS and str(step) == f"well: min_probability {step.value}"
    without = tuned([Pair(truth, softened(truth, rng, 4)[0], 3) for truth in truths], CLASSES, "mIoU")
    assert not any(rule.min_probability for rule in without.rules.rules), "nothing is known of them"
    true = tuned([Pair(p, p, 3, q) for p, q in (softened(truth, rng, 4) for truth in truths)], CLASSES, "mIoU")
    assert not true.helps and not true.rules, "where unsure objects are true"


def test_what_is_counted_is_what_is_predicted() -> None:
    """For all thresholds of all classes together, of which more than the likeliest may fail."""
    rng = np.random.default_rng(7)
    probabilities = rng.dirichlet(np.full(4, 0.5), (30, 40)).transpose(2, 0, 1).astype(np.float32)
    prediction, truth = probabilities.argmax(0).astype(np.uint8), rng.integers(0, 4, (30, 40)).astype(np.uint8)
    pair = Pair(truth, prediction, 4, probabilities)
    for _ in range(40):
        least = [float(rng.choice([0, *LEAST])) for _ in range(4)]
        rules = PostProcessing(tuple(ClassRule(str(k), min_probability=value) for k, value in enumerate(least)))
        maps = rules.allowed(whole(probabilities))
        found = np.stack([maps([index]) for index in range(4)]).argmax(0).astype(np.uint8)
        confusion = confusion_matrix(truth, rules.apply(found), 4)
        expected = np.stack([np.diagonal(confusion), confusion.sum(1), confusion.sum(0)])
        np.testing.assert_array_equal(pair.counts(rules), expected)
        for index, value in enumerate(least):
            option = Option(index, "min_probability", value)
            alone = PostProcessing(tuple(option.on(ClassRule("a")) if k == index else ClassRule("a") for k in range(4)))
            if value and not pair.changes(option):
                np.testing.assert_array_equal(pair.counts(alone), pair.unchanged)


def test_a_class_is_not_given_up_for_the_score() -> None:
    """A model that sees wells nearly everywhere, and some of them rightly: without any of them the score would be higher,
    and no well would be found."""
    rng = np.random.default_rng(5)
    pairs = []
    for _ in range(20):
        truth = scene(rng)
        truth[20:24, 20:24] = 2
        found = np.zeros_like(truth)
        found[:, 10:] = 2
        sure = np.where(found == 2, 0.6, 0.1)
        probabilities = np.stack([1 - sure, np.zeros_like(sure), sure]).astype(np.float32)
        pairs.append(Pair(truth, found, 3, probabilities))
    without = Marginals.of(np.sum([confusion_matrix(*(_read(pair)), 3) for pair in pairs], 0))
    nothing = Marginals.of(
        np.sum([confusion_matrix(_read(pair)[0], np.zeros((48, 64), np.uint8), 3) for pair in pairs], 0)
    )
    assert nothing.mIoU() > without.mIoU() + 0.05, "giving the wells up would pay"
    result = tuned(pairs, CLASSES, "mIoU")
    assert not result.helps and not any(step.kind == "min_probability" for step in result.steps)


def _read(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    truth, found = (cv2.imdecode(file, cv2.IMREAD_UNCHANGED) for file in pair._files)
    return truth, found
