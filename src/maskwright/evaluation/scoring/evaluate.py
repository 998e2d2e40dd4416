"""The verb `evaluate`: predictions on a split, scored against the truth at the images' own sizes.

They are made by a run's best checkpoint or an exported model, or they are masks that lie in a folder, whoever has made
them. Only a run needs torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from maskwright import __version__
from maskwright.base.extras import require_train
from maskwright.base.progress import progress, say
from maskwright.base.storage import dump_json, next_free, numbered, require_absent, staged_folder
from maskwright.core.classes import IGNORE, Selector
from maskwright.core.dataset import Dataset
from maskwright.core.hashes import file_hash
from maskwright.core.mask_files import INDEX, read_mask
from maskwright.core.postprocessing import PostProcessing
from maskwright.core.predictor import with_postprocessing, with_selector
from maskwright.core.sample import Sample
from maskwright.errors import ConfigError, DataError, MaskwrightError, argument
from maskwright.evaluation.guarding import guard
from maskwright.evaluation.guarding.number import Origin
from maskwright.evaluation.metrics import Tolerance
from maskwright.evaluation.scoring.evaluation import Evaluation
from maskwright.evaluation.scoring.predicted import (
    PredictedSample,
    Ready,
    different_classes,
    opened,
    predictions_of,
    ready_for,
    require_bands,
    samples_of,
)
from maskwright.evaluation.scoring.tally import Tally
from maskwright.evaluation.scoring.writing import evaluation_of, write
from maskwright.inference.exporting.exported import ExportedModel, is_exported
from maskwright.inference.inputs import ROWS
from maskwright.run import Run

# Images that an exported model sees at once.
_TOGETHER = 8


def evaluate(
    run: str | Path | Run,
    *,
    split: str = "test",
    data: str | Path | Dataset | None = None,
    selector: Selector | None = None,
    device: str | None = None,
    boundary: bool = False,
    tolerance: str | float | None = None,
    calibration: bool = False,
    again: bool = False,
    out: str | Path | None = None,
    postprocess: bool = True,
) -> Evaluation:
    """Scores a run's best checkpoint, an exported model, or the masks in a folder, on a split; the result goes to
    `RUN/evaluations/SPLIT-001`, `MODEL-onnx/evaluations/SPLIT-001` beside `MODEL.onnx`, or
    `FOLDER/evaluations/SPLIT-001`. With `out` it goes to that new folder, and nothing is written beside the model or
    into the folder of masks, which may be read-only.

    `run` is a run, its folder, an exported model, or a folder of masks; the last two need `data`. `data` is another
    dataset with the same classes, its folder or a Dataset, or where the run's own lies now (classes of which may have
    been renamed); the tree over them is that of the dataset. `selector` is how the levels of a tree are labelled, the
    model's own when left out. `boundary` asks for the measures of boundaries, as does a `tolerance` (pixels, or a share
    of the diagonal such as "0.75%"), `calibration` for those of probabilities. Without `postprocess`, what `tune` chose
    to do with the masks is left out.

    A folder of masks, or what `predict` has written, holds an index PNG of class ids for each labelled sample of the
    split, of the image's size, called SAMPLE.png, with or without the split's folder. The split `all` is every labelled
    sample.

    Where there is an evaluation already of the same model or masks, the same content of the dataset, the same split and
    options, it is returned as it is; with `again` a new one is made.

    Raises ConfigError for an empty split, for a selector of trees where there is none, and for what masks cannot tell;
    DataError when classes differ, and when masks are missing or do not fit.
    """
    allowed = (
        None if tolerance is None and not boundary else Tolerance() if tolerance is None else Tolerance.parse(tolerance)
    )
    target = None if out is None else Path(out)
    if not isinstance(run, Run) and is_exported(run):
        if data is None:
            raise ConfigError(f"{run}: an exported model is evaluated on a dataset; name it ({argument('data')})")
        model = ExportedModel.open(run, device)
        if not postprocess:
            model = with_postprocessing(model, None, str(run))
        return _evaluate_exported(model, opened(data), split, selector, allowed, calibration, again, target)
    if not isinstance(run, Run) and is_mask_folder(run):
        if data is None:
            raise DataError(
                f"{run}: not a run folder (no {Run(Path(run)).info_file.name}); give the folder that "
                f"`train` printed, or with a folder of masks the dataset too ({argument('data')})"
            )
        if selector is not None or calibration or not postprocess:
            raise ConfigError(
                f"{run}: holds masks, which have neither probabilities nor levels of their own, and are scored as they "
                f"are; leave {argument('selector')}, {argument('calibration')} and "
                f"{argument('postprocess', '--no-postprocess')} out, or give a run"
            )
        return _evaluate_masks(Path(run), opened(data), split, allowed, again, target)
    found = run if isinstance(run, Run) else Run.open(run)
    require_train("evaluate with a run")
    ready = ready_for(found, data, split, selector, device, postprocess=postprocess, hashed=target is None)
    return _evaluate_run(found, split, ready, allowed, calibration, again, target)


def is_mask_folder(path: str | Path) -> bool:
    """Whether it is a folder and no run."""
    return Path(path).is_dir() and not Run(Path(path)).info_file.is_file()


def _evaluate_run(
    run: Run, split: str, ready: Ready, tolerance: Tolerance | None, calibration: bool, again: bool, target: Path | None
) -> Evaluation:
    segmenter = ready.segmenter
    scoring = Scoring(
        run.evaluations_folder,
        split,
        ready.samples,
        ready.version,
        segmenter.selector,
        run,
        ready.origin,
        [file_hash(ready.file), run.finished is not None, segmenter.selector, calibration],
        target,
        segmenter.postprocessing,
    )
    tally = Tally(segmenter.classes, implied=segmenter.coherent, tolerance=tolerance)
    return _evaluate(scoring, ready.predictions(calibration), tally, again)


def _evaluate_exported(
    model: ExportedModel,
    dataset: Dataset,
    split: str,
    selector: Selector | None,
    tolerance: Tolerance | None,
    calibration: bool,
    again: bool,
    target: Path | None,
) -> Evaluation:
    """Scores of an exported model, whose training is not at hand: the guard knows nothing of it."""
    if dataset.classes.names != model.classes.names:
        raise different_classes(dataset, model.classes)
    require_bands(dataset, model.preprocessing.bands)
    model = with_selector(model, selector, dataset.classes)
    samples = samples_of(dataset, split, {})
    folder = model.file.with_name(f"{model.file.stem}-onnx") / "evaluations"
    scoring = Scoring(
        folder,
        split,
        samples,
        dataset.version(dataset.file_hashes(None if target else folder.parent)),
        model.selector,
        made_of=[file_hash(model.file), model.selector, calibration],
        target=target,
        postprocessing=model.postprocessing,
    )
    tally = Tally(dataset.classes, implied=model.coherent, tolerance=tolerance)
    return _evaluate(scoring, predictions_of(model, dataset, samples, _TOGETHER, calibration), tally, again)


def _evaluate_masks(
    folder: Path, dataset: Dataset, split: str, tolerance: Tolerance | None, again: bool, target: Path | None
) -> Evaluation:
    classes = dataset.classes
    everything = {"all": [sample.name for group in dataset.splits.values() for sample in group]}
    samples = samples_of(dataset, split, {} if split in dataset.splits else everything)
    files = _mask_files(folder, samples)

    def predictions() -> Iterator[PredictedSample]:
        for sample, file in zip(samples, files, strict=True):
            truth, found = dataset.read_mask(sample), classes.to_indices(read_mask(file, INDEX, classes).ids, str(file))
            if truth.shape != found.shape:
                raise DataError(
                    f"{file}: is {found.shape[1]}x{found.shape[0]}, but the mask of {sample.name} is "
                    f"{truth.shape[1]}x{truth.shape[0]}; predict at the size of the image"
                )
            if (found == IGNORE).any():
                raise DataError(
                    f"{file}: has pixels of the ignore id {classes.ignore}, which is no class; predict a "
                    "class for every pixel"
                )
            levels = [*(level.mask(found) for level in classes.levels[:-1]), found]
            yield PredictedSample(sample, truth, levels, file.read_bytes())

    scoring = Scoring(
        folder / "evaluations",
        split,
        samples,
        dataset.version(dataset.file_hashes(None if target else folder)),
        made_of=[file_hash(file) for file in files],
        target=target,
    )
    return _evaluate(scoring, predictions(), Tally(classes, tolerance=tolerance), again)


def _mask_files(folder: Path, samples: Sequence[Sample]) -> list[Path]:
    """The mask of each sample. DataError when some are missing: a part of a split is another split."""
    masks = folder / "masks" if (folder / ROWS).is_file() else folder  # `predict` has overlays and more beside them
    names = [sample.name for sample in samples]
    without_split = [name.removeprefix(f"{sample.split}/") for sample, name in zip(samples, names, strict=True)]
    tried = [[masks / f"{name}.png" for name in form] for form in (names, without_split)]
    missing = [[path.name for path in form if not path.is_file()] for form in tried]
    best = min((0, 1), key=lambda form: len(missing[form]))
    if missing[best]:
        shown = ", ".join(missing[best][:5]) + ", …" * (len(missing[best]) > 5)
        raise DataError(
            f"{folder}: is no run, and as a folder of masks it lacks {len(missing[best])} of "
            f"{len(samples)} ({shown}); name the masks after their samples, like "
            f"{tried[0][0].relative_to(folder)}"
        )
    return tried[best]


@dataclass(frozen=True)
class Scoring:
    """What is scored: the `samples` of a split of a dataset of that `version`, by predictions that follow from what
    `made_of` lists and from `postprocessing`; `run` has made them, if it is known. The result goes to a new folder in
    `parent`, or `target`."""

    parent: Path
    split: str
    samples: Sequence[Sample]
    version: str
    selector: Selector = "leaf"
    run: Run | None = None
    origin: Origin = field(default_factory=Origin)
    made_of: Sequence[object] = ()
    target: Path | None = None
    postprocessing: PostProcessing | None = None

    @property
    def written(self) -> list[Path]:
        """Where an evaluation may be that was made before, the newest first."""
        if self.target:
            return [self.target]
        return [folder for _, _, folder in sorted(numbered(self.parent, self.split), reverse=True)]

    @property
    def names(self) -> list[str]:
        """Those of the samples."""
        return [sample.name for sample in self.samples]

    def inputs(self, tolerance: Tolerance | None) -> str:
        """A hash of all that the result follows from, the version of this package included."""
        facts = [
            __version__,
            self.split,
            self.names,
            self.version,
            asdict(tolerance) if tolerance else None,
            self.origin.to_dict(),
            self.made_of,
        ]
        if self.postprocessing:  # without any, what an evaluation from before there was some follows from
            facts.append(self.postprocessing.to_dict())
        return hashlib.blake2b(dump_json(facts).encode(), digest_size=16).hexdigest()

    def completed(self, result: Evaluation, inputs: str) -> Evaluation:
        """With all that is known besides the counts, and what the guard says to it."""
        weak = sum(sample.provenance != "hand" for sample in self.samples)
        size = self.run.info().get("size", {}) if self.run else {}
        result = replace(
            result,
            size=size,
            origin=replace(self.origin, weak=weak),
            inputs=inputs,
            postprocessing=self.postprocessing or None,
        )
        name = (self.run.path if self.run else self.parent.parent).resolve().name
        return replace(result, findings=guard([result.number(name, self.run)]))


def _evaluate(scoring: Scoring, predictions: Iterator[PredictedSample], tally: Tally, again: bool) -> Evaluation:
    """Counts every prediction, scores the counts, and writes both with the masks; or finds what was written before."""
    split, names, inputs = scoring.split, scoring.names, scoring.inputs(tally.tolerance)
    if not again and (found := _stored(scoring, tally.tolerance, inputs)):
        say(
            f"evaluation folder: {found.folder}: is there already, of the same model, data and options; "
            f"{argument('again')} makes "
            "a new one"
        )
        return found
    folder = require_absent(scoring.target) if scoring.target else next_free(scoring.parent, split)
    say(f"evaluation folder: {folder}")
    with staged_folder(folder) as staging:
        with progress("evaluating", len(names)) as advance:
            for done, one in enumerate(predictions, 1):
                tally.add(one.truth, one.levels, one.probabilities)
                file = _prediction(staging, one.sample.name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(one.png)
                advance(done)
                del one  # or its probabilities would stay while those of the next are made
        counted = tally.counted
        result = evaluation_of(folder, split, names, counted, scoring.version, scoring.selector)
        result = scoring.completed(result, inputs)
        write(staging, result, counted)
    say(f"evaluation folder: {folder}")
    return result


def _stored(scoring: Scoring, tolerance: Tolerance | None, inputs: str) -> Evaluation | None:
    """The newest whole evaluation of these inputs that there is."""
    for folder in scoring.written:
        try:
            found = Evaluation.load(folder)
            if found.inputs == inputs and all(_prediction(folder, name).is_file() for name in scoring.names):
                found.require_counts()
                return scoring.completed(replace(found, tolerance=tolerance), inputs)
        except (MaskwrightError, OSError):
            continue  # of another tool, or damaged: evaluated anew
    return None


def _prediction(folder: Path, name: str) -> Path:
    return folder / "predictions" / f"{name}.png"
