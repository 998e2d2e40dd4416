"""The verb `next`: which unlabelled images to draw next, and why; with a run, each with a mask to begin with.

OUT/next.txt       names of samples, the one that is worth most first
OUT/next.json      the same with reasons
OUT/masks/…        what the run sees in them, as index PNGs of class ids
OUT/index.html     the page
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from maskwright.base.extras import require_train
from maskwright.base.progress import progress, say
from maskwright.base.stopping import graceful
from maskwright.base.storage import (
    atomic_write_bytes,
    atomic_write_text,
    dump_json,
    next_free,
    require_absent,
    staged_folder,
)
from maskwright.base.texts import plural
from maskwright.core.dataset import Dataset
from maskwright.core.edits import FOLDER, home_of
from maskwright.core.geometry import resize_mask
from maskwright.core.masks import mask_png
from maskwright.core.sample import Sample
from maskwright.data.opening import load_dataset
from maskwright.data.splitting.trusted import features
from maskwright.errors import ConfigError, DataError, Interrupted, argument
from maskwright.labels.choosing.choosing import Choice, choose
from maskwright.labels.choosing.results import FILE, LIST, NextImage, NextResult, mask_file
from maskwright.reporting.next_report import write_next
from maskwright.reporting.page import PAGE
from maskwright.run import Run

if TYPE_CHECKING:
    from maskwright.labels.choosing.disagreement import Doubt
    from maskwright.modeling.models.segmenter import Segmenter

_DOUBTED = 1.5  # times the mean: from here on doubt is a reason of its own


def next(
    data: str | Path | Dataset,
    *,
    runs: Sequence[str | Path] | str | Path = (),
    count: int = 20,
    seed: int = 0,
    out: str | Path | None = None,
) -> NextResult:
    """Chooses `count` images without a mask that are worth drawing next.

    An image is worth more the less it looks like those that have a mask, the more others it stands for, and, with
    `runs` (folders of finished runs with the classes of the dataset, or one), the more their predictions for views of
    it differ in a region. Images are unlike each other, too. With runs each gets the mask that they see, to begin with.
    Samples with the status `exclude` and those of the split test are left out. The same arguments give the same
    images. The result goes to the folder `out`, by default `.maskwright/next-001` of the dataset.

    A mask that was made of boxes is none that was drawn, until it is edited.

    Raises DataError where every image has a mask, and for images that cannot be read; ConfigError for runs of other
    classes.
    """
    if count < 1:
        raise ConfigError(f"{argument('count')} {count}: give 1 or more")
    given = [runs] if isinstance(runs, (str, Path)) else [*runs]
    if given:
        require_train("next with a run")
    home = home_of(data)
    folder = require_absent(Path(out) if out is not None else next_free(home / FOLDER, "next"))
    dataset = data if isinstance(data, Dataset) else load_dataset(data)
    samples = [one for one in dataset.samples if one.status != "exclude" and (_drawn(one) or one.split != "test")]
    open_ = [sample for sample in samples if not _drawn(sample)]
    if not open_:
        raise DataError(f"{dataset.root}: every image has a mask; add images without one, or try `maskwright suspects`")
    segmenters = [_segmenter(Path(run), dataset) for run in given]
    looks, doubts = _looked_at(dataset, samples, segmenters)
    values = [doubts[one.name].value if one.name in doubts else 0.0 for one in samples] if segmenters else None
    choices = choose(np.stack(looks), [*map(_drawn, samples)], values, count, seed)
    mean = float(np.mean([one.value for one in doubts.values()])) if doubts else 0.0
    with staged_folder(folder) as place:
        images = [
            _image(dataset, samples[one.place], one, doubts.get(samples[one.place].name), mean, folder)
            for one in choices
        ]
        if segmenters:
            for one in images:
                _write_mask(dataset, dataset[one.sample], segmenters, place)
        labelled, names = len(samples) - len(open_), [str(run) for run in given]
        result = NextResult(dataset.name, folder, labelled, len(open_), images, names, _notes(given))
        atomic_write_text(place / LIST, "".join(f"{one.sample}\n" for one in images))
        atomic_write_text(place / FILE, dump_json(result.to_dict(), indent=2) + "\n")
        write_next(result, dataset, place, place / PAGE)
    say(f"list: {folder / LIST}")
    return result


def _drawn(sample: Sample) -> bool:
    return sample.labelled and (sample.provenance == "hand" or sample.edited)


def _segmenter(run: Path, dataset: Dataset) -> Segmenter:
    from maskwright.inference.loading import model_file
    from maskwright.modeling.models.segmenter import load_segmenter

    segmenter = load_segmenter(model_file(Run.open(run)))
    if segmenter.classes.ids != dataset.classes.ids:
        raise ConfigError(
            f"{run}: its class ids {segmenter.classes.ids} are not those of {dataset.root} ({dataset.classes.ids}); "
            "give a run of the same classes"
        )
    return segmenter


def _looked_at(
    dataset: Dataset, samples: Sequence[Sample], segmenters: Sequence[Segmenter]
) -> tuple[list[npt.NDArray[np.float32]], dict[str, Doubt]]:
    """How each image looks, and what the segmenters are unsure of in those without a mask."""
    if segmenters:
        from maskwright.labels.choosing.disagreement import doubt, seen
    looks: list[npt.NDArray[np.float32]] = []
    doubts: dict[str, Doubt] = {}
    with graceful() as stop, progress("looking at images", len(samples)) as advance:
        for done, sample in enumerate(samples, 1):
            if stop.is_set():
                raise Interrupted("stopped; nothing was written")
            image = dataset.read_bands(sample)
            looks.append(features(dataset.bands.picture(image)))
            if segmenters and not _drawn(sample):
                doubts[sample.name] = doubt(seen(segmenters, image))
            advance(done)
    return looks, doubts


def _image(
    dataset: Dataset, sample: Sample, choice: Choice, seen: Doubt | None, mean: float, folder: Path
) -> NextImage:
    others = choice.stands_for - 1
    reasons = [f"stands for {plural(others, 'other image')} that no drawn one looks like"] if others > 0 else []
    if seen is None:
        return NextImage(sample.name, str(sample.image), reasons or ["unlike the others"], choice.stands_for)
    height, width = dataset.image_size(sample)
    top, left, bottom, right = seen.region
    region = (round(left * width), round(top * height), round((right - left) * width), round((bottom - top) * height))
    names = [dataset.classes.names[index] for index in seen.classes]
    if mean > 0 and seen.value >= _DOUBTED * mean:
        reasons.append(
            f"predictions differ {seen.value / mean:.1f} times as much as usual, between {names[0]} and {names[1]}, "
            f"at x {region[0]}, y {region[1]}"
        )
    return NextImage(
        sample.name,
        str(sample.image),
        reasons or ["unlike the others"],
        choice.stands_for,
        seen.value,
        region,
        str(mask_file(folder, sample.name)),
    )


def _write_mask(dataset: Dataset, sample: Sample, segmenters: Sequence[Segmenter], place: Path) -> None:
    """Of the few chosen images alone: those of all would be held in memory until the choice is made."""
    from maskwright.labels.choosing.disagreement import labels, seen

    image = dataset.read_bands(sample)
    mask = resize_mask(labels(seen(segmenters, image)), (image.shape[0], image.shape[1]))
    atomic_write_bytes(mask_file(place, sample.name), mask_png(mask, dataset.classes))


def _notes(runs: Sequence[object]) -> list[str]:
    if runs:
        return ["the masks to begin with are the run's predictions: look at each before you keep it"]
    return ["chosen by how images look alone; with a run, what it is unsure of counts too, and it gives masks"]
