"""The checks: each a function of the survey that yields what it saw, one a finding code.

A defect of one file is one finding. A property that thousands of files may share (a palette, an alpha
channel, an empty mask) is one finding that counts and lists them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, TypeVar

import numpy as np

from maskwright.auditing.statistics import SPLITS, SplitStatistics
from maskwright.auditing.survey import ImageFacts, MaskFacts, Record, Survey
from maskwright.core.sample import Sample

# A class with fewer pixels than this part of the most frequent one is drowned by it without class weights.
_DROWNED = 1 / 200
_NOT_RGB = {"CMYK", "LAB", "HSV", "YCbCr"}
_ALPHA = {"RGBA", "LA", "PA", "RGBa", "La", "RGBX"}


@dataclass(frozen=True)
class Seen:
    """What a check saw; with its code and severity it becomes a Finding."""

    message: str
    fix: str
    sample: Sample | None = None
    split: str | None = None
    evidence: dict[str, Any] = field(default_factory=dict)


Check = Callable[[Survey], Iterable[Seen]]
Facts = TypeVar("Facts", ImageFacts, MaskFacts)


def few(names: Sequence[str], most: int) -> str:
    """The first `most` names and the number of the others."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _refused(sample: Sample, reason: str) -> Seen:
    """The reader's own words: `where: what is wrong; what to do`."""
    message, _, fix = reason.rpartition("; ")
    return Seen(message or reason, fix if message else "restore the file or exclude the sample", sample)


def image_unreadable(survey: Survey) -> Iterator[Seen]:
    """Images that the reader refuses."""
    return (_refused(record.sample, record.image) for record in survey.records if isinstance(record.image, str))


def mask_unreadable(survey: Survey) -> Iterator[Seen]:
    """Masks that the reader refuses."""
    return (_refused(record.sample, record.mask) for record in survey.records if isinstance(record.mask, str))


# --- pairs -----------------------------------------------------------------------------------------------

def _by_split(survey: Survey) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {name: [] for name in survey.statistics.splits}
    for record in survey.records:
        found[record.sample.split or ""].append(record)
    return found


def _unlabelled(records: Sequence[Record]) -> bool:
    return all(record.mask is None for record in records)


def mask_none(survey: Survey) -> Iterator[Seen]:
    """Nothing to learn from."""
    if not any(record.usable for record in survey.records):
        masks = sum(record.mask is not None for record in survey.records)
        why = f"none of its {masks} masks is usable" if masks else "it has no masks"
        yield Seen(f"{survey.dataset.root}: {len(survey.records)} images, but {why}",
                   "correct the masks as the other findings say" if masks else
                   "draw masks, or name their folder under `masks` in dataset.yaml")


def split_unlabelled(survey: Survey) -> Iterator[Seen]:
    """Splits without a single mask, while others have some."""
    splits = _by_split(survey)
    bare = [name for name, records in splits.items() if _unlabelled(records)]
    if len(bare) < len(splits):
        for name in bare:
            yield Seen(f"none of the {len(splits[name])} images has a mask",
                       "draw masks for this split, or keep it for prediction only", split=name or None)


def mask_missing(survey: Survey) -> Iterator[Seen]:
    """Images without a mask in splits where others have one."""
    for records in _by_split(survey).values():
        if not _unlabelled(records):
            for record in records:
                if record.mask is None:
                    yield Seen("the image has no mask, so nothing is learnt from it and it is not scored",
                               "draw its mask, or exclude the sample", record.sample)


def mask_orphan(survey: Survey) -> Iterator[Seen]:
    """Mask files that belong to no image."""
    for path in survey.dataset.orphans:
        file = path.relative_to(survey.dataset.root).as_posix()
        yield Seen(f"{file}: no image has this name", "restore its image, correct the name, or move the mask away",
                   evidence={"file": file})


