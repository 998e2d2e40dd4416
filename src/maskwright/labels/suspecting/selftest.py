"""The self-test: known errors are planted in a copy of the user's own data, and searched for like any others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.base.progress import say
from maskwright.base.storage import atomic_write_json, read_json
from maskwright.core.classes import IGNORE
from maskwright.core.dataset import Dataset
from maskwright.core.masks import Mask
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError, argument
from maskwright.evaluation.metrics import confusion_matrix, mIoU
from maskwright.labels.suspecting.applying import repaired
from maskwright.labels.suspecting.copies import planted_copy
from maskwright.labels.suspecting.folds import OutOfFold
from maskwright.labels.suspecting.judging import Judged
from maskwright.labels.suspecting.planting import KINDS, plant, things
from maskwright.labels.suspecting.results import SURE, Suspect

# Trains on a dataset and judges it, in a folder.
Search = Callable[[Dataset, Path], tuple[OutOfFold, Judged]]

_SHARE = 0.1
_DONORS = 60
_FIRST = (5, 15, 30)
_HARM = 0.01  # of the mIoU of a mask, from which a change for the worse counts


def self_test(
    data: Path, dataset: Dataset, background: int | None, seed: int, folder: Path, search: Search
) -> dict[str, Any]:
    """Plants errors of every kind in a tenth of the masks of a copy in `folder`, searches it, and measures what was
    found:

    `precision`: share of planted masks among the first k samples; `kinds`: by kind the number planted, the average
    precision of the samples with that kind against those without any, and the share that has a suspect;
    `average_precision` of all; `baselines`: the same by `softmin` alone; `proposals`: all applied, of the suspects of
    planted masks, the share that is better and worse for it, and the mean mIoU before and after; `clean`: masks
    without a planted error that are worse if all proposals are applied. Judged by the labels as they are.
    """
    planted = plant_copy(data, dataset, background, seed, folder)
    copy = load_dataset(folder / "data")
    say(f"self-test: errors planted in {len(planted)} of a copy's masks")
    predicted, found = search(copy, folder)
    return measured(dataset, predicted, found, planted) | {"seed": seed}


def plant_copy(data: Path, dataset: Dataset, background: int | None, seed: int, folder: Path) -> dict[str, str]:
    """Makes the dataset `folder/data`, a tenth of whose masks hold a planted error, at least one of each kind; the kind
    by sample, which is also in `folder/planted.json`."""
    file = folder / "planted.json"
    if file.exists():
        return dict(read_json(file))
    rng = np.random.default_rng((seed, 21))
    samples = [sample for sample in dataset.samples if sample.labelled and sample.status != "exclude"]
    order = [samples[place] for place in rng.permutation(len(samples))]
    donors = [thing for sample in order[:_DONORS] for thing in things(dataset.read_mask(sample), background)[:3]]
    wanted = max(len(KINDS), round(_SHARE * len(samples)))
    kinds, planted, masks = [*KINDS], dict[str, str](), dict[str, Mask]()
    for sample in order:
        kind = kinds[len(planted) % len(kinds)]
        mask = dataset.read_mask(sample)
        drawn = plant(mask, kind, rng, len(dataset.classes), background, donors)
        if drawn is not None:
            planted[sample.name], masks[sample.name] = kind, drawn
        if len(planted) == wanted:
            break
    if not planted:
        raise DataError(
            f"{dataset.root}: no mask has an object that is large enough to plant an error in; leave "
            f"{argument('self_test')} out"
        )
    if not (folder / "data").exists():
        planted_copy(data, folder / "data", masks, "self-test")
    atomic_write_json(file, planted)
    return planted


def measured(dataset: Dataset, predicted: OutOfFold, found: Judged, planted: dict[str, str]) -> dict[str, Any]:
    """What `self_test` reports; `dataset` holds the labels without planted errors."""
    rows = {row.sample: row for row in found.samples}
    place = {row.sample: number for number, row in enumerate(found.samples)}
    names = [sample.name for sample in predicted.samples]
    kinds = np.array([planted.get(name, "") for name in names])
    own = ranking_scores(-np.array([float(place[name]) for name in names]), kinds)
    for kind, values in own["kinds"].items():
        has = [rows[name].suspects > 0 for name, one in zip(names, kinds, strict=True) if one == kind]
        values["recalled"] = float(np.mean(has))
    return own | {
        "planted": len(planted),
        "baselines": {"softmin": ranking_scores(-np.array([rows[name].agreement for name in names]), kinds)},
        **_repairs(dataset, predicted, found.suspects, planted),
        "sure": _repairs(dataset, predicted, [one for one in found.suspects if one.confidence >= SURE], planted),
    }


def ranking_scores(scores: npt.NDArray[np.float64], kinds: npt.NDArray[np.str_]) -> dict[str, Any]:
    """How well scores (N,) rank samples with a planted error: `kinds` (N,), "" for none. Ties keep their order."""
    from sklearn.metrics import average_precision_score

    wrong = kinds != ""
    order = np.argsort(-scores, kind="stable")
    by_kind = {}
    for kind in KINDS:
        if (kinds == kind).any():
            counted = ~wrong | (kinds == kind)
            by_kind[kind] = {
                "planted": int((kinds == kind).sum()),
                "average_precision": float(average_precision_score(wrong[counted], scores[counted])),
            }
    return {
        "average_precision": float(average_precision_score(wrong, scores)),
        "kinds": by_kind,
        "precision": {str(k): float(wrong[order[:k]].mean()) for k in _FIRST if k <= len(order)},
    }


def _repairs(
    dataset: Dataset, predicted: OutOfFold, suspects: Sequence[Suspect], planted: dict[str, str]
) -> dict[str, Any]:
    """What applying these proposals does to the masks."""
    numbers: dict[str, list[int]] = {}
    for one in suspects:
        if one.number:
            numbers.setdefault(one.sample, []).append(one.number)
    truths = {sample.name: sample for sample in dataset.samples}
    pairs: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for sample in predicted.samples:
        if sample.name in numbers:
            truth = dataset.read_mask(truths[sample.name])
            masks = (
                predicted.dataset.read_mask(sample),
                repaired(predicted.dataset, sample, predicted.folder, numbers[sample.name]),
            )
            before, after = (_agreement(truth, mask, len(dataset.classes)) for mask in masks)
            pairs[sample.name in planted].append((before, after))
    wrong, right = (np.array(pairs[which]).reshape(-1, 2) for which in (True, False))
    clean = len(predicted.samples) - len(planted)
    harmed = int(np.count_nonzero(right[:, 1] - right[:, 0] < -_HARM))
    result: dict[str, Any] = {"clean": {"masks": clean, "harmed": harmed, "harm_rate": harmed / max(1, clean)}}
    if len(wrong):
        gain = wrong[:, 1] - wrong[:, 0]
        result["proposals"] = {
            "accepted": len(wrong),
            "helped": float((gain > _HARM).mean()),
            "harmed": float((gain < -_HARM).mean()),
            "iou_before": float(wrong[:, 0].mean()),
            "iou_after": float(wrong[:, 1].mean()),
        }
    return result


def _agreement(truth: Mask, mask: Mask, classes: int) -> float:
    """mIoU of two masks (H, W) of one image; ignored pixels of either do not count."""
    known = mask != IGNORE
    return float(
        mIoU(
            confusion_matrix(
                np.where(known, truth, IGNORE).astype(np.uint8), np.where(known, mask, 0).astype(np.uint8), classes
            )
        )
    )
