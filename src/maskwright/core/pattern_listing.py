"""Lists a dataset whose image and mask files are described by patterns of their paths (`layout: patterns`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from maskwright.base.storage import confine
from maskwright.base.texts import counted
from maskwright.core.description import FILE_NAME, DatasetFile
from maskwright.core.findings import Finding, Severity
from maskwright.core.image_files import paths_below
from maskwright.core.listing import Listing, confine_found
from maskwright.core.mask_files import ARRAY_SUFFIXES
from maskwright.core.patterns import SEVERAL, Match, Pattern, loose, nfc
from maskwright.core.sample import MaskPart, Sample, read_pages
from maskwright.core.split_lists import splits_by_lists
from maskwright.errors import ConfigError, DataError

# The split and the texts by which image and mask are the same.
Key = tuple[str | None, tuple[str, ...]]


@dataclass
class Sorted:
    """Files by what their paths say: `images` and `masks` with their matches, and those that match nothing."""

    images: dict[str, Match] = field(default_factory=dict)
    masks: dict[str, list[tuple[Pattern, Match]]] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)


def sort_files(
    paths: Iterable[str], images: Sequence[Pattern], masks: Sequence[Pattern], left_out: Sequence[Pattern]
) -> Sorted:
    """Sorts paths (inside the dataset, with `/`): what is a mask or left out is no image, whatever else it fits."""
    found = Sorted()
    for path in paths:
        form = nfc(path)
        mask = [(pattern, match) for pattern in masks if (match := pattern.match(form))]
        if mask:
            found.masks[path] = mask
        elif any(pattern.match(form) for pattern in left_out):
            continue
        elif match := next((match for pattern in images if (match := pattern.match(form))), None):
            if not path.lower().endswith(tuple(ARRAY_SUFFIXES)):
                found.images[path] = match
        else:
            found.strange.append(path)
    return found


@dataclass
class Pairs:
    """`masks`: the files of each image in natural order, with what their paths say. `orphans`: masks of no image."""

    masks: dict[str, list[tuple[str, Pattern, Match]]]
    orphans: list[str]


def pair_files(files: Sorted) -> Pairs:
    """Gives each mask to the image whose shared slots and split are the same by one of its patterns:
    exactly, or where that fits none, but for
    upper and lower case and zeros before numbers. A mask that fits two images is an orphan."""
    masks: dict[str, list[tuple[str, Pattern, Match]]] = {path: [] for path in files.images}
    orphans = []
    tables: dict[tuple[tuple[str, ...], bool, bool], dict[Key, str | None]] = {}
    for path, matches in files.masks.items():
        for exact, (pattern, match) in ((exact, match) for exact in (True, False) for match in matches):
            place = (tuple(n for n in pattern.slots if n not in SEVERAL), match.split is not None, exact)
            if place not in tables:
                tables[place] = _table(files.images, *place)
            key = _key(match, *place)
            if key and (owner := tables[place].get(key)):
                masks[owner].append((path, pattern, match))
                break
        else:
            orphans.append(path)
    return Pairs(masks, orphans)


def _table(images: Mapping[str, Match], shared: tuple[str, ...], split: bool, exact: bool) -> dict[Key, str | None]:
    table: dict[Key, str | None] = {}
    for path, match in images.items():
        if key := _key(match, shared, split, exact):
            table[key] = None if key in table else path
    return table


def _key(match: Match, shared: tuple[str, ...], split: bool, exact: bool) -> Key | None:
    if any(name not in match.slots for name in shared):
        return None
    texts = tuple(match.slots[name] if exact else loose(match.slots[name]) for name in shared)
    return (match.split if split else None, texts)


def sample_name(path: str, match: Match) -> str:
    """The name of the sample of an image: its split and slots, or its path where it has none."""
    texts = [*([match.split] if match.split else []), *match.slots.values()]
    return "/".join(texts) or str(PurePosixPath(path).with_suffix(""))


def compiled(file: DatasetFile) -> tuple[list[Pattern], list[Pattern], list[Pattern]]:
    """The patterns of images, of masks and of what is left out. ConfigError for one that cannot be used."""
    texts = (file.images.files, file.masks.files, file.left_out)
    for text in (text for group in texts for text in group):
        if text.count("{") + text.count("*") > 12:
            raise ConfigError(f"files: the pattern {text!r} has more than 12 slots; write it with fewer")
    first, second, third = ([Pattern(text, file.splits) for text in group] for group in texts)
    if not first:
        raise ConfigError("images.files: `layout: patterns` needs at least one pattern")
    return first, second, third


def from_patterns(file: DatasetFile, root: Path) -> Listing:
    """The samples that the patterns of `file` describe under `root`."""
    links: list[Path] = []
    files = sort_files(paths_below(root, links, file.follow), *compiled(file))
    pairs = pair_files(files)
    notes: list[Finding] = []
    names = _names(files)
    samples = []
    for path, match in files.images.items():
        image = confine_found(root, confine(root, path, FILE_NAME, file.follow), file.follow)
        sample = Sample(names[path], image, split=match.split)
        samples += _with_masks(sample, pairs.masks[path], file, root, notes)
    if file.lists:
        samples = _with_lists(samples, file, root, files, notes)
    orphans = [confine_found(root, root / path, file.follow) for path in pairs.orphans]
    return Listing(samples, orphans, [root / path for path in files.strange], "in no pattern", links, notes)


def _names(files: Sorted) -> dict[str, str]:
    """A name for each image; where the slots of two are the same, the paths of both."""
    names = {path: sample_name(path, match) for path, match in files.images.items()}
    seen: dict[str, int] = {}
    for name in names.values():
        seen[name] = seen.get(name, 0) + 1
    return {path: name if seen[name] == 1 else str(PurePosixPath(path).with_suffix("")) for path, name in names.items()}


def _with_masks(
    sample: Sample, masks: list[tuple[str, Pattern, Match]], file: DatasetFile, root: Path, notes: list[Finding]
) -> list[Sample]:
    several = any(
        name in SEVERAL or pattern.text in file.masks.parts for _, pattern, _ in masks for name in ("", *pattern.slots)
    )
    if len(masks) > 1 and not several:
        raise DataError(f"{root / masks[1][0]}: {masks[0][0]} is a mask of the same image; leave one of them out")
    if several:
        parts = []
        for path, pattern, match in masks:
            text = match.slots.get("class", pattern.text if pattern.text in file.masks.parts else None)
            if text is not None and text not in file.masks.parts:
                notes.append(
                    Finding(
                        "annotation.unknown_label",
                        Severity.WARNING,
                        f"{path}: {text!r} is no class in `masks.parts`, and the file is left out",
                        "add it there, or move the file away",
                        sample.name,
                    )
                )
                continue
            id_ = None if text is None else file.masks.parts[text]
            parts.append(MaskPart(confine_found(root, root / path, file.follow), id_))
        return [replace(sample, parts=tuple(parts))]
    mask = confine_found(root, root / masks[0][0], file.follow) if masks else None
    if not file.images.pages:
        return [replace(sample, mask=mask)]
    pages = read_pages(sample.image)
    of_mask = read_pages(mask) if mask else 0
    return [
        replace(sample, name=f"{sample.name}/{page}", mask=mask if page < of_mask else None, page=page)
        for page in range(pages)
    ]


def _with_lists(
    samples: list[Sample], file: DatasetFile, root: Path, files: Sorted, notes: list[Finding]
) -> list[Sample]:
    images = [(path, [*match.slots.values()]) for path, match in files.images.items()]
    found, lost = splits_by_lists(root, file.lists, images)
    notes += [
        Finding(
            "annotation.no_image",
            Severity.WARNING,
            f"{file.lists[split]}: {counted(count, 'entr{y names|ies name} no image')}",
            "correct the list, or restore the images",
            evidence={"count": count},
        )
        for split, count in lost.items()
    ]
    splits = {root / path: split for path, split in found.items()}
    return [replace(sample, split=splits.get(sample.image, sample.split)) for sample in samples]
