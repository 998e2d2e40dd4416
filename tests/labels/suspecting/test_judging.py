"""Judging: the share of wrong labels, the detector on simulated probabilities, and proposals that hold together."""

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, stats
from sklearn.metrics import average_precision_score

from helpers import draw_pair, write
from maskwright.core.classes import IGNORE
from maskwright.core.geometry import Geometry
from maskwright.core.mask_files import read_grey
from maskwright.data.opening import load_dataset
from maskwright.labels.suspecting import detector
from maskwright.labels.suspecting.applying import repaired
from maskwright.labels.suspecting.candidates import FEATURES, candidates, softmin
from maskwright.labels.suspecting.colours import Look
from maskwright.labels.suspecting.detector import Detector, Examples, Planted, learn
from maskwright.labels.suspecting.evidence import evidence_reader
from maskwright.labels.suspecting.folds import OutOfFold, write_probabilities
from maskwright.labels.suspecting.judging import at_share, judge, ranking, share_wrong
from maskwright.labels.suspecting.planting import KINDS, plant
from maskwright.labels.suspecting.proposals import at_size, redraw, snapping_gain, worth_snapping
from maskwright.labels.suspecting.results import LIKELY

IMAGES, SIZE = 60, (48, 48)


def believed(mask, rng, classes=3):
    """What a fair model says (K, H, W): the truth, blurred, with doubts in places and in half of the images a few specks
    that it is sure of and that are wrong."""
    truth = (np.arange(classes)[:, None, None] == np.where(mask == IGNORE, 0, mask)).astype(np.float32)
    doubts = ndimage.gaussian_filter(rng.normal(0, 1, truth.shape), (0, 3, 3)) * 16
    scores = 8 * ndimage.gaussian_filter(truth, (0, 1.5, 1.5)) + doubts + rng.normal(0, 0.3, truth.shape)
    if rng.random() < 0.5:
        for row, column in rng.integers(4, 44, (6, 2)):
            scores[(mask[row + 1, column + 1] + 1) % classes, row : row + 3, column : column + 3] += 20
    raised = np.exp(scores)
    return (raised / raised.sum(0)).astype(np.float32)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A dataset with planted errors, simulated probabilities, and what was judged; a lighter detector."""
    root, rng = tmp_path_factory.mktemp("judging"), np.random.default_rng(5)
    (root / "dataset.yaml").write_text(
        "layout: flat\nimages: {folder: images}\nmasks: {folder: masks}\nignore: 255\n"
        "classes: [{id: 0, name: ground}, {id: 1, name: red}, {id: 2, name: blue}]\n"
    )
    planted = {}
    for number in range(IMAGES):
        image, mask = draw_pair(rng, SIZE)
        mask[:3, :10] = IGNORE
        write_probabilities(root / "work", f"{number:02d}", believed(mask, rng))
        kind = [*KINDS][number % len(KINDS)]
        drawn = plant(mask, kind, rng, 3) if number < 10 else None
        if drawn is not None:
            planted[f"{number:02d}"], mask = kind, drawn
        write(root / f"images/{number:02d}.png", image)
        write(root / f"masks/{number:02d}.png", mask)
    dataset = load_dataset(root)
    predicted = OutOfFold(root / "work", dataset, list(dataset.samples), Geometry(SIZE), [], [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detector, "LEAST_PLANTED", 800)
        patch.setattr(detector, "VOTERS", 1)
        patch.setattr(detector, "TREES", detector.TREES | {"max_iter": 20, "max_bins": 16})
        learnt = learn(predicted.samples, evidence_reader(predicted), 0, 0)
        found = judge(predicted, learnt, 0, predicted.folder)
        yield SimpleNamespace(
            dataset=dataset, predicted=predicted, planted=planted, found=found, folder=predicted.folder
        )


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.8])
def test_the_share_of_wrong_ones_is_recovered(share):
    rng, count = np.random.default_rng(1), 20_000
    wrong = rng.random(count) < share
    x = rng.normal(2.0 * wrong, 1.0)
    at_half = stats.norm.pdf(x, 2) / (stats.norm.pdf(x, 2) + stats.norm.pdf(x, 0))
    found = share_wrong(at_half)
    assert found == pytest.approx(share, abs=0.015)
    chances = at_share(at_half, found)
    for low in (0.1, 0.4, 0.7):  # and the probabilities hold
        among = (chances >= low) & (chances < low + 0.2)
        assert wrong[among].mean() == pytest.approx(chances[among].mean(), abs=0.08)


def test_nothing_to_judge_is_not_wrong():
    assert share_wrong(np.zeros(0)) == 0 and share_wrong(np.zeros(9)) == 0


def test_at_share_is_the_rule_of_bayes(rng):
    like_wrong, like_right = rng.uniform(0.01, 1, 50), rng.uniform(0.01, 1, 50)
    at_half = like_wrong / (like_wrong + like_right)
    for share in (0.0, 0.05, 0.5, 1.0):
        expected = like_wrong * share / (like_wrong * share + like_right * (1 - share))
        assert at_share(at_half, share) == pytest.approx(expected)


def test_planted_errors_come_first(world):
    wrong = np.array([row.sample in world.planted for row in world.found.samples])
    scores = -np.arange(IMAGES)
    assert len(world.planted) >= 9 and len(wrong) == IMAGES
    evidence_of = evidence_reader(world.predicted)
    all_evidence = [evidence_of(sample) for sample in world.predicted.samples]
    baseline = average_precision_score(
        [evidence.sample.name in world.planted for evidence in all_evidence],
        [-softmin(evidence.label, evidence.probabilities) for evidence in all_evidence],
    )
    assert average_precision_score(wrong, scores) > max(0.85, baseline + 0.1)
    assert world.found.wrong < 0.3


def test_two_witnesses_rank_the_samples():
    # Worst by score, then by agreement (which counts half), then by both.
    assert ranking([0.1, 0.9, 0.2, 0.8], [0.9, 0.8, 0.1, 0.7]) == [1, 3, 2, 0]
    scores, agreements = np.zeros(100), np.ones(100)
    scores[:10], agreements[50] = np.linspace(1, 0.9, 10), 0.1  # one that the detector does not know
    order = ranking(scores, agreements)
    assert order[:11] == [0, 50, *range(1, 10)]
    assert ranking([], []) == []


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.3, 0.9]), st.sampled_from([0.2, 0.5, 1.0])), max_size=30))
def test_what_both_find_worse_comes_first(rows):
    order = ranking([score for score, _ in rows], [agreement for _, agreement in rows])
    assert sorted(order) == [*range(len(rows))]
    place = {row: number for number, row in enumerate(order)}
    for a, (score, agreement) in enumerate(rows):
        for b, (other_score, other_agreement) in enumerate(rows):
            if score > other_score and agreement < other_agreement:
                assert place[a] < place[b]


def test_the_same_seed_says_the_same(world, monkeypatch):
    monkeypatch.setattr(detector, "LEAST_PLANTED", 1)
    monkeypatch.setattr(detector, "TREES", detector.TREES | {"max_iter": 3})
    evidence_of, samples = evidence_reader(world.predicted), world.predicted.samples[:16]
    features = np.concatenate([[one.features for one in evidence_of(sample).candidates(0)] for sample in samples])
    learnt = [learn(samples, evidence_of, 0, seed) for seed in (1, 1, 2)]
    said = [one.judge([sample.name for sample in samples], [features] * len(samples)) for one in learnt]
    assert (np.array(said[0]) == said[1]).all() and (np.array(said[0]) != said[2]).any()
    assert np.shape(said[0]) == (len(samples), len(features), 1 + len(KINDS))
    assert np.sum(said, -1) == pytest.approx(np.ones(np.shape(said)[:-1]))


def test_no_image_is_judged_by_what_has_learnt_from_it(world, monkeypatch):
    judging = []

    class Recorder:
        """Has seen the numbers that its features are made of."""

        def __init__(self, **settings):
            self.classes_ = np.arange(1 + len(KINDS))

        def fit(self, features, kinds, sample_weight):
            self.seen = {*features[:, 0].tolist()}
            assert sample_weight[kinds == 0].sum() == pytest.approx(sample_weight.sum() / 2)
            return self

        def predict_proba(self, features):
            numbers = features[:, 0]
            judging.extend(number not in self.seen and len(self.seen) > IMAGES / 2 for number in numbers.tolist())
            return np.eye(1 + len(KINDS))[(numbers % 10 == 0).astype(int)]  # one image in ten looks wrong

    def numbered(evidence, donors, background, copies, seed):
        return Examples(np.full((4, len(FEATURES)), seed[-1], np.float32), np.array([0, 0, 1, 2]), np.zeros(4))

    monkeypatch.setattr("sklearn.ensemble.HistGradientBoostingClassifier", Recorder)
    monkeypatch.setattr(detector, "examples", numbered)
    samples = world.predicted.samples
    learnt = learn(samples, evidence_reader(world.predicted), 0, 3)
    learnt.judge(
        [sample.name for sample in samples],
        [np.full((1, len(FEATURES)), number, np.float32) for number in range(len(samples))],
    )
    assert len(judging) >= 2 * IMAGES and all(judging)
    late = [one for part in learnt.classifiers for one in part]
    assert not {number for one in late for number in one.seen if number % 10 == 0}  # those were set aside
    assert learnt.judge(["x"], [np.zeros((0, len(FEATURES)), np.float32)])[0].shape == (0, 1 + len(KINDS))


def test_proposals_changes_trust_and_repairs_agree(world):
    assert world.found.suspects
    by_sample = {}
    for one in world.found.suspects:
        by_sample.setdefault(one.sample, []).append(one)
    assert {row.sample: row.suspects for row in world.found.samples if row.suspects} == {
        name: len(found) for name, found in by_sample.items()
    }
    for sample in world.dataset.samples:
        mask, found = world.dataset.read_mask(sample), by_sample.get(sample.name, [])
        trust = cv2.imread(str(world.folder / "trust" / f"{sample.name}.png"), cv2.IMREAD_UNCHANGED)
        assert trust.shape == SIZE and trust.dtype == np.uint8 and (trust[mask == IGNORE] == 255).all()
        assert all(0 <= one.confidence <= one.score and one.score >= LIKELY for one in found)
        assert all((one.confidence > 0) == (one.number > 0) for one in found)
        found = [one for one in found if one.number]
        assert (world.folder / "proposals" / f"{sample.name}.png").exists() == bool(found)
        if not found:
            continue
        changes = read_grey(world.folder / "changes" / f"{sample.name}.png")
        proposal = repaired(world.dataset, sample, world.folder, [one.number for one in found])
        assert ((proposal != mask) == (changes > 0)).all() and (proposal[mask == IGNORE] == IGNORE).all()
        assert sorted(one.number for one in found) == [*range(1, changes.max() + 1)]
        for one in found:
            part, (x, y, width, height) = changes == one.number, one.region
            assert part.sum() == one.error_pixels
            rows, columns = np.nonzero(part)
            assert (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1) == (x, y, width, height)
            assert trust[part].min() <= round(255 * (1 - one.score)) + 1
            assert (repaired(world.dataset, sample, world.folder, [one.number]) == np.where(part, proposal, mask)).all()
            assert sum(one.kinds.values()) == pytest.approx(1, abs=1e-3)
            assert one.kind == max(one.kinds, key=one.kinds.get)


def test_repairs_bring_back_what_was_there(world):
    """Of the samples with a planted error and a suspect, most labels are nearer to what the models believe."""
    nearer = []
    for name in {one.sample for one in world.found.suspects if one.sample in world.planted}:
        sample = next(one for one in world.dataset.samples if one.name == name)
        mask, believed_mask = world.dataset.read_mask(sample), world.predicted.read(sample).argmax(0)
        found = [one.number for one in world.found.suspects if one.sample == name and one.number]
        if not found:
            continue
        after = repaired(world.dataset, sample, world.folder, found)
        nearer.append((after == believed_mask).sum() > (mask == believed_mask).sum())
    assert len(nearer) >= 5 and all(nearer)


def test_redraw_touches_only_the_surroundings(rng):
    small = np.zeros((24, 24), np.uint8)
    small[4:12, 4:12] = 1
    shifted = np.roll(small, (2, 3), (0, 1))
    shifted[20:, 20:] = 1
    probabilities = np.stack([shifted == 0, shifted == 1]).astype(np.float32)
    plain = Look(np.ones((24, 24), np.float32), np.zeros((24, 24), np.uint8))
    one, other = candidates(small, probabilities, plain, 0)
    label, predicted = (mask.repeat(3, 0).repeat(2, 1) for mask in (small, shifted))
    label[:6] = IGNORE
    label[18:21, 10:14] = IGNORE
    changed = redraw(label, predicted, one, (24, 24))
    expected = (label != predicted) & (label != IGNORE)
    expected[60:, 40:] = False  # the other candidate
    assert changed.shape == label.shape and (changed == expected).all()
    assert not (changed & redraw(label, predicted, other, (24, 24))).any()
    noise = rng.integers(0, 2, label.shape).astype(np.uint8)
    reached = redraw(label, noise, one, (24, 24))
    rows, columns = np.nonzero(reached)
    assert reached.any() and not reached[label == IGNORE].any()
    assert rows.max() < (14 + 2) * 3 and columns.max() < (15 + 2) * 2


@pytest.mark.parametrize(
    ("gains", "worth"),
    [
        ([], False),
        ([0.5], False),
        ([0.1, 0.1, 0.1], True),
        ([0.0, 0.0], False),
        ([-0.1, -0.1], False),
        ([0.3, -0.2, 0.1, -0.1], False),
        ([0.02, 0.03, 0.01, 0.02], True),
    ],
)
def test_snapping_is_worth_it_when_the_gain_is_above_chance(gains, worth):
    assert worth_snapping(gains) is worth


def test_snapping_gains_where_the_image_has_edges(rng):
    mask = np.zeros((64, 64), np.uint8)
    mask[20:44, 16:50] = 1
    image = np.repeat(np.where(mask, 200, 40)[..., None], 3, 2).astype(np.uint8)
    truth = np.stack([mask == 0, mask == 1]).astype(np.float32)
    smooth = np.stack([cv2.GaussianBlur(one, (0, 0), 2) for one in truth])
    coarse = np.clip(smooth + np.array([0.25, -0.25])[:, None, None], 0, 1).astype(np.float32)[:, ::2, ::2]
    assert snapping_gain(image, mask, coarse) > 0.02 > snapping_gain(np.full_like(image, 90), mask, coarse)
    assert snapping_gain(image, np.zeros_like(mask), coarse) is None


def test_at_size(rng):
    probabilities = rng.dirichlet(np.ones(3), (20, 24)).transpose(2, 0, 1).astype(np.float32)
    assert (at_size(probabilities, (20, 24)) == probabilities).all()
    for size in ((40, 31), (13, 50)):
        image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
        for guide in (None, image):
            large = at_size(probabilities, size, guide)
            assert large.shape == (3, *size) and large.sum(0) == pytest.approx(np.ones(size), abs=1e-4)


def test_a_sample_without_candidates_is_ranked_last(world, tmp_path):
    class Sure:
        classes_ = np.arange(1 + len(KINDS))

        def predict_proba(self, features):
            return np.tile(np.eye(1 + len(KINDS))[2], (len(features), 1))

    name = world.predicted.samples[0].name
    empty = np.full((3, *SIZE), 0.0, np.float32)
    empty[0] = 1
    write_probabilities(tmp_path, name, empty)
    mask = np.zeros(SIZE, np.uint8)
    blank = SimpleNamespace(read=lambda sample: (np.zeros((*SIZE, 3), np.uint8), mask), classes=world.dataset.classes)
    predicted = replace(world.predicted, folder=tmp_path, dataset=blank, samples=world.predicted.samples[:1])
    nothing = Planted(np.zeros((0, len(FEATURES)), np.float32), np.zeros(0), np.zeros(0), np.zeros(0))
    found = judge(predicted, Detector([[Sure()]], [None], {}, nothing), 0, tmp_path)
    assert not found.suspects and found.samples[0].score == found.samples[0].error_share == 0 and found.wrong == 0
    assert (read_grey(tmp_path / "trust" / f"{name}.png") == 255).all()
