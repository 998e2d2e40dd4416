"""The sheet of suspects: how reliable the ranking is, and the worst samples with what is wrong in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from maskwright.base.progress import progress
from maskwright.base.storage import confine
from maskwright.core.classes import ClassTree
from maskwright.core.dataset import Dataset
from maskwright.core.geometry import Geometry
from maskwright.core.mask_files import INDEX, read_mask
from maskwright.core.masks import Mask, Pixels, boundary
from maskwright.core.sample import Sample, read_image
from maskwright.errors import DataError, MaskwrightError
from maskwright.labels.suspecting.folds import read_probabilities
from maskwright.labels.suspecting.planting import KINDS
from maskwright.labels.suspecting.results import Suspect, SuspectSample, SuspectsResult
from maskwright.labels.suspecting.text import commands, self_test_facts
from maskwright.reporting.page import class_rows, write_page
from maskwright.reporting.pictures import (
    Picture,
    difference,
    heat_picture,
    labelled_overlay,
    numbered_boxes,
    picture,
    present,
    ramp,
    shrink,
)

_CARDS, _REGIONS, _ROWS = 30, 6, 200  # samples with pictures, regions of each of them, rows of the table of all others
_CLOSE, _ZOOM = 288, 6  # pixels of the longer side of a close-up, and how far it is enlarged at most
_LABEL, _PROPOSAL = (230, 159, 0), (86, 180, 233)  # orange and light blue of Okabe and Ito, as in the differences

Read = TypeVar("Read")


@dataclass(frozen=True)
class SuspectCard:
    """A sample: its rank, its most likely suspects with a close-up each, how many more there are, its pictures, and why
    some are missing."""

    rank: int
    row: SuspectSample
    regions: list[tuple[Suspect, Picture | None]]
    more: int
    views: list[Picture]
    problems: list[str]


def write_sheet(result: SuspectsResult, dataset: Dataset, folder: Path, page: Path, *, replace: bool = False) -> Path:
    """Writes one self-contained HTML page and returns its path. The pictures are made of the samples of `dataset` and
    of `folder`, which holds `probabilities/`, `proposals/` and `trust/`; what cannot be read is named in its place.

    One sample is in memory at a time. ConfigError when `page` exists and is not to be replaced.
    """
    of_sample: defaultdict[str, list[Suspect]] = defaultdict(list)
    for suspect in result.suspects:
        of_sample[suspect.sample].append(suspect)
    listed = result.listed
    samples = {sample.name: sample for sample in dataset.samples}
    cards: list[SuspectCard] = []
    with progress("drawing", min(_CARDS, len(listed))) as advance:
        for rank, row in enumerate(listed[:_CARDS], 1):
            cards.append(_card(rank, row, of_sample[row.sample], samples.get(row.sample), result, dataset, folder))
            advance(rank)
    drawn = {id(suspect) for card in cards for suspect, _ in card.regions}
    return write_page(
        page,
        "suspects.html.j2",
        {
            "result": result,
            "classes": class_rows(result.classes),
            "kinds": _kinds(result.suspects),
            "meanings": KINDS,
            "found": sum(row.suspects > 0 for row in listed),
            "facts": self_test_facts(result.self_test or {}),
            "cards": cards,
            "others": [suspect for suspect in result.suspects if id(suspect) not in drawn],
            "rows": _ROWS,
            "ramp": ramp(),
            "commands": commands(result),
        },
        replace=replace,
    )


def _kinds(suspects: Sequence[Suspect]) -> list[dict[str, Any]]:
    """A row a kind, the most frequent first."""
    rows = []
    for kind in KINDS:
        own = [suspect for suspect in suspects if suspect.kind == kind]
        rows.append(
            {
                "kind": kind,
                "suspects": len(own),
                "samples": len({suspect.sample for suspect in own}),
                "pixels": sum(suspect.error_pixels for suspect in own),
                "share": len(own) / len(suspects) if suspects else 0.0,
            }
        )
    return sorted(rows, key=lambda row: -row["suspects"])


def _card(
    rank: int,
    row: SuspectSample,
    suspects: Sequence[Suspect],
    sample: Sample | None,
    result: SuspectsResult,
    dataset: Dataset,
    folder: Path,
) -> SuspectCard:
    shown, more = suspects[:_REGIONS], max(0, len(suspects) - _REGIONS)
    name, classes, boxes = row.sample, dataset.classes, [suspect.region for suspect in shown]
    problems: list[str] = []

    def found(read: Callable[[], Read]) -> Read | None:
        try:
            return read()
        except MaskwrightError as error:
            # While the folder is made it has another name, which nobody will find later.
            problems.append(str(error).replace(str(folder), str(result.folder)))
            return None

    pair = found(lambda: _pair(dataset, sample, name))
    if pair is None:
        return SuspectCard(rank, row, [(suspect, None) for suspect in shown], more, [], problems)
    image, label = pair
    prediction = found(lambda: _prediction(folder, name, label.shape, len(classes), result.keep_ratio))
    proposed = any(suspect.number for suspect in suspects)
    proposal = found(lambda: _proposal(folder, name, label.shape, classes)) if proposed else None
    trust = found(lambda: read_image(confine(folder / "trust", f"{name}.png", str(folder))))
    small = shrink(image)
    views = [
        picture(numbered_boxes(small, boxes, label.shape), "image", f"{name}: the image"),
        picture(
            numbered_boxes(labelled_overlay(image, label, classes), boxes, label.shape),
            "label",
            f"{name}: the label; {present(label, classes)}",
        ),
    ]
    if prediction is not None:
        views += [
            picture(
                labelled_overlay(image, prediction, classes),
                "prediction",
                f"{name}: the prediction; {present(prediction, classes)}",
            ),
            difference(name, image, label, prediction, classes.background),
        ]
    if proposal is not None:
        views.append(
            picture(
                labelled_overlay(image, proposal, classes),
                "proposal",
                f"{name}: the proposal; {present(proposal, classes)}",
            )
        )
    if trust is not None:
        grey = cv2.resize(trust[..., 0], small.shape[1::-1], interpolation=cv2.INTER_AREA)
        views.append(
            picture(
                heat_picture(grey / 255, 1),
                "trust in the label",
                f"{name}: trust in the label, {grey.mean() / 2.55:.0f} % on average",
            )
        )
    return SuspectCard(
        rank,
        row,
        [(suspect, _close_up(number, suspect, image, label, proposal)) for number, suspect in enumerate(shown, 1)],
        more,
        views,
        problems,
    )


def _pair(dataset: Dataset, sample: Sample | None, name: str) -> tuple[Pixels, Mask]:
    if sample is None:
        raise DataError(f"{name}: is not in this dataset")
    return dataset.read(sample)


def _prediction(folder: Path, name: str, size: tuple[int, ...], classes: int, keep_ratio: bool) -> Mask:
    """The most probable class (H, W) at the image's own `size`, made of one class after the other."""
    probabilities = read_probabilities(folder, name, classes)
    height, width = Geometry((probabilities.shape[1], probabilities.shape[2]), keep_ratio).inner((size[0], size[1]))
    result, most = np.zeros(size, np.uint8), np.full(size, -1, np.float32)
    for index, low in enumerate(probabilities[:, :height, :width]):
        here = cv2.resize(low, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
        result[here > most] = index
        np.maximum(most, here, out=most)
    return result


def _proposal(folder: Path, name: str, size: tuple[int, ...], classes: ClassTree) -> Mask:
    file = confine(folder / "proposals", f"{name}.png", str(folder))
    mask = classes.to_indices(np.asarray(read_mask(file, INDEX, classes).ids), str(file))
    if mask.shape != size:
        raise DataError(
            f"{file}: is {mask.shape[1]}x{mask.shape[0]} but the label is {size[1]}x{size[0]}; delete the "
            "folder, and it is made again"
        )
    return mask


def _close_up(number: int, suspect: Suspect, image: Pixels, label: Mask, proposal: Mask | None) -> Picture:
    """The region and what is around it, with the outlines of the label, and dashed those of the proposal."""
    x, y, across, down = suspect.region
    margin = max(8, round(0.35 * max(across, down)))
    place = (slice(max(0, y - margin), y + down + margin), slice(max(0, x - margin), x + across + margin))
    cut = image[place]
    scale = min(_ZOOM, _CLOSE / max(cut.shape[:2]))
    size = max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale))
    drawn = np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC), np.uint8)
    dashed = np.indices(drawn.shape[:2]).sum(0) % 12 < 7
    for mask, colour, where in ((label, _LABEL, True), (proposal, _PROPOSAL, dashed)):
        if mask is not None:
            shrunk = cv2.resize(mask[place], size, interpolation=cv2.INTER_NEAREST)
            drawn[boundary(shrunk, 2) & where] = 0
            drawn[boundary(shrunk) & where] = colour
    return picture(
        drawn,
        "",
        f"{suspect.sample}: close-up of region {number}, with the outlines of the label"
        + " and of the proposal" * (proposal is not None),
    )
