"""From a detector to suspects: every sample is judged, and what is likely wrong gets a proposal.

The detector's probabilities hold where half of all candidates are wrong. The true share is estimated from what it says
of this dataset (Saerens, Latinne and Decaestecker, Neural Computation 2002), and the probabilities are those at that
share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskwright.base.progress import progress
from maskwright.base.storage import atomic_write_bytes
from maskwright.base.workers import in_order, worker_count
from maskwright.core.classes import IGNORE
from maskwright.core.dataset import Dataset
from maskwright.core.masks import grey_png, mask_png
from maskwright.core.sample import Sample
from maskwright.labels.suspecting.candidates import FEATURES, Candidate, feature_rows, of_label, softmin
from maskwright.labels.suspecting.detector import Detector, Planted
from maskwright.labels.suspecting.evidence import Evidence, evidence_reader
from maskwright.labels.suspecting.folds import OutOfFold
from maskwright.labels.suspecting.outlines import Outline, Profile, outlines, profile
from maskwright.labels.suspecting.planting import KINDS
from maskwright.labels.suspecting.proposals import at_size, redraw, snapping_gain, worth_snapping
from maskwright.labels.suspecting.results import LIKELY, Redrawing, Suspect, SuspectSample

Doubles = npt.NDArray[np.float64]
_ROUNDS = 100
_AGREEMENT = 2.0  # the weight of its share in the ranking: see docs/decisions/0026
_WORTH = 0.1  # share of a region's pixels that a proposal is expected to put right, at least
_IOU = [*FEATURES].index("iou")
_MEASURED = 60  # samples that tell whether snapping helps
_MOST = 255  # suspects of one sample
_SAME = 0.5  # share of the pixels in doubt that two candidates have in common to be one suspect


@dataclass(frozen=True)
class Judged:
    """The suspects and samples of a dataset, worst first; `snapped`: whether proposals follow the images' edges;
    `wrong`: the estimated share of candidates that are wrong; `outlines`: what all masks have in common; `redrawing`:
    what proposals would have done to planted errors."""

    suspects: list[Suspect]
    samples: list[SuspectSample]
    snapped: bool
    wrong: float
    outlines: list[Outline]
    redrawing: Redrawing


def judge(predicted: OutOfFold, detector: Detector, background: int | None, folder: Path) -> Judged:
    """Judges every sample; writes `proposals/` and `changes/` of those with a suspect and `trust/` of all
    into `folder`."""
    evidence_of, samples, classes = evidence_reader(predicted), predicted.samples, predicted.dataset.classes
    names = [sample.name for sample in samples]

    def measure(sample: Sample) -> tuple[npt.NDArray[np.float32], Profile]:
        evidence = evidence_of(sample)
        return feature_rows(evidence.candidates(background)), profile(
            evidence.image, evidence.mask, len(classes), background
        )

    rows: list[npt.NDArray[np.float32]] = []
    profiles: list[Profile] = []
    with progress("judging", len(samples)) as advance:
        for features, one in in_order(measure, samples, worker_count()):
            rows.append(features)
            profiles.append(one)
            advance(len(rows))
    said = detector.judge(names, rows)
    share = share_wrong(1 - np.concatenate([one[:, 0] for one in said]))
    scores = [at_share(1 - one[:, 0], share) for one in said]
    redrawing = measured_redrawing(detector.planted, share)
    redrawn = [
        redrawing.helps & (expected_gain(score, gain, one) > _WORTH)
        for score, gain, one in zip(scores, detector.gains(names, rows), rows, strict=True)
    ]
    clean = [sample for sample, one in zip(samples, scores, strict=True) if len(one) and one.max() < LIKELY]
    snapped = _snapping_helps(evidence_of, clean)

    def judge_at(place: int) -> tuple[list[Suspect], SuspectSample]:
        return judge_sample(
            predicted.dataset,
            evidence_of(samples[place]),
            background,
            scores[place],
            said[place][:, 1:],
            redrawn[place],
            snapped,
            folder,
        )

    suspects: list[Suspect] = []
    ranked: list[SuspectSample] = []
    with progress("proposing", len(samples)) as advance:
        for found, row in in_order(judge_at, range(len(samples)), worker_count()):
            suspects += found
            ranked.append(row)
            advance(len(ranked))
    suspects.sort(key=lambda one: (-one.score, one.sample, one.region))
    order = ranking([row.score for row in ranked], [row.agreement for row in ranked])
    ranked = [ranked[place] for place in order]
    return Judged(suspects, ranked, snapped, share, outlines(profiles, classes.names), redrawing)


def ranking(scores: Sequence[float], agreements: Sequence[float]) -> list[int]:
    """The places of samples, the most likely wrong first.

    Two witnesses: the detector, which knows the kinds of errors that were planted, and the agreement of label and
    prediction, which knows none. Each says for a sample which share of all samples look at least as wrong to it. The
    smaller one counts (a weighted Bonferroni combination); that of the agreement twice, as it ranks less well.
    """
    score, agreement = np.array(scores, np.float64), np.array(agreements, np.float64)
    shares = [1 - np.searchsorted(np.sort(one), one, side="left") / max(1, len(one)) for one in (score, -agreement)]
    least = np.minimum(shares[0], _AGREEMENT * shares[1])
    return [int(place) for place in np.lexsort((agreement, -score, shares[0] + shares[1], least))]


def share_wrong(chances: Doubles) -> float:
    """The share of wrong ones among candidates with these probabilities (N,), which hold at a share of one half."""
    share = 0.5
    for _ in range(_ROUNDS):
        share = float(at_share(chances, share).mean()) if len(chances) else 0.0
    return share


def at_share(chances: Doubles, share: float) -> Doubles:
    """Probabilities (N,) that hold where half are wrong, as they are where `share` is."""
    wrong, right = chances * share, (1 - chances) * (1 - share)
    return np.asarray(wrong / np.maximum(wrong + right, 1e-12))


def expected_gain(scores: Doubles, gains: Doubles, features: npt.NDArray[np.float32]) -> Doubles:
    """By how much of their pixels fewer are wrong if candidates (M,) are redrawn as predicted: scores, how likely they
    are wrong; gains, what is expected if they are. In those that are right, all pixels that differ become wrong."""
    return np.asarray(scores * gains - (1 - scores) * (1 - features[:, _IOU]))


def measured_redrawing(planted: Planted, share: float) -> Redrawing:
    """What proposals do to planted errors that would be called suspects where `share` of the candidates are wrong."""
    scores = at_share(planted.chances, share)
    offered = (scores >= LIKELY) & (expected_gain(scores, planted.expected, planted.features) > _WORTH)
    gains = planted.gains[offered]
    if len(gains) < 2:
        return Redrawing(len(scores), len(gains), 0.0, 0.0, 0.0, 0.0)
    error = float(gains.std(ddof=1) / np.sqrt(len(gains)))
    mean = float(gains.mean())
    return Redrawing(
        len(scores), len(gains), mean, mean - 2 * error, float((gains > 0).mean()), float((gains < 0).mean())
    )


def _snapping_helps(evidence_of: Callable[[Sample], Evidence], samples: Sequence[Sample]) -> bool:
    chosen = [samples[place] for place in np.unique(np.linspace(0, len(samples) - 1, _MEASURED).astype(int)) if samples]

    def gain(sample: Sample) -> float | None:
        evidence = evidence_of(sample)
        return snapping_gain(evidence.image, evidence.mask, evidence.probabilities)

    return worth_snapping([one for one in in_order(gain, chosen, worker_count()) if one is not None])


def judge_sample(
    dataset: Dataset,
    evidence: Evidence,
    background: int | None,
    scores: Doubles,
    kinds: Doubles,
    redrawn: npt.NDArray[np.bool_],
    snapped: bool,
    folder: Path,
) -> tuple[list[Suspect], SuspectSample]:
    """The suspects of a sample, with their proposals in `folder`, and how wrong it is as a whole. scores (M,), kinds
    (M, kinds), and whether they are `redrawn` (M,): of the candidates of the evidence."""
    sample, found = evidence.sample, evidence.candidates(background)
    trust = np.rint(255 * (1 - _doubt(evidence, found, scores))).astype(np.uint8)
    atomic_write_bytes(folder / "trust" / f"{sample.name}.png", grey_png(trust))
    chosen = [*_distinct(found, scores, evidence.label.shape)]
    suspects = []
    if chosen:
        large = at_size(evidence.probabilities, evidence.mask.shape, evidence.image if snapped else None)
        suspects = _propose(
            dataset,
            evidence,
            large,
            [(found[place], float(scores[place]), kinds[place], bool(redrawn[place])) for place in chosen],
            folder,
        )
    return suspects, SuspectSample(
        sample.name,
        sample.split,
        float(scores.max(initial=0.0)),
        _unlikely(evidence),
        len(suspects),
        softmin(evidence.label, evidence.probabilities),
    )


def _unlikely(evidence: Evidence) -> float:
    """The expected share of wrong pixels: by what the models say of each pixel's label, without its image's score."""
    known = evidence.label != IGNORE
    return float((1 - of_label(evidence.label, evidence.probabilities)[known]).mean()) if known.any() else 0.0


def _doubt(evidence: Evidence, found: Sequence[Candidate], scores: Doubles) -> npt.NDArray[np.float32]:
    """(h, w) 0..1: how likely each pixel's label is wrong: the score of its candidate, where label and prediction
    differ."""
    doubt = np.zeros(evidence.label.shape, np.float32)
    for candidate, score in zip(found, scores, strict=True):
        part = doubt[candidate.window]
        np.maximum(part, candidate.differing * np.float32(score), out=part)
    return doubt


def _distinct(found: Sequence[Candidate], scores: Doubles, size: tuple[int, ...]) -> Iterator[int]:
    """The places of suspects, the most likely first; of those about the same pixels only the first."""
    taken = np.zeros(size, np.bool_)
    for place in np.argsort(-scores, kind="stable").tolist():
        differing, window = found[place].differing, found[place].window
        pixels = np.count_nonzero(differing)
        if scores[place] < LIKELY or not pixels:
            continue
        if np.count_nonzero(taken[window] & differing) < _SAME * pixels:
            taken[window] |= differing
            yield place


def _propose(
    dataset: Dataset,
    evidence: Evidence,
    large: npt.NDArray[np.float32],
    chosen: Sequence[tuple[Candidate, float, Doubles, bool]],
    folder: Path,
) -> list[Suspect]:
    """Suspects, with their proposals where they are to be redrawn; `changes` of the image holds the number of the
    suspect that changes a pixel."""
    sample, mask = evidence.sample, evidence.mask
    names, predicted = dataset.classes.names, large.argmax(0).astype(np.uint8)
    proposal, changes = mask.copy(), np.zeros(mask.shape, np.uint8)
    suspects: list[Suspect] = []
    number = 0
    for candidate, score, kinds, redrawn in chosen[:_MOST]:
        changed = redraw(mask, predicted, candidate, evidence.label.shape) & (changes == 0)
        if not changed.any():
            continue
        if redrawn:
            number += 1
            proposal[changed], changes[changed] = predicted[changed], number
        rows, columns = (np.flatnonzero(changed.any(axis)) for axis in (1, 0))
        labelled, proposed = (int(np.bincount(one[changed]).argmax()) for one in (mask, predicted))
        sure = float(np.clip(large.max(0)[changed], 0, 1).mean())
        shares = dict(zip(KINDS, (kinds / max(kinds.sum(), 1e-12)).round(4).tolist(), strict=True))
        suspects.append(
            Suspect(
                sample.name,
                sample.split,
                number if redrawn else 0,
                round(score, 4),
                max(shares, key=shares.__getitem__),
                shares,
                (int(columns[0]), int(rows[0]), int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1),
                names[labelled],
                names[proposed],
                int(np.count_nonzero(changed)),
                round(score * sure, 4) if redrawn else 0.0,
            )
        )
    if number:
        atomic_write_bytes(folder / "proposals" / f"{sample.name}.png", mask_png(proposal, dataset.classes))
        atomic_write_bytes(folder / "changes" / f"{sample.name}.png", grey_png(changes))
    return suspects
