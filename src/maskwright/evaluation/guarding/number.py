"""A number and what is known of how it came about: all that the guards look at, whatever tool it is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from maskwright.base import strictyaml
from maskwright.config import BestConfig
from maskwright.core.class_facts import ClassFacts
from maskwright.core.dataset import Dataset
from maskwright.core.sample import Sample
from maskwright.data.opening import load_dataset
from maskwright.errors import MaskwrightError
from maskwright.evaluation.guarding.speed import Speed
from maskwright.run import Run


@dataclass(frozen=True)
class Origin:
    """What was seen when a number was made, and cannot be told from it afterwards.

    `iteration` of the checkpoint, None where it is not known. `same_data`: whether the images are from the dataset
    that was trained on, wherever it lies now; `same_tree`: whether the class tree is the one that was trained with.
    `trained_on` are the scored samples whose image file, by its bytes, the training used under the same name,
    `selected_on` those whose image file was in its validation; None in evaluations from before these were looked for.
    `copies` are pairs of a scored sample and a training sample of another name whose image files hold the same bytes,
    `same_names` scored samples whose file is only called like one of the training. `checked`: whether it is known which
    image files the training used. `tuned_on` are the scored samples that the post-processing was chosen on. `weak` is
    the number of masks of the truth that were not drawn by hand. `changed`: whether the weights are no longer those
    that training ended with.
    """

    iteration: int | None = None
    same_data: bool = True
    same_tree: bool = True
    copies: tuple[tuple[str, str], ...] = ()
    same_names: tuple[str, ...] = ()
    weak: int = 0
    trained_on: tuple[str, ...] | None = None
    selected_on: tuple[str, ...] | None = None
    checked: bool = True
    tuned_on: tuple[str, ...] = ()
    changed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The key `origin` in the JSON of `evaluate`, which `from_dict` reads back. Without what is
        rare it is what it was before that was looked for."""
        found = asdict(self)
        return {key: value for key, value in found.items() if value or key not in ("tuned_on", "changed")}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Origin:
        """Of evaluations from before there was an origin, what it is when left out. Those from before `checked` knew a
        dataset by its place alone: whether another one was looked at is not known."""
        found = {key: value for key, value in data.items() if key in cls.__dataclass_fields__}
        found.setdefault("checked", data.get("same_data", True))
        for key in ("same_names", "trained_on", "selected_on", "tuned_on"):
            if found.get(key) is not None:
                found[key] = tuple(found[key])
        return cls(**found | {"copies": tuple((one, other) for one, other in data.get("copies", ()))})


@dataclass(frozen=True)
class Training:
    """The training behind a number: the names of its `train` and `val` samples, the `version` of its dataset, whether
    it has `finished`, and the iteration of its `best` checkpoint by the validation score; None where not known.
    `classes` is what its masks held of each class, by name, empty where not known, and `config` its run.yaml."""

    train: frozenset[str] = frozenset()
    val: frozenset[str] = frozenset()
    version: str | None = None
    finished: bool = True
    best: int | None = None
    classes: Mapping[str, ClassFacts] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def chosen_by(self) -> str:
        """The validation score that has chosen the checkpoint."""
        return best_score(self.config)

    @classmethod
    def of(cls, run: Run, names: Mapping[int, str] | None = None) -> Training:
        """That of a run; `names` are those that its classes have now by their ids, where some were renamed."""
        info, names = run.info(), names or {}
        now = {
            leaf["name"]: leaf["name"] if leaf["name"] in names.values() else names.get(leaf["id"], leaf["name"])
            for leaf in info["classes"]["leaves"]
        }
        splits = info.get("splits", {})
        return cls(
            frozenset(splits.get("train", ())),
            frozenset(splits.get("val", ())),
            info["dataset"]["version"],
            run.finished is not None,
            best_iteration(run),
            {now[name]: facts for name, facts in run.training_classes().items()},
            strictyaml.read(run.config_file).data,
        )


