"""The verb `split`: which sample goes to which split, and which few are worth labelling by hand.

Every file is read once; what is kept of it is its class counts, a digest and, if wanted, how it looks. Nothing is
written: a Proposal says what to do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from maskwright.base import progress as bar
from maskwright.base.display import Result
from maskwright.base.texts import counted, plural
from maskwright.base.workers import in_order, worker_count
from maskwright.core.dataset import Dataset
from maskwright.core.masks import class_pixels
from maskwright.core.sample import Sample
from maskwright.data.splitting import table as tables
from maskwright.data.splitting.grouping import groups_of, joined
from maskwright.data.splitting.stratify import checked, generator, stratified, training_split
from maskwright.data.splitting.table import SplitShare
from maskwright.data.splitting.trusted import divide, features, pick
from maskwright.errors import ConfigError, DataError, argument

Half = Literal["baseline", "eval"]


@dataclass(frozen=True, repr=False)
class Proposal(Result):
    """By sample name: `splits`, None for a sample that cannot be read; `groups`, those of usable samples, which no
    split divides; `trusted`, the samples worth labelling by hand, the most telling first, with the half that each is
    in. `table`: what each split then holds. `notes`: what the user should know."""

    name: str
    seed: int
    splits: dict[str, str | None]
    groups: dict[str, str]
    trusted: dict[str, Half]
    table: tuple[SplitShare, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def human(self) -> str:
        """Text for a terminal."""
        return tables.proposal_text(self)

    def facts(self) -> dict[str, object]:
        """What `repr` and the table in a notebook say."""
        return {
            "name": self.name,
            "images": ", ".join(f"{row.split} {row.images}" for row in self.table),
            "groups": sum(row.groups for row in self.table),
            "seed": self.seed,
            "trusted": len(self.trusted) or None,
        }


@dataclass(frozen=True)
class _Seen:
    """A usable sample: digest of its image, class pixels (K,), zeros without a mask; looks (F,) if asked for."""

    digest: bytes
    pixels: npt.NDArray[np.int64]
    looks: npt.NDArray[np.float32]


def propose(
    dataset: Dataset,
    *,
    fractions: Mapping[str, float] | None,
    seed: int = 0,
    groups: Mapping[str, str] | None = None,
    pattern: str | None = None,
    trusted: int = 0,
    eval_share: float = 0.5,
    progress: bool = True,
) -> Proposal:
    """Splits a dataset into parts of the given shares of images, stratified by class, groups undivided.

    fractions: split -> share, adding up to 1, whatever splits the samples have now; None leaves these as they are.
    Groups are told by `groups` (sample name -> group; a sample that is missing there or has an empty one is on its own)
    or by `pattern` (see `groups_of`), not both; images that are equal pixel by pixel join their groups in any case.

    `trusted` samples, 0 or at least 2, are chosen for labelling by hand from the training split, so that the other
    splits stay untouched; no two of them are equal images. A share of them, `eval_share`, is EVAL: whoever trains
    on the rest of the split leaves these and their groups out.

    Samples with status `exclude` are left out. One that cannot be read, or whose mask does not fit, gets the split
    None and a note. Raises ConfigError for wrong arguments, DataError when no sample can be used or the groups
    are fewer than the splits.
    """
    fractions = checked(fractions) if fractions is not None else None
    generator(seed)  # refuses a wrong one before any file is read
    if trusted < 0 or trusted == 1:
        raise ConfigError(
            f"trusted: {trusted} images cannot be divided; give 0, or 2 and more: some to train on and some to judge by"
        )
    # In the order of names, whatever the order of the samples.
    samples = sorted((s for s in dataset.samples if s.status != "exclude"), key=lambda sample: sample.name)
    given, notes = _groups(samples, groups, pattern)
    splits: dict[str, str | None] = dict.fromkeys(given)
    seen: dict[str, _Seen] = {}
    with bar.progress("reading", len(samples)) if progress else nullcontext() as advance:
        for done, (sample, found) in enumerate(_read(dataset, samples, trusted > 0), 1):
            if isinstance(found, str):
                notes.append(f"{sample.name} is left out: {found}")
            else:
                seen[sample.name] = found
            if advance:
                advance(done)
    names, digests = list(seen), [facts.digest for facts in seen.values()]
    together = joined([given[name] for name in names], digests)
    pixels = np.array([facts.pixels for facts in seen.values()], np.int64).reshape(len(names), len(dataset.classes))
    if fractions is None:
        assigned, fractions = _as_they_are(dataset, names)
    else:
        assigned = stratified(pixels, together, fractions, seed)
    splits.update(zip(names, assigned, strict=True))
    if copies := len(digests) - len(set(digests)):
        verb, does = ("is", "goes") if copies == 1 else ("are", "go")
        notes.append(f"{plural(copies, 'image')} {verb} equal to another one pixel by pixel and {does} where it goes")
    table = tables.tabulate(assigned, together, pixels, fractions, dataset.classes)
    halves: dict[str, Half] = {}
    if trusted:
        originals = {digest: i for i, digest in reversed(list(enumerate(digests)))}
        pool = [i for i in sorted(originals.values()) if assigned[i] == training_split(fractions)]
        looks = np.stack([seen[names[i]].looks for i in pool])
        chosen = [pool[i] for i in pick(looks, pixels[pool], trusted, seed)]
        if len(chosen) < trusted:
            notes.append(
                f"only {counted(len(chosen), 'different image{ is|s are}')} there to be labelled by hand, not {trusted}"
            )
        baseline = {*divide(chosen, pixels, eval_share, seed, together)[0]}
        halves = {names[i]: "baseline" if i in baseline else "eval" for i in chosen}
    return Proposal(
        dataset.name,
        seed,
        splits,
        dict(zip(names, together, strict=True)),
        halves,
        table,
        (*notes, *tables.absent(table)),
    )


def _as_they_are(dataset: Dataset, names: Sequence[str]) -> tuple[list[str], dict[str, float]]:
    """The splits of the samples, and the share of each. ConfigError where a sample is in none."""
    found = [dataset[name].split for name in names]
    if None in found:
        raise ConfigError(
            f"{argument('keep')}: {names[found.index(None)]} and {found.count(None) - 1} more are in no split; "
            "leave it out, and all are divided"
        )
    assigned = [part for part in found if part is not None]
    return assigned, {part: assigned.count(part) / len(assigned) for part in dict.fromkeys(assigned)}


def _groups(
    samples: Sequence[Sample], groups: Mapping[str, str] | None, pattern: str | None
) -> tuple[dict[str, str], list[str]]:
    """The group of each sample by its name, and notes on samples that have none."""
    if groups is not None and pattern is not None:
        raise ConfigError("groups: both a mapping and a pattern are given; give one of them")
    if pattern is not None:
        found = groups_of(samples, pattern)
    else:
        found = {sample.name: (groups or {}).get(sample.name) or sample.name for sample in samples}
    alone = sum(group == name for name, group in found.items())
    told = groups is not None or pattern is not None
    notes = [f"{alone} of {len(samples)} samples have no group and stand alone"] if told and alone else []
    if pattern is not None and not alone and len({*found.values()}) == len(samples) > 1:
        notes.append(f"{argument('group')} {pattern!r} makes a group of each sample, so it keeps nothing together")
    return found, notes


def _read(dataset: Dataset, samples: Sequence[Sample], looks: bool) -> Iterator[tuple[Sample, _Seen | str]]:
    """Each sample with what was seen of it, or with the reader's reason for refusing it."""
    seen = in_order(lambda sample: _look(dataset, sample, looks), samples, worker_count())
    yield from zip(samples, seen, strict=True)


def _look(dataset: Dataset, sample: Sample, looks: bool) -> _Seen | str:
    classes = len(dataset.classes)
    try:
        if sample.labelled:
            image, mask = dataset.read(sample)
            pixels = class_pixels(mask, classes)[:classes]
        else:
            image, pixels = dataset.read_image(sample), np.zeros(classes, np.int64)
    except DataError as error:
        return str(error)
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return _Seen(digest.digest(), pixels, features(image) if looks else np.empty(0, np.float32))
