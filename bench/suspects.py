"""How well `suspects` finds wrong labels, compared with cleanlab's softmin and with models that have seen the labels.

    python bench/suspects.py --data skin --seeds 0 1 2 --set train.budget=null --set train.iterations=250 [--left-out]
    python bench/suspects.py --data faces …     coarse labels against careful ones of the same images
    python bench/suspects.py --data demo        the masks that the demo plants
    python bench/suspects.py --data scale --images 200 2000    time and memory

skin and steel: errors of all kinds planted in 10 % of the masks of a copy, which is searched. As that leaves few masks
of a kind, further errors are planted in the labels after the trainings, which changes nothing for the models that judge
them: `repeated` is the average precision by kind over many draws, each with as many masks of a kind as 10 % of all are.
With `--left-out` each kind is also searched by a detector that has not learnt it. softmin is ours, which
tests/labels/suspecting/test_candidates.py compares with cleanlab's. Real data are in MASKWRIGHT_REAL_DATA. `--work`
keeps the trainings, so that a stopped bench can be resumed; `--in-sample` adds models that have seen the labels.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

import maskwright
from maskwright.base.storage import atomic_write_json, dump_json, read_json
from maskwright.core.dataset import Dataset
from maskwright.demonstration.generator import generate
from maskwright.evaluation.metrics import confusion_matrix, iou
from maskwright.labels.suspecting import detector as detecting
from maskwright.labels.suspecting.applying import repaired
from maskwright.labels.suspecting.candidates import candidates, feature_rows, of_label, softmin
from maskwright.labels.suspecting.detector import Detector, Examples, learn
from maskwright.labels.suspecting.evidence import evidence_reader
from maskwright.labels.suspecting.folds import OutOfFold, predict_samples, train_fold
from maskwright.labels.suspecting.judging import judge, ranking
from maskwright.labels.suspecting.planting import KINDS, plant, things
from maskwright.labels.suspecting.selftest import measured, plant_copy, ranking_scores
from maskwright.modeling.models.segmenter import load_segmenter
from maskwright.verbs.suspects import Settings, search, small_config

DATA = Path(os.environ.get("MASKWRIGHT_REAL_DATA", "../shared/data"))


def planted(name: str, seed: int, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    data, folder = DATA / name, work / f"{name}-{seed}"
    dataset = maskwright.load_dataset(data)
    errors = plant_copy(data, dataset, 0, seed, folder)
    copy, settings = opened(folder / "data", seed, options)
    predicted, found = search(copy, settings, folder, None)
    kinds = np.array([errors.get(sample.name, "") for sample in predicted.samples])
    result = measured(dataset, predicted, found, errors)
    detector = learn(predicted.samples, evidence_reader(predicted), settings.background, settings.seed)
    if options.in_sample:
        result["in_sample"] = in_sample(copy, settings, folder, predicted, kinds)
    result |= {
        "repeated": repeated(predicted, detector, errors, options.left_out),
        "kind_told": kinds_right(found.suspects, errors),
        "folds": [fold.mIoU for fold in predicted.facts],
        "snapped": found.snapped,
        "wrong": found.wrong,
        "called": called(found, errors),
    }
    return {"data": name, "seed": seed, **result}


def opened(data: Path, seed: int, options: argparse.Namespace) -> tuple[Dataset, Settings]:
    config = small_config(data, options.budget, options.weights, options.set)
    return maskwright.load_dataset(data), Settings(config, 4, seed, 0)


def repeated(predicted: OutOfFold, detector: Detector, errors: dict[str, str], left_out: bool) -> dict[str, Any]:
    """Average precision by kind of the ranking and of softmin, over draws of planted masks among all others."""
    evidence_of, rng = evidence_reader(predicted), np.random.default_rng(5)
    samples = [sample for sample in predicted.samples if sample.name not in errors]
    donors = [thing for sample in samples[:60] for thing in things(evidence_of(sample).label, 0)[:3]]
    names, kinds, rows, agreements = [], [], [], []
    for sample in samples:
        evidence = evidence_of(sample)
        labels = {"": evidence.label}
        for kind in KINDS:
            drawn = plant(evidence.label, kind, rng, len(evidence.probabilities), 0, donors)
            labels |= {} if drawn is None else {kind: drawn}
        for kind, label in labels.items():
            names.append(sample.name)
            kinds.append(kind)
            rows.append(feature_rows(candidates(label, evidence.probabilities, evidence.look, 0)))
            agreements.append(softmin(label, evidence.probabilities))
    table = np.array(names), np.array(kinds), np.array(agreements)
    result = {kind: drawn_precision(kind, scores_of(detector, names, rows), *table) for kind in KINDS}
    if left_out:
        for place, kind in enumerate(KINDS, 1):
            untaught = scores_of(without(place, predicted), names, rows)
            result[kind]["left_out"] = drawn_precision(kind, untaught, *table)["ranking"]
    return result


def scores_of(detector: Detector, names: list[str], rows: list[np.ndarray]) -> np.ndarray:
    return np.array([(1 - one[:, 0]).max(initial=0.0) for one in detector.judge(names, rows)])


def without(place: int, predicted: OutOfFold) -> Detector:
    """A detector that has not learnt the kind at this place."""
    real = detecting.examples

    def fewer(*given: Any) -> Examples:
        one = real(*given)
        kept = one.kinds != place
        return Examples(one.features[kept], one.kinds[kept], one.gains[kept])

    with mock.patch.object(detecting, "examples", fewer):
        return learn(predicted.samples, evidence_reader(predicted), 0, 0)


def drawn_precision(
    kind: str, scores: np.ndarray, names: np.ndarray, kinds: np.ndarray, agreements: np.ndarray
) -> dict[str, Any]:
    rng, own, planted = np.random.default_rng(1), np.flatnonzero(kinds == ""), np.flatnonzero(kinds == kind)
    count = max(1, round(0.1 * len(own) / len(KINDS)))
    found = []
    for _ in range(100):
        chosen = rng.choice(planted, count, replace=False)
        places = np.concatenate([chosen, own[~np.isin(names[own], names[chosen])]])
        wrong = np.arange(len(places)) < count
        rank = np.empty(len(places))
        rank[ranking(scores[places].tolist(), agreements[places].tolist())] = np.arange(len(places))
        found.append([average_precision_score(wrong, -rank), average_precision_score(wrong, -agreements[places])])
    ours, plain = np.mean(found, 0).tolist()
    return {"masks": len(planted), "in_a_draw": count, "ranking": ours, "softmin": plain}


def in_sample(
    copy: Dataset, settings: Settings, folder: Path, predicted: OutOfFold, kinds: np.ndarray
) -> dict[str, Any]:
    """The same detector with a model that has learnt from these labels (but one, which validation needs)."""
    names = [sample.name for sample in predicted.samples]
    run = train_fold(settings.config, copy, [names[-1:], names[:-1]], 0, folder / "in-sample" / "run", None)
    seen = replace(predicted, folder=folder / "in-sample")
    if not (seen.folder / "probabilities").exists():
        predict_samples(copy, seen.samples, load_segmenter(run.best), seen.folder, "in-sample")
    detector = learn(seen.samples, evidence_reader(seen), settings.background, settings.seed)
    rows = {row.sample: row.score for row in judge(seen, detector, settings.background, seen.folder).samples}
    return ranking_scores(np.array([rows[name] for name in names]), kinds)


def kinds_right(suspects: list[Any], errors: dict[str, str]) -> float:
    """Of planted masks with a suspect, how often the most likely one is of the planted kind."""
    first: dict[str, str] = {}
    for one in suspects:
        first.setdefault(one.sample, one.kind)
    both = [first[name] == kind for name, kind in errors.items() if name in first]
    return sum(both) / max(1, len(both))


def called(found: Any, errors: dict[str, str]) -> dict[str, float]:
    has = {row.sample: row.suspects > 0 for row in found.samples}
    return {
        "of_planted": float(np.mean([has[name] for name in errors])),
        "of_others": float(np.mean([one for name, one in has.items() if name not in errors])),
    }


def faces(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    for part in ("coarse", "precise"):
        if not (work / part).exists():
            maskwright.init(DATA / "faces", masks=f"labels_{part}", out=work / part)
    precise = maskwright.load_dataset(work / "precise")
    truths = {sample.name: sample for sample in precise.samples}
    coarse, settings = opened(work / "coarse", 0, options)
    began = time.monotonic()
    predicted, found = search(coarse, settings, work / "search", None)
    seconds = time.monotonic() - began
    numbers: dict[str, list[int]] = {}
    for one in found.suspects:
        if one.number:
            numbers.setdefault(one.sample, []).append(one.number)
    rows = {row.sample: row for row in found.samples}
    classes, evidence_of = len(coarse.classes), evidence_reader(predicted)
    counts = {"before": np.zeros((classes, classes), np.int64), "after": np.zeros((classes, classes), np.int64)}
    table, pixels = [], []
    for sample in predicted.samples:
        truth, label = precise.read_mask(truths[sample.name]), coarse.read_mask(sample)
        after = repaired(coarse, sample, predicted.folder, numbers.get(sample.name, []))
        evidence = evidence_of(sample)
        small = predicted.geometry.mask(truth)
        doubt = 1 - cv2.imread(str(predicted.folder / "trust" / f"{sample.name}.png"), 0) / 255
        pixels.append(
            np.stack(
                [
                    (small != evidence.label).ravel(),
                    doubt.ravel(),
                    1 - of_label(evidence.label, evidence.probabilities).ravel(),
                ]
            )
        )
        for name, mask in (("before", label), ("after", after)):
            counts[name] += confusion_matrix(truth, mask, classes)
        table.append(
            [
                float((truth != label).mean()),
                float((truth != after).mean()),
                float(((truth == label) & (truth != after)).mean()),
                rows[sample.name].score,
                rows[sample.name].error_share,
                -softmin(evidence.label, evidence.probabilities),
            ]
        )
    wrong, after, spoilt, score, share, agreement = np.array(table).T
    flat = np.concatenate(pixels, 1)
    right = wrong <= np.quantile(wrong, 0.25)
    return {
        "data": "faces",
        "seconds": seconds,
        "folds": [fold.mIoU for fold in predicted.facts],
        "snapped": found.snapped,
        "suspects": len(found.suspects),
        "masks_with_one": len(numbers),
        "wrong_share": float(wrong.mean()),
        "wrong_share_after": float(after.mean()),
        "spoilt": float(spoilt.mean()),
        "spearman": {
            name: float(spearmanr(values, wrong).statistic)
            for name, values in (("score", score), ("error_share", share), ("softmin", agreement))
        },
        "pixel_average_precision": {
            "suspects": float(average_precision_score(flat[0], flat[1])),
            "probability": float(average_precision_score(flat[0], flat[2])),
            "share_wrong": float(flat[0].mean()),
        },
        "iou": {name: [round(float(one), 4) for one in iou(matrix)] for name, matrix in counts.items()},
        "best_quarter": {
            "wrong_before": float(wrong[right].mean()),
            "wrong_after": float(after[right].mean()),
            "masks_worse": int((after[right] > wrong[right] + 0.002).sum()),
            "masks": int(right.sum()),
        },
    }


def demo(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    if not (work / "data").exists():
        generate(work / "data", images=200)
        maskwright.init(work / "data")
    wrong = {row["sample"] for row in read_json(work / "data" / "planted.json")["planted"]}
    dataset, settings = opened(work / "data", 0, options)
    began = time.monotonic()
    predicted, found = search(dataset, settings, work / "search", None)
    order = [row.sample for row in found.samples]
    evidence_of = evidence_reader(predicted)
    all_evidence = [evidence_of(sample) for sample in predicted.samples]
    plain = [
        evidence.sample.name
        for evidence in sorted(all_evidence, key=lambda evidence: softmin(evidence.label, evidence.probabilities))
    ]
    return {
        "data": "demo",
        "seconds": time.monotonic() - began,
        "planted": len(wrong),
        "folds": [fold.mIoU for fold in predicted.facts],
        "found": {str(k): len(wrong & {*order[:k]}) for k in (15, 30)},
        "softmin": {str(k): len(wrong & {*plain[:k]}) for k in (15, 30)},
    }


def scale(images: int, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Cuts of the images of skin, so many that none is the same."""
    source, folder = maskwright.load_dataset(DATA / "skin"), work / f"scale-{images}"
    if not folder.exists():
        rng = np.random.default_rng(images)
        for number in range(images):
            image, mask = source.read(source.samples[number % len(source.samples)])
            top, left = (int(rng.integers(side // 4)) for side in mask.shape)
            window = slice(top, top + 3 * mask.shape[0] // 4), slice(left, left + 3 * mask.shape[1] // 4)
            for kind, pixels in (("images", image[window][..., ::-1]), ("masks", mask[window])):
                (folder / kind).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(folder / kind / f"{number:05d}.png"), pixels)
    began = time.monotonic()
    out = work / f"scale-{images}-out-{int(time.time())}"
    result = maskwright.suspects(folder, out=out, budget=options.budget, weights=options.weights, overrides=options.set)
    peak = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "data": "scale",
        "images": images,
        "seconds": time.monotonic() - began,
        "budget": options.budget,
        "mebibytes": peak,
        "suspects": len(result.suspects),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", choices=("skin", "steel", "faces", "demo", "scale"), required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--weights")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--left-out", action="store_true")
    parser.add_argument("--in-sample", action="store_true")
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    if options.data in ("skin", "steel"):
        results = (planted(options.data, seed, options.work, options) for seed in options.seeds)
    elif options.data == "scale":
        results = (scale(images, options.work, options) for images in options.images)
    else:
        results = iter([(faces if options.data == "faces" else demo)(options.work / options.data, options)])
    for number, result in enumerate(results):
        print(dump_json(result, indent=1), flush=True)
        atomic_write_json(options.work / f"{options.data}-result-{number}.json", result)


if __name__ == "__main__":
    main()
