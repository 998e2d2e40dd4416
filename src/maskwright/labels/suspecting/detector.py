"""The detector: how likely a candidate's label is wrong, and in which way, learnt from errors planted in this dataset.

Out-of-fold probabilities do not depend on an image's own label. So its label can be changed at will, and what the
change looks like beside the same probabilities is what such an error looks like here: with these objects, these images
and models as good or bad as these. For each image errors of every kind are planted, and a classifier (gradient boosted
trees) learns to tell candidates with a planted error from those of the labels as they are. Each image is judged by a
classifier that has not seen it.

Labels as they are hold errors too. So it is learnt twice: the second time without the images that look worst.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.base.progress import progress
from maskwright.base.workers import in_order, worker_count
from maskwright.core.masks import Mask
from maskwright.core.sample import Sample
from maskwright.labels.suspecting.candidates import FEATURES, Candidate, candidates
from maskwright.labels.suspecting.evidence import Evidence
from maskwright.labels.suspecting.planting import KINDS, Thing, plant, things

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
_FOLDS = 4
_MOST_IMAGES = 400  # that are learnt from
# More errors are planted in an image until there are so many in all.
LEAST_PLANTED = 4000
_SET_ASIDE = 0.12  # share of the images that look worst, which the second round does not learn from
_HIT = 0.3  # share of the planted pixels that a candidate holds to be the error
TREES: dict[str, Any] = {"max_iter": 60, "learning_rate": 0.12, "max_leaf_nodes": 8, "max_features": 0.3}
VOTERS = 3  # differ in the features that their trees may look at; the mean of several ranks better than one
_DONORS = 60


@dataclass(frozen=True)
class Examples:
    """Candidates of one image: features (M, F); of each the place of its kind in `KINDS` + 1, or 0 for a label as it
    is, and `gains` (M,): by how much of its pixels fewer are wrong when it is redrawn as it is predicted."""

    features: Floats
    kinds: npt.NDArray[np.int64]
    gains: Floats


def examples(
    evidence: Evidence, donors: Sequence[Thing], background: int | None, copies: int, seed: Sequence[int]
) -> Examples:
    """The candidates of the label as it is and of `copies` planted errors of each kind."""
    rng = np.random.default_rng(seed)
    predicted = evidence.probabilities.argmax(0)
    own = evidence.candidates(background)
    rows = [candidate.features for candidate in own]
    kinds, gains = [0] * len(rows), [gain(candidate, evidence.label, evidence.label, predicted) for candidate in own]
    for place, kind in enumerate([*KINDS] * copies):
        drawn = plant(evidence.label, kind, rng, len(evidence.probabilities), background, donors)
        if drawn is None:
            continue
        changed = drawn != evidence.label
        planted = np.count_nonzero(changed)
        for candidate in candidates(drawn, evidence.probabilities, evidence.look, background):
            if np.count_nonzero(changed[candidate.window] & candidate.inside) >= _HIT * planted:
                rows.append(candidate.features)
                kinds.append(1 + place % len(KINDS))
                gains.append(gain(candidate, evidence.label, drawn, predicted))
    features = np.array(rows, np.float32).reshape(-1, len(FEATURES))
    return Examples(features, np.array(kinds, np.int64), np.array(gains, np.float32))


def gain(candidate: Candidate, truth: Mask, label: Mask, predicted: npt.NDArray[np.int64]) -> float:
    """By how much of its pixels fewer are wrong in the prediction than in the label; each (H, W) class indices."""
    where = candidate.window
    wrong = [np.count_nonzero((one[where] != truth[where]) & candidate.differing) for one in (label, predicted)]
    return float(wrong[0] - wrong[1]) / float(np.count_nonzero(candidate.inside))


@dataclass(frozen=True)
class Planted:
    """What the detector says of M errors planted in images that it has not learnt from: features (M, F), how likely
    they are wrong where half are `chances` (M,), and the gain of redrawing them, as it expects it and as it is (M,)."""

    features: Floats
    chances: Doubles
    expected: Doubles
    gains: Doubles


@dataclass(frozen=True)
class Detector:
    """By part of the images, classifiers for candidates and a regression for the gain of redrawing those that are
    wrong, each learnt without the part; `parts` is that of each sample. `planted` tells how good they are."""

    classifiers: Sequence[Sequence[Any]]
    regressions: Sequence[Any]
    parts: dict[str, int]
    planted: Planted

    def judge(self, samples: Sequence[str], features: Sequence[Floats]) -> list[Doubles]:
        """Features (M, F) of the candidates of each image to probabilities (M, 1 + kinds), first that of a right label,
        by classifiers that have not seen the image. Not to be called in a forked process: their threads do not survive
        the fork."""
        return _by_part([self.parts.get(name, 0) for name in samples], features, self.classifiers, _chances)

    def gains(self, samples: Sequence[str], features: Sequence[Floats]) -> list[Doubles]:
        """As `judge`, the expected gain (M,) of redrawing each candidate as it is predicted, if it is wrong."""
        return _by_part([self.parts.get(name, 0) for name in samples], features, self.regressions, _gains)


def _by_part(
    parts: Sequence[int] | npt.NDArray[np.int64],
    features: Sequence[Floats],
    models: Sequence[Any],
    ask: Callable[[Any, Floats], Doubles],
) -> list[Doubles]:
    """What the model of each image's part says of its rows."""
    said = [ask(models[0], one[:0]) for one in features]
    for part, model in enumerate(models):
        places = [place for place, own in enumerate(parts) if own == part and len(features[place])]
        if not places:
            continue
        found = ask(model, np.concatenate([features[place] for place in places]))
        for place, one in zip(places, np.split(found, np.cumsum([len(features[p]) for p in places])), strict=False):
            said[place] = one
    return said


