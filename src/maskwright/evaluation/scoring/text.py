"""An evaluation as text for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from maskwright.base.texts import plural
from maskwright.evaluation.metrics import Interval

if TYPE_CHECKING:
    from maskwright.evaluation.scoring.evaluation import Evaluation

# How a measure is called in the text for people, and whether it has a column by class.
_TEXT = {
    "mean_image_iou": "IoU",
    "mean_image_thresholded_iou": "IoU over thresholds",
    "mean_image_boundary_f": "boundary F",
    "mean_image_nsd": "surface Dice",
    "mean_image_hd95": "HD95 (px)",
    "mean_image_assd": "boundary distance (px)",
    "dataset_excess_recall": "recall above random guessing",
    "dataset_ece": "calibration error",
    "dataset_mce": "largest in a bin",
    "dataset_brier": "Brier score",
    "dataset_nll": "log loss (nats)",
}


def evaluation_text(result: Evaluation) -> str:
    """The scores as text for a terminal: first what is aggregated over the dataset, then means over images."""
    rows = result.scores.classes
    width = max(len(row.name) for row in rows)
    lines = [
        f"{result.split}: {plural(len(result.names), 'image')}",
        "  over the dataset (counts summed over images, then divided; 95 % intervals over images)",
    ]
    if result.postprocessing:
        lines.insert(1, f"  post-processing: {result.postprocessing}")
    lines += [f"    {name:<6} {_between(interval)}" for name, interval in result.intervals.items()]
    lines += _listed(result, "dataset_")
    lines.append(f"    {'class':<{width}}    IoU   Dice  precision  recall  predicted %  recall above random guessing")
    excess = result.measures["dataset_excess_recall"].classes
    lines += [
        f"    {row.name:<{width}}  {row.iou:.3f}  {row.dice:.3f}      {row.precision:.3f}   {row.recall:.3f}"
        f"     {100 * row.predicted_share:8.3f}  {value:28.3f}"
        for row, value in zip(rows, excess, strict=True)
    ]
    bounded = f"; boundaries agree within {result.tolerance}" if result.tolerance else ""
    lines += [f"  means over images, then over classes{bounded}", *_listed(result, "mean_image_")]
    columns = {
        _TEXT[name]: measure.classes for name, measure in result.measures.items() if name.startswith("mean_image_")
    }
    lines.append(f"    {'class':<{width}}  {'  '.join(columns)}")
    lines += [
        "    "
        + "  ".join([f"{row.name:<{width}}", *(f"{values[i]:{len(name)}.3f}" for name, values in columns.items())])
        for i, row in enumerate(rows)
    ]
    lines.append(
        "  trivial baselines (mIoU): "
        + ", ".join(f"{name} {baseline.mIoU:.4f}" for name, baseline in result.trivial.items())
    )
    lines += [
        f"  level {found.level} mIoU {_between(found.intervals['mIoU'])} "
        f"({', '.join(row.name for row in found.scores.classes)})"
        for found in result.levels
    ]
    if result.incoherent_share is not None:
        lines.append(
            f"  selector {result.selector}: labels of {100 * result.incoherent_share:.2f} % of the pixels "
            "contradict each other"
        )
    return "\n".join([*lines, *(f"  note: {note}" for note in result.notes)])


def _listed(result: Evaluation, prefix: str) -> list[str]:
    found = {_TEXT[name]: measure for name, measure in result.measures.items() if name.startswith(prefix)}
    width = max(map(len, found))
    return [f"    {name:<{width}} {_between(measure.interval)}" for name, measure in found.items()]


def _between(interval: Interval) -> str:
    ends = "" if math.isnan(interval.low) else f"  [{interval.low:.4f}, {interval.high:.4f}]"
    return f"{interval.value:.4f}{ends}"
