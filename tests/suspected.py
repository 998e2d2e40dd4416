"""Suspects by hand, for tests of what is told of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskwright.core.classes import ClassTree
from maskwright.labels.suspecting.planting import KINDS
from maskwright.labels.suspecting.results import FoldFacts, Suspect, SuspectSample, SuspectsResult

SELF_TEST = {
    "planted": 90,
    "seed": 3,
    "precision": {"10": 1.0, "20": 0.85},
    "average_precision": 0.875,
    "kinds": {
        kind: {"planted": 10 + place, "average_precision": 0.9 - place / 16, "recalled": 0.75}
        for place, kind in enumerate(KINDS)
    },
    "baselines": {"softmin": {"average_precision": 0.625}},
    "proposals": {"accepted": 61, "helped": 0.9, "harmed": 0.05, "iou_before": 0.5, "iou_after": 0.75},
    "clean": {"masks": 90, "harmed": 3, "harm_rate": 1 / 30},
}
LABEL_SETS = [
    {
        "name": "hurried",
        "samples": 50,
        "agreement": 0.8125,
        "preferred": {"this": 11, "other": 31, "undecided": 8},
        "worst": [{"sample": "b <i>", "agreement": 0.25, "preferred": "other"}],
    }
]


def suspected(
    names: Sequence[str],
    clean: Sequence[str] = (),
    classes: ClassTree | None = None,
    root: Path = Path("data"),
    folder: Path = Path("work"),
    **changed: Any,
) -> SuspectsResult:
    """A suspect of the next kind in each of the samples `names`, worst first, and none in `clean`."""
    classes = classes or ClassTree.flat(["background", "cat"])
    suspects, samples = [], []
    for place, name in enumerate(names):
        kind = list(KINDS)[place % len(KINDS)]
        score = 0.99 - place / 1000
        suspects.append(
            Suspect(
                name,
                "train",
                1,
                score,
                kind,
                {kind: 0.7, "missing": 0.3},
                (10, 20, 30, 15),
                classes.names[0],
                classes.names[-1],
                1000 + place,
                0.8,
            )
        )
        samples.append(SuspectSample(name, "train", score, 0.0625, 1))
    samples += [SuspectSample(name, None, 0.25, 0.0, 0) for name in clean]
    fields = {
        "folds": [FoldFacts(20, 100, 0.75), FoldFacts(21, 100, 0.5)],
        "notes": ["2 samples are `left out`"],
        "suspects": suspects,
        "samples": samples,
        **changed,
    }
    return SuspectsResult("pets", root, folder, classes, "0123456789abcdef", **fields)
