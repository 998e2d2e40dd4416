"""The verb `evaluate`: predictions on a split, scored against the truth at the images' own sizes.

They are made by a run's best checkpoint, or they are masks that lie in a folder, whoever has made them. The second
way needs no model and no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE, Selector
from maskwright.core.dataset import Dataset
from maskwright.core.masks import Mask, mask_png
from maskwright.core.progress import progress, say
from maskwright.core.sample import INDEX, Sample, read_mask
from maskwright.core.storage import next_free, staged_folder
from maskwright.errors import ConfigError, DataError
from maskwright.formats.opening import load_dataset
from maskwright.guarding import guard
from maskwright.guarding.number import Number, Origin, image_hashes, origin_of
from maskwright.metrics import Tolerance
from maskwright.prediction.scoring import Evaluation, score, write
from maskwright.prediction.tally import Tally
from maskwright.run import Run


@dataclass(frozen=True)
class Predicted:
    """One image: its truth, the predicted indices of each level (top first), the index PNG of the last, and if asked
    for the probabilities (K, H, W)."""

    sample: Sample
    truth: Mask
    levels: Sequence[Mask]
    png: bytes
    probabilities: npt.NDArray[np.float32] | None = None


def evaluate(run: str | Path | Run, *, split: str = "test", data: str | Path | None = None,
             selector: Selector | None = None, device: str | None = None, boundary: bool = False,
             tolerance: str | float | None = None, calibration: bool = False) -> Evaluation:
    """Scores a run's best checkpoint, or the masks in a folder, on a split; the result goes to
    `RUN/evaluations/SPLIT-001`, or `FOLDER/evaluations/SPLIT-001`.

    `data` is another dataset with the same classes; the tree over them is that of the dataset. `selector` is how the
    levels of a tree are labelled, the run's own when left out. `boundary` asks for the measures of boundaries, as does
    a `tolerance` (pixels, or a share of the diagonal such as "0.75%"), `calibration` for those of probabilities.

    A folder of masks needs `data`: it holds an index PNG of class ids for each labelled sample of the split, of the
    image's size, called SAMPLE.png, with or without the split's folder (`predict` writes them to `OUT/masks`). The
    split `all` is every labelled sample.

    Raises ConfigError for an empty split, for a selector of trees where there is none, and for what masks cannot tell;
    DataError when classes differ, and when masks are missing or do not fit.
    """
    allowed = None if tolerance is None and not boundary else Tolerance() if tolerance is None else Tolerance.parse(
        tolerance)
    if not isinstance(run, Run) and is_mask_folder(run):
        if data is None:
            raise DataError(f"{run}: not a run folder (no {Run(Path(run)).info_file.name}); give the folder that "
                            "`train` printed, or with a folder of masks the dataset too (--data)")
        if selector is not None or calibration:
            raise ConfigError(f"{run}: holds masks, which have neither probabilities nor levels of their own; leave "
                              "--selector and --calibration out, or give a run")
        return _evaluate_masks(Path(run), load_dataset(data), split, allowed)
    return _evaluate_run(run if isinstance(run, Run) else Run.open(run), data, split, selector, device, allowed,
                         calibration)


def is_mask_folder(path: str | Path) -> bool:
    """Whether it is a folder and no run."""
    return Path(path).is_dir() and not Run(Path(path)).info_file.is_file()


def samples_of(dataset: Dataset, split: str, recorded: Mapping[str, Sequence[str]]) -> list[Sample]:
    """The labelled samples of a split; of those that are `recorded`, the ones with these names.

    Raises ConfigError when there are none.
    """
    if split in recorded:
        wanted = set(recorded[split])
        found = [sample for sample in dataset.samples if sample.name in wanted and sample.labelled]
    else:
        found = [sample for sample in dataset.splits.get(split, []) if sample.labelled]
    if not found:
        usable = sorted({*recorded, *(name for name in dataset.splits if name)})
        raise ConfigError(f"--split {split}: {dataset.root} has no labelled samples in it; "
                          f"it has {', '.join(usable) or 'no splits'}")
    return found


def _evaluate_run(run: Run, data: str | Path | None, split: str, selector: Selector | None, device: str | None,
                  tolerance: Tolerance | None, calibration: bool) -> Evaluation:
    import torch

    from maskwright.models.segmenter import load_segmenter, with_selector
    from maskwright.prediction.predict import model_file

    segmenter = load_segmenter(model_file(run), device or ("cuda" if torch.cuda.is_available() else "cpu"))
    config, info = run.config(), run.info()
    dataset = load_dataset(data or config.data.root)
    classes, trained = dataset.classes, segmenter.classes
    if classes.names != trained.names:
        raise DataError(f"{dataset.root}: its classes ({', '.join(classes.names)}) are not those of the run "
                        f"({', '.join(trained.names)}); use the dataset.yaml that the run was trained with")
    segmenter = with_selector(segmenter, selector, classes)
    same = str(dataset.root.resolve()) == info["dataset"]["root"]
    samples = samples_of(dataset, split, info["splits"] if same else {})
    batch = config.train.batch_size  # as in training, so that the scores of val are exactly those of the log

    def predictions() -> Iterator[Predicted]:
        for start in range(0, len(samples), batch):
            chosen = samples[start : start + batch]
            pairs = [dataset.read(sample) for sample in chosen]
            found = segmenter.own_probabilities([image for image, _ in pairs])
            for sample, (_, truth), probabilities in zip(chosen, pairs, found, strict=True):
                levels = segmenter.select(probabilities)
                yield Predicted(sample, truth, levels, mask_png(levels[-1], classes),
                                probabilities.cpu().numpy() if calibration else None)

    tally = Tally(classes, implied=segmenter.coherent, tolerance=tolerance)
    return _evaluate(next_free(run.evaluations, split), split, dataset, samples, predictions(), tally,
                     segmenter.selector, run, same_tree=classes.parents == trained.parents)


def _evaluate_masks(folder: Path, dataset: Dataset, split: str, tolerance: Tolerance | None) -> Evaluation:
    classes = dataset.classes
    everything = {"all": [sample.name for group in dataset.splits.values() for sample in group]}
    samples = samples_of(dataset, split, {} if split in dataset.splits else everything)
    files = _mask_files(folder, samples)

    def predictions() -> Iterator[Predicted]:
        for sample, file in zip(samples, files, strict=True):
            truth, found = dataset.read_mask(sample), classes.to_indices(read_mask(file, INDEX, classes).ids, str(file))
            if truth.shape != found.shape:
                raise DataError(f"{file}: is {found.shape[1]}x{found.shape[0]}, but the mask of {sample.name} is "
                                f"{truth.shape[1]}x{truth.shape[0]}; predict at the size of the image")
            if (found == IGNORE).any():
                raise DataError(f"{file}: has pixels of the ignore id {classes.ignore}, which is no class; predict a "
                                "class for every pixel")
            levels = [*(level.mask(found) for level in classes.levels[:-1]), found]
            yield Predicted(sample, truth, levels, file.read_bytes())

    return _evaluate(next_free(folder / "evaluations", split), split, dataset, samples, predictions(),
                     Tally(classes, tolerance=tolerance))


def _mask_files(folder: Path, samples: Sequence[Sample]) -> list[Path]:
    """The mask of each sample. DataError when some are missing: a part of a split is another split."""
    names = [sample.name for sample in samples]
    without_split = [name.removeprefix(f"{sample.split}/") for sample, name in zip(samples, names, strict=True)]
    tried = [[folder / f"{name}.png" for name in form] for form in (names, without_split)]
    missing = [[path.name for path in form if not path.is_file()] for form in tried]
    best = min((0, 1), key=lambda form: len(missing[form]))
    if missing[best]:
        shown = ", ".join(missing[best][:5]) + ", …" * (len(missing[best]) > 5)
        raise DataError(f"{folder}: is no run, and as a folder of masks it lacks {len(missing[best])} of "
                        f"{len(samples)} ({shown}); name the masks after their samples, like "
                        f"{tried[0][0].relative_to(folder)}")
    return tried[best]


def _evaluate(folder: Path, split: str, dataset: Dataset, samples: Sequence[Sample], predictions: Iterator[Predicted],
              tally: Tally, selector: Selector = "leaf", run: Run | None = None, *, same_tree: bool = True
              ) -> Evaluation:
    """Counts every prediction, scores the counts, and writes both with the masks to `folder`. `run` has predicted
    them, if it is known."""
    say(f"evaluation folder: {folder}")
    with staged_folder(folder) as staging:
        with progress("evaluating", len(samples)) as advance:
            for done, one in enumerate(predictions, 1):
                tally.add(one.truth, one.levels, one.probabilities)
                file = staging / "predictions" / f"{one.sample.name}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(one.png)
                advance(done)
        hashes = image_hashes(dataset)
        version = dataset.version(lambda sample: (hashes[sample.name], None))
        origin = origin_of(run, dataset, samples, hashes, same_tree=same_tree) if run else Origin()
        result = score(folder, split, [sample.name for sample in samples], tally.confusions, tally.classes, version,
                       selector, tally.incoherent, tolerance=tally.tolerance, boundaries=tally.boundaries,
                       calibration=tally.calibration)
        weak = sum(sample.provenance != "hand" for sample in samples)
        result = replace(result, size=run.info().get("size", {}) if run else {}, origin=replace(origin, weak=weak))
        name = (run.path if run else folder.parent.parent).resolve().name
        result = replace(result, findings=guard([Number.of(name, result.to_dict(), result.names, run)]))
        write(staging, result)
    say(f"evaluation folder: {folder}")
    return result