def _chances(classifiers: Sequence[Any], features: Floats) -> Doubles:
    found = np.zeros((len(features), 1 + len(KINDS)))
    if len(features):
        with one_thread():
            for classifier in classifiers:
                found[:, classifier.classes_] += classifier.predict_proba(features) / len(classifiers)
    return found


def _gains(regression: Any, features: Floats) -> Doubles:
    if not len(features):
        return np.zeros(0)
    with one_thread():
        return np.asarray(regression.predict(features), np.float64)


def learn(
    samples: Sequence[Sample], evidence_of: Callable[[Sample], Evidence], background: int | None, seed: int
) -> Detector:
    """Plants errors in the labels of `samples` (up to 400 of them, evenly chosen at random) and learns from them."""
    rng = np.random.default_rng((seed, 11))
    chosen = [samples[place] for place in np.sort(rng.permutation(len(samples))[:_MOST_IMAGES])]
    copies = max(1, -(-LEAST_PLANTED // (len(KINDS) * len(chosen))))
    donors = [
        thing
        for place in rng.permutation(len(chosen))[:_DONORS]
        for thing in things(evidence_of(chosen[place]).label, background)[:3]
    ]

    def make(place: int) -> Examples:
        return examples(evidence_of(chosen[place]), donors, background, copies, (seed, 12, place))

    found: list[Examples] = []
    with progress("planting errors", len(chosen)) as advance:
        for one in in_order(make, range(len(chosen)), worker_count()):
            found.append(one)
            advance(len(found))
    part = rng.permutation(len(chosen)) % min(_FOLDS, len(chosen))
    own, wrong = ([one.features[(one.kinds > 0) == which] for one in found] for which in (False, True))
    first = fit_classifiers(found, part, np.zeros(len(found), np.bool_), 1)
    worst = np.array([(1 - one[:, 0]).max(initial=0.0) for one in _by_part(part, own, first, _chances)])
    aside = worst > np.quantile(worst, 1 - _SET_ASIDE)
    classifiers = fit_classifiers(found, part, aside, VOTERS)
    regressions = fit_regressions(found, part, aside)
    planted = Planted(
        np.concatenate(wrong),
        1 - np.concatenate(_by_part(part, wrong, classifiers, _chances))[:, 0],
        np.concatenate(_by_part(part, wrong, regressions, _gains)),
        np.concatenate([one.gains[one.kinds > 0] for one in found]).astype(np.float64),
    )
    parts = {sample.name: int(place) for sample, place in zip(chosen, part, strict=True)}
    return Detector(classifiers, regressions, parts, planted)


def _others(
    found: Sequence[Examples], part: npt.NDArray[np.int64], aside: npt.NDArray[np.bool_], place: int
) -> Sequence[Examples]:
    """The examples of all parts but one, without the images that are set aside."""
    return [one for one, own, left in zip(found, part, aside, strict=True) if own != place and not left]


def fit_regressions(found: Sequence[Examples], part: npt.NDArray[np.int64], aside: npt.NDArray[np.bool_]) -> list[Any]:
    """For each part, a regression that has learnt from the planted errors of the others what redrawing them gains."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    def fit(place: int) -> Any:
        used = _others(found, part, aside, place)
        features, gains = (
            np.concatenate([getattr(one, what)[one.kinds > 0] for one in used]) for what in ("features", "gains")
        )
        with one_thread():
            return HistGradientBoostingRegressor(**TREES, random_state=0).fit(features, gains)

    return [fit(place) for place in range(int(part.max()) + 1)]


def fit_classifiers(
    found: Sequence[Examples], part: npt.NDArray[np.int64], aside: npt.NDArray[np.bool_], voters: int
) -> list[list[Any]]:
    """For each part, classifiers that have learnt from the others, without the images that are set aside."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    def fit(job: tuple[int, int]) -> Any:
        place, voter = job
        used = _others(found, part, aside, place)
        features = np.concatenate([one.features for one in used])
        kind = np.concatenate([one.kinds for one in used])
        # Half of the weight is that of right labels, so that the probabilities are those where half are wrong.
        counts = np.bincount(kind, minlength=1 + len(KINDS))
        shares = np.full(len(counts), 1 / max(1, int(np.count_nonzero(counts[1:]))))
        shares[0] = 1.0
        weight = (shares / np.maximum(counts, 1))[kind] * len(kind)
        with one_thread():
            return HistGradientBoostingClassifier(**TREES, random_state=voter).fit(
                features, kind, sample_weight=weight / weight.mean()
            )

    jobs = [(place, voter) for place in range(int(part.max()) + 1) for voter in range(voters)]
    with progress("learning", len(jobs), "classifiers") as advance:
        fitted = []
        for one in in_order(fit, jobs, worker_count()):
            fitted.append(one)
            advance(len(fitted))
    return [fitted[start : start + voters] for start in range(0, len(jobs), voters)]


def one_thread() -> Any:
    """Threads of trees wait for each other at every split: beside another program two of them are five times slower
    than one."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, "openmp")
