"""A number and what is known of how it came about: all that the guards look at, whatever tool it is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from maskwright.core.dataset import Dataset, file_hash
from maskwright.core.sample import Sample
from maskwright.errors import MaskwrightError
from maskwright.formats.opening import load_dataset
from maskwright.guarding.speed import Speed, speed_of
from maskwright.run import Run


@dataclass(frozen=True)
class Origin:
    """What was seen when a number was made, and cannot be told from it afterwards.

    `iteration` of the checkpoint, None where it is not known. `same_data`: whether the images are from the dataset
    that was trained on, so that equal sample names mean equal images; `same_tree`: whether the class tree is the one
    that was trained with. `copies` are pairs of a scored sample and a training sample whose image files hold the same
    bytes, `same_names` scored samples whose file is only called like one of the training. `weak` is the number of masks
    of the truth that were not drawn by hand.
    """

    iteration: int | None = None
    same_data: bool = True
    same_tree: bool = True
    copies: tuple[tuple[str, str], ...] = ()
    same_names: tuple[str, ...] = ()
    weak: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The key `origin` in the JSON of `evaluate`, which `from_dict` reads back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Origin:
        """Of evaluations from before there was an origin, what it is when left out."""
        copies = tuple((one, other) for one, other in data.get("copies", ()))
        return cls(**{**data, "copies": copies, "same_names": tuple(data.get("same_names", ()))})


@dataclass(frozen=True)
class Training:
    """The training behind a number: the names of its `train` and `val` samples, the `version` of its dataset, whether
    it has `finished`, and the iteration of its `best` checkpoint by the validation score; None where not known."""

    train: frozenset[str] = frozenset()
    val: frozenset[str] = frozenset()
    version: str | None = None
    finished: bool = True
    best: int | None = None

    @classmethod
    def of(cls, run: Run) -> Training:
        """That of a run."""
        info = run.info()
        splits = info.get("splits", {})
        return cls(frozenset(splits.get("train", ())), frozenset(splits.get("val", ())), info["dataset"]["version"],
                   run.finished is not None, best_iteration(run))


@dataclass(frozen=True)
class Number:
    """The scores of one model on one split. `name` is what findings call it. `images` are the sample names, None where
    they are not known; `classes` are (name, true pixels); `scores` and `trivial` map aAcc, mAcc, mIoU and mDice to
    what the model and the best trivial prediction reach; `version` is that of the dataset that was scored on."""

    name: str
    split: str
    images: tuple[str, ...] | None = None
    classes: tuple[tuple[str, int], ...] = ()
    scores: Mapping[str, float | None] | None = None
    trivial: Mapping[str, float] | None = None
    version: str | None = None
    training: Training | None = None
    origin: Origin = field(default_factory=Origin)
    speed: Speed | None = None

    @classmethod
    def of(cls, name: str, result: Mapping[str, Any], images: Sequence[str], run: Run | None) -> Number:
        """That of an evaluation, from its `scores.json` and its samples; `run` is None for what no run has predicted.
        """
        known = {key: [row[key]["value"] for row in result["baselines"].values()
                       if key in row and row[key]["value"] is not None] for key in result["scores"]}
        return cls(name, result["split"], tuple(images),
                   tuple((row["name"], row["true_pixels"]) for row in result["classes"]),
                   {key: score["value"] for key, score in result["scores"].items()},
                   {key: max(values) for key, values in known.items() if values}, result["dataset_version"],
                   Training.of(run) if run else None, Origin.from_dict(result.get("origin", {})),
                   speed_of(run) if run else None)


def best_iteration(run: Run) -> int | None:
    """The iteration of the best checkpoint so far."""
    rows = [row["iteration"] for row in run.metrics.read() if row.get("best")]
    return rows[-1] if rows else None


def image_hashes(dataset: Dataset) -> dict[str, str]:
    """The hash of each sample's image file, as `Dataset.version` takes it. DataError for one that cannot be read."""
    return {sample.name: file_hash(sample.image) for sample in dataset.samples}


def origin_of(run: Run, dataset: Dataset, samples: Sequence[Sample], hashes: Mapping[str, str], *,
              same_tree: bool = True) -> Origin:
    """The origin of scores of a run's best checkpoint on `samples` of `dataset`, whose image files have these hashes.

    Where it is another dataset than the one trained on, the latter's training images are read too, if they still are
    where they were.
    """
    info = run.info()
    trained_on = set(info.get("splits", {}).get("train", ()))
    same = str(dataset.root.resolve()) == info["dataset"]["root"]
    training, known = [s for s in dataset.samples if s.name in trained_on], hashes
    if not same:
        try:
            training = [s for s in load_dataset(run.config().data.root).samples if s.name in trained_on]
            known = {sample.name: file_hash(sample.image) for sample in training}
        except MaskwrightError:  # gone, which is no reason not to score
            training = []
    by_hash = {known[sample.name]: sample.name for sample in training}
    scored = [sample for sample in samples if not (same and sample.name in trained_on)]
    copies = [(s.name, by_hash[hashes[s.name]]) for s in scored if hashes[s.name] in by_hash]
    stems = {sample.image.stem for sample in training}
    copied = {name for name, _ in copies}
    alike = [s.name for s in scored if s.name not in copied and s.image.stem in stems]
    return Origin(best_iteration(run), same, same_tree, tuple(copies), tuple(alike))