def mask_size(survey: Survey) -> Iterator[Seen]:
    """Masks that do not cover their image pixel by pixel."""
    for record in survey.records:
        image, mask = record.image, record.mask
        if isinstance(image, ImageFacts) and isinstance(mask, MaskFacts) and image.size != mask.size:
            fix = "draw the mask again at the size of the image, or exclude the sample"
            if image.header.orientation >= 5 and image.size == mask.size[::-1]:
                other = "ignore" if survey.dataset.exif == "apply" else "apply"
                fix = f"the mask fits the image turned by its EXIF orientation: set `exif: {other}` under `images`"
            yield Seen(f"the mask is {_wide(mask.size)} but the image is {_wide(image.size)}", fix, record.sample,
                       evidence={"image": list(image.size), "mask": list(mask.size)})


def _wide(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


# --- mask values -----------------------------------------------------------------------------------------

def mask_unknown_ids(survey: Survey) -> Iterator[Seen]:
    """Masks with ids that are neither a class nor ignore."""
    for sample, mask in survey.masks:
        if mask.unknown:
            listed = few([f"{id_} ({n} px)" for id_, n in mask.unknown.items()], 5)
            yield Seen(f"holds {mask.unknown_ids} ids that are no class: {listed}",
                       "add them to `classes` in dataset.yaml, set `ignore` to the one that does not count, or correct "
                       "the mask", sample,
                       evidence={"count": mask.unknown_ids, "ids": {str(id_): n for id_, n in mask.unknown.items()}})


def mask_inexact(survey: Survey) -> Iterator[Seen]:
    """Masks whose values had to be moved to the nearest level or colour, the worst first."""
    value = "class colour" if survey.dataset.encoding.kind == "colour" else "grey level"
    for sample, mask in sorted(survey.masks, key=lambda pair: -pair[1].inexact / pair[1].area):
        if mask.inexact:
            yield Seen(f"{mask.inexact} pixels ({mask.inexact / mask.area:.2%}) were moved to the nearest {value}",
                       "harmless where they lie on outlines (compression, antialiasing); else a class is missing in "
                       "dataset.yaml. Save masks as index PNG", sample,
                       evidence={"pixels": mask.inexact, "share": mask.inexact / mask.area})


def mask_all_ignore(survey: Survey) -> Iterator[Seen]:
    """Masks in which nothing counts."""
    for sample, mask in survey.masks:
        if mask.pixels is not None and not mask.pixels[:-1].any():
            yield Seen("every pixel is ignored", "draw the mask, or exclude the sample", sample)


def mask_all_background(survey: Survey) -> Iterator[Seen]:
    """Masks with the first class alone; many of them are normal in some data and forgotten drawings in other."""
    empty = defaultdict(list)
    masks = Counter(sample.split or "" for sample, _ in survey.masks)
    for sample, mask in survey.masks:
        if mask.pixels is not None and mask.pixels[0] and not mask.pixels[1:-1].any() and len(mask.pixels) > 2:
            empty[sample.split or ""].append(sample)
    name = survey.dataset.classes.names[0]
    for split, samples in empty.items():
        yield _listed(f"masks with nothing but {name!r}", samples, masks[split], "",
                      "look at some of them: is the image really without any other class?", split)


# --- file kinds ------------------------------------------------------------------------------------------

def _listed(what: str, samples: Sequence[Sample], total: int, effect: str, fix: str, split: str | None = None) -> Seen:
    return Seen(f"{what}: {len(samples)} of {total}" + (f"; {effect}" if effect else ""), fix, split=split or None,
                evidence={"count": len(samples), "samples": [sample.name for sample in samples]})


def _kind(files: list[tuple[Sample, Facts]], chosen: Callable[[Facts], bool], what: str, effect: str, fix: str
          ) -> Iterator[Seen]:
    samples = [sample for sample, facts in files if chosen(facts)]
    if samples:
        yield _listed(what, samples, len(files), effect, fix)


def image_palette(survey: Survey) -> Iterator[Seen]:
    """Images with a palette."""
    return _kind(survey.images, lambda image: image.header.mode == "P", "images with a palette",
                 "they are read by their colours", "nothing to do, unless masks lie in the image folder")


def image_depth(survey: Survey) -> Iterator[Seen]:
    """Grey images of 16 bits."""
    return _kind(survey.images, lambda image: image.header.mode.startswith("I"), "images of 16 bits",
                 "their values are divided by 256",
                 "if they use fewer bits (such as 12) they turn out nearly black: scale them to 8 bits yourself")


def image_alpha(survey: Survey) -> Iterator[Seen]:
    """Images with an alpha channel."""
    return _kind(survey.images, lambda image: image.header.mode in _ALPHA, "images with an alpha channel",
                 "it is dropped", "if parts are transparent, save them over a plain background")


def image_colour_space(survey: Survey) -> Iterator[Seen]:
    """Images that are not stored as grey or RGB."""
    return _kind(survey.images, lambda image: image.header.mode in _NOT_RGB, "images in CMYK, Lab or YCbCr",
                 "they are converted to RGB without a colour profile", "if the colours look wrong, save them as RGB")


def image_rotated(survey: Survey) -> Iterator[Seen]:
    """Images with an EXIF orientation."""
    effect = "it is applied" if survey.dataset.exif == "apply" else "it is not applied"
    return _kind(survey.images, lambda image: image.header.orientation != 1, "images with an EXIF orientation",
                 f"{effect} (`exif` under `images`)", "look whether image and mask lie on each other")


def mask_palette(survey: Survey) -> Iterator[Seen]:
    """Masks with a palette."""
    kind = survey.dataset.encoding.kind
    effect = "their indices are the class ids" if kind == "index" else "they are read by their colours"
    return _kind(survey.masks, lambda mask: mask.header.mode == "P", "masks with a palette",
                 f"{effect} (encoding: {kind})", "nothing to do")


def mask_depth(survey: Survey) -> Iterator[Seen]:
    """Masks of 16 bits."""
    return _kind(survey.masks, lambda mask: mask.header.mode.startswith("I"), "masks of 16 bits",
                 "their values are read in full", "nothing to do")


def mask_colour(survey: Survey) -> Iterator[Seen]:
    """Grey masks that are stored with three or more channels."""
    if survey.dataset.encoding.kind == "colour":
        return iter(())
    return _kind(survey.masks, lambda mask: mask.header.mode == "RGB" or mask.header.mode in _ALPHA,
                 "grey masks stored as colour images", "they are read as grey", "nothing to do")


def mask_rotated(survey: Survey) -> Iterator[Seen]:
    """Masks with an EXIF orientation."""
    return _kind(survey.masks, lambda mask: mask.header.orientation != 1, "masks with an EXIF orientation",
                 "it is not applied", "look whether image and mask lie on each other; save the masks without EXIF")


# --- splits and duplicates -------------------------------------------------------------------------------

def split_missing(survey: Survey) -> Iterator[Seen]:
    """Which of train, val and test there is none of."""
    here = set(survey.statistics.splits)
    missing = [name for name in SPLITS if name not in here]
    if len(missing) == len(SPLITS):
        yield Seen("no train, val or test split", "training validates on a share of the images that it holds back; "
                   "set some aside as `test` for a score that counts")
    elif "train" in missing:
        yield Seen("no train split", "name the split that training may use `train`")
    elif missing:
        effects = {"val": "training validates on a share of `train` that it holds back",
                   "test": "there is nothing to score on that training has not seen"}
        yield Seen(f"no {' and no '.join(missing)} split", "; ".join(effects[name] for name in missing))


def split_unassigned(survey: Survey) -> Iterator[Seen]:
    """Samples without a split where others have one."""
    samples = [record.sample for record in survey.records if not record.sample.split]
    if samples and len(samples) < len(survey.records):
        yield _listed("samples without a split", samples, len(survey.records), "no training and no score uses them",
                      "give them a split, or exclude them")


def split_same_name(survey: Survey) -> Iterator[Seen]:
    """File names that occur in two splits."""
    names = {split: {r.sample.image.stem for r in records} for split, records in _by_split(survey).items() if split}
    for one, other in combinations(names, 2):
        if same := sorted(names[one] & names[other]):
            yield Seen(f"{len(same)} file names occur in both {one} and {other}, such as {same[0]}",
                       "if the same name means the same subject, keep it in one split", evidence={
                           "splits": [one, other], "names": same})


def _same_images(survey: Survey) -> Iterator[tuple[list[Sample], list[str], bool]]:
    """Samples with equal pixels, the named splits that they are in, and whether their masks differ."""
    groups: dict[bytes, list[Record]] = defaultdict(list)
    for record in survey.records:
        if isinstance(record.image, ImageFacts):
            groups[record.image.digest].append(record)
    for records in groups.values():
        if len(records) > 1:
            splits = sorted({record.sample.split for record in records if record.sample.split})
            masks = {record.mask.digest for record in records if isinstance(record.mask, MaskFacts)}
            yield [record.sample for record in records], splits, len(masks) > 1


def _same(samples: list[Sample], splits: list[str], differ: bool, fix: str) -> Seen:
    names = [sample.name for sample in samples]
    but = ", but another mask" if differ else ""
    return Seen(f"has the same pixels as {few(names[1:], 3)}{but}", fix, samples[0],
                evidence={"samples": names, "splits": splits, "masks_differ": differ})


def split_leakage(survey: Survey) -> Iterator[Seen]:
    """The same image in two splits."""
    return (_same(samples, splits, differ, "keep it in one split: scores on images that were trained on mean nothing")
            for samples, splits, differ in _same_images(survey) if len(splits) > 1)


def image_duplicate(survey: Survey) -> Iterator[Seen]:
    """The same image twice in a split, or without one."""
    return (_same(samples, splits, differ, "exclude all but the one with the best mask")
            for samples, splits, differ in _same_images(survey) if len(splits) < 2)


# --- classes ---------------------------------------------------------------------------------------------

def _absent(part: SplitStatistics) -> set[int]:
    return set(np.flatnonzero(part.class_pixels == 0).tolist())


def _classes(survey: Survey, indices: Iterable[int], message: str, fix: str, split: str | None = None,
             **evidence: Any) -> Iterator[Seen]:
    names = [survey.dataset.classes.names[i] for i in sorted(indices)]
    if names:
        yield Seen(f"{message}: {few(names, 8)}", fix, split=split, evidence={"classes": names, **evidence})


def class_absent(survey: Survey) -> Iterator[Seen]:
    """Classes without a pixel anywhere."""
    if survey.statistics.total.labelled:
        yield from _classes(survey, _absent(survey.statistics.total), "classes without a pixel in any mask",
                            "remove them from `classes` in dataset.yaml, or label some images with them")


def class_not_in_train(survey: Survey) -> Iterator[Seen]:
    """Classes that are scored but cannot be learnt."""
    train = survey.statistics.splits.get("train")
    if train and train.labelled:
        yield from _classes(survey, _absent(train) - _absent(survey.statistics.total),
                            "classes that occur, but not in train",
                            "move images with them to train: a model cannot learn what it never sees", "train")


def class_not_in_split(survey: Survey) -> Iterator[Seen]:
    """Classes that occur in train but not in another split."""
    splits = survey.statistics.splits
    if "train" in splits:
        for name in splits:
            if name not in ("", "train") and splits[name].labelled:
                yield from _classes(survey, _absent(splits[name]) - _absent(splits["train"]),
                                    f"classes of train without a pixel in {name}",
                                    f"their scores on {name} are undefined: move images with them there", name)


def class_imbalance(survey: Survey) -> Iterator[Seen]:
    """Classes that the most frequent one drowns."""
    part, names = survey.statistics.training, survey.dataset.classes.names
    rare = np.flatnonzero((part.class_pixels > 0) & (part.class_pixels < part.class_pixels.max() * _DROWNED)).tolist()
    return _classes(survey, rare, f"classes with less than 1/{round(1 / _DROWNED)} of the pixels of "
                    f"{names[int(part.class_pixels.argmax())]!r}",
                    "use Dice beside cross entropy, set `class_weights: inverse_frequency`, or label more of them",
                    shares={names[i]: float(part.shares[i]) for i in rare})