@dataclass(frozen=True)
class Number:
    """The scores of one model on one split. `name` is what findings call it. `images` are the sample names, None where
    they are not known; `classes` are (name, true pixels); `scores` and `trivial` map aAcc, mAcc, mIoU and mDice to
    what the model and the best trivial prediction reach; `version` is that of the dataset that was scored on; `missed`
    are (name, predicted pixels) of the classes with true pixels that are not found (IoU below `MISSED`); `selector`
    says how pixels of a class tree were labelled, None for flat classes."""

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
    missed: tuple[tuple[str, int], ...] = ()
    selector: str | None = None


def best_score(config: Mapping[str, Any]) -> str:
    """The name of the validation score by which a config, as written by its run, chooses the checkpoint."""
    return str(BestConfig.model_validate(config.get("train", {}).get("best") or {}))


def best_iteration(run: Run) -> int | None:
    """The iteration of the best checkpoint so far."""
    rows = [row["iteration"] for row in run.metrics.read() if row.get("best")]
    return rows[-1] if rows else None


@dataclass(frozen=True)
class Used:
    """What the training of a run used: the hash of the image file of each `train` and `val` sample, and whether that is
    `known` for sure. `same_data`: whether a dataset is the one that was trained on."""

    train: Mapping[str, str]
    val: Mapping[str, str]
    known: bool
    same_data: bool


def used_by(run: Run, dataset: Dataset, version: str, hashes: Mapping[Path, str]) -> Used:
    """What a run used, and whether `dataset`, of this content version and with these hashes of its files, is the same.

    The run stores the hashes. Of a run from before it did, they are those of a dataset of the version that it trained
    on: this one, or the one where it was. If that has changed since, its files of today are the best that is known; if
    it is gone, nothing is.
    """
    there = {sample.name: sample.image_hash(hashes) for sample in dataset.samples}
    trained = run.info()["dataset"]
    in_place = str(dataset.root.resolve()) == trained.get("root")
    same = version == trained.get("version")
    stored = run.images()
    if stored is not None:
        found = sum(there.get(name) == value for name, value in stored["train"].items())
        return Used(stored["train"], stored["val"], True, same or in_place or 2 * found > len(stored["train"]))
    splits = run.info().get("splits", {})
    known = same
    if not same and not in_place:
        there, known = _original(run, trained.get("version"))
    train, val = ({name: there[name] for name in splits.get(split, ()) if name in there} for split in ("train", "val"))
    return Used(train, val, known, same or in_place)


def _original(run: Run, version: str | None) -> tuple[dict[str, str], bool]:
    """The hashes of the images where the run found its dataset, and whether that is of this version."""
    try:
        dataset = load_dataset(run.config().data.root)
        hashes = dataset.file_hashes(run.path)
    except MaskwrightError:  # gone, which is no reason not to score
        return {}, False
    return {sample.name: sample.image_hash(hashes) for sample in dataset.samples}, dataset.version(hashes) == version


def origin_of(
    run: Run, samples: Sequence[Sample], used: Used, hashes: Mapping[Path, str], *, same_tree: bool = True
) -> Origin:
    """The origin of scores of a run's best checkpoint on `samples`, whose image files have these hashes. Nothing but
    what the files hold decides which of them the run has `used`."""
    own = {sample.name: sample.image_hash(hashes) for sample in samples}
    trained_on = tuple(name for name, value in own.items() if used.train.get(name) == value)
    by_hash = {value: name for name, value in used.train.items()}
    others = {name: value for name, value in own.items() if used.train.get(name) != value}
    copies = tuple((name, by_hash[value]) for name, value in others.items() if value in by_hash)
    chosen = set(used.val.values())
    copied = {name for name, _ in copies}
    stems = {name.rpartition("/")[2] for name in run.info().get("splits", {}).get("train", ())}
    alike = tuple(name for name in others if name not in copied and name.rpartition("/")[2] in stems)
    return Origin(
        best_iteration(run),
        used.same_data,
        same_tree,
        copies,
        alike,
        trained_on=trained_on,
        selected_on=tuple(name for name, value in own.items() if value in chosen),
        checked=used.known,
    )
