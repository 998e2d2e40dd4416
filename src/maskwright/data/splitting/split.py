"""The verb `split`: proposes splits for a dataset, keeps them as edits, and lists them in files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskwright.base.display import Result
from maskwright.base.storage import dump_json, next_free, require_absent, staged_folder
from maskwright.core.dataset import Dataset
from maskwright.core.edits import FOLDER, Batch, Edit, add_edits, home_of
from maskwright.data.opening import load_dataset
from maskwright.data.splitting import Proposal, propose
from maskwright.errors import ConfigError, DataError, argument

FRACTIONS = {"train": 0.7, "val": 0.15, "test": 0.15}


@dataclass(frozen=True, repr=False)
class SplitResult(Result):
    """The proposal, the folder of its lists, and the batch of edits that holds it; None when nothing was written."""

    proposal: Proposal
    lists: Path | None
    batch: Batch | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **self.proposal.to_dict(),
            "lists": str(self.lists) if self.lists else None,
            "batch": self.batch.name if self.batch else None,
        }

    def facts(self) -> dict[str, object]:
        """What `repr` and the table in a notebook say."""
        batch = self.batch.name if self.batch else None
        return {**self.proposal.facts(), "lists": self.lists, "batch": batch}

    def human(self) -> str:
        """For a terminal."""
        lines = [self.proposal.human()]
        if self.lists and not self.batch:
            lines.append(f"lists: {self.lists}; the splits are as they were")
        if self.batch:
            lines.append(
                f"lists: {self.lists}; kept as edits, batch {self.batch.name} "
                "(`maskwright edits DIR --undo` takes it back)"
            )
        return "\n".join(lines)


def split(
    data: str | Path | Dataset,
    *,
    fractions: Mapping[str, float] | None = None,
    seed: int = 0,
    group: str | None = None,
    group_file: str | Path | None = None,
    trusted: int = 0,
    keep: bool = False,
    out: str | Path | None = None,
    dry_run: bool = False,
    progress: bool = True,
) -> SplitResult:
    """Splits a dataset, or the one in a folder, by `propose`; the dataset's own files are not changed.

    Of an opened Dataset the samples that it has are split, and the edits go to the folder that it was opened from; the
    object itself is not changed: open it again to use the new splits. ConfigError for one without such a folder, unless
    with `dry_run`.

    `fractions`: split -> share of the images, by default 70, 15 and 15 % for train, val and test. Groups, which no
    split divides, are what the regular expression `group` catches of a sample's name without its split, or the column
    `group` of the CSV `group_file`, by its column `sample`. ConfigError for an expression that catches nothing.
    `trusted` images are picked for labelling by hand; with `keep` that is all: they are of the training split as it is,
    and the splits stay. Each split is a list of sample names in `out` (`train.txt`, …;
    `baseline.txt` and `eval.txt` for the trusted ones), by default below `.maskwright/`. With `dry_run` nothing is
    written.
    """
    if keep and (fractions is not None or not trusted):
        raise ConfigError(
            f"{argument('keep')}: only picks {argument('trusted')} images from the splits as they are; "
            f"give their number, and no {argument('fractions')}"
        )
    shares = None if keep else fractions or FRACTIONS
    home = None if dry_run else home_of(data)
    if out is not None:
        require_absent(Path(out))
    dataset = data if isinstance(data, Dataset) else load_dataset(data)
    groups = _groups(Path(group_file), {sample.name for sample in dataset.samples}) if group_file else None
    proposal = propose(
        dataset, fractions=shares, seed=seed, groups=groups, pattern=group, trusted=trusted, progress=progress
    )
    if home is None:
        return SplitResult(proposal, None, None)
    lists = Path(out) if out is not None else next_free(home / FOLDER, "splits")
    with staged_folder(lists) as place:
        parts: dict[str, list[str]] = {name: [] for name in shares or ()}
        for name, part in proposal.splits.items():
            if part is not None:
                parts.setdefault(part, []).append(name)
        for name, part in proposal.trusted.items():
            parts.setdefault(part, []).append(name)
        for part, names in parts.items():
            (place / f"{part}.txt").write_text("".join(f"{name}\n" for name in names), "utf-8")
        (place / "split.json").write_text(dump_json(proposal.to_dict(), indent=2) + "\n", "utf-8")
    if shares is None:
        return SplitResult(proposal, lists, None)
    written = "/".join(f"{share:g}" for share in shares.values())
    batch = add_edits(
        home,
        [Edit("split", name, part or "") for name, part in proposal.splits.items()],
        f"split {written}, seed {seed}",
    )
    return SplitResult(proposal, lists, batch)


def parse_fractions(text: str) -> dict[str, float]:
    """`0.7,0.15,0.15` (train, val, test) or `train=0.8,test=0.2`. ConfigError for anything else."""
    parts = [part.strip() for part in text.split(",")]
    try:
        if all("=" in part for part in parts):
            found = {name.strip(): float(share) for name, _, share in (part.partition("=") for part in parts)}
            if len(found) == len(parts):
                return found
        elif len(parts) == 3:
            return dict(zip(FRACTIONS, map(float, parts), strict=True))
    except ValueError:
        pass
    raise ConfigError(
        f"{argument('fractions')} {text}: give three shares (0.7,0.15,0.15) or names with shares (train=0.8,test=0.2)"
    )


def _groups(path: Path, known: set[str]) -> dict[str, str]:
    try:
        rows = csv.DictReader(io.StringIO(path.read_text("utf-8-sig")))
        if not {"sample", "group"} <= set(rows.fieldnames or ()):
            raise DataError(f"{path}:1: needs the columns sample and group; it has {sorted(rows.fieldnames or ())}")
        groups = {row["sample"]: row["group"] or "" for row in rows if row["sample"]}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a UTF-8 table ({error}); save it as CSV") from None
    if not known & groups.keys():
        raise DataError(f"{path}: names none of the samples; they are called like {min(known)!r}")
    return groups
