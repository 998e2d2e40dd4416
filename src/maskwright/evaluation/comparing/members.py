"""The runs of a comparison: found on disk, with their evaluation of a split, seeds of one config put together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from maskwright.base import strictyaml
from maskwright.base.storage import dump_json
from maskwright.evaluation.guarding.number import Number
from maskwright.evaluation.metrics import Marginals
from maskwright.evaluation.scoring.evaluation import Evaluation, newest
from maskwright.run import Run, flat


@dataclass(frozen=True)
class Member:
    """A run, or a folder that masks of another tool were evaluated in, with its evaluation of the split.

    `info` and `config` (dotted keys) are empty where there is no run. `name` is unique in the comparison.
    """

    name: str
    run: Run
    info: dict[str, Any]
    config: dict[str, Any]
    scored: Evaluation

    @cached_property
    def counts(self) -> Marginals:
        """(N, K) a part, in the order of the evaluation."""
        return Marginals.of(self.scored.confusions)

    @cached_property
    def number(self) -> Number:
        """What the guard looks at."""
        return self.scored.number(self.name, self.run if self.info else None)

    @cached_property
    def scored_on(self) -> tuple[object, ...]:
        """Equal for members that were scored on the same images by the same truth."""
        return tuple(self.scored.names), tuple(self.scored.classes), self.counts.true.tobytes()

    @cached_property
    def best_on_val(self) -> float | None:
        """The validation mIoU of its best checkpoint by its log; the highest where no row is marked as the best."""
        rows = [row for row in self.run.metrics.read() if row.get("val_mIoU") is not None]
        chosen = [row["val_mIoU"] for row in rows if row.get("best")]
        return chosen[-1] if chosen else max((row["val_mIoU"] for row in rows), default=None)


def members_of(runs: Sequence[Run], split: str) -> tuple[list[Member], list[Run]]:
    """The runs that are evaluated on a split, and those that are not."""
    names = _names([run.path for run in runs])
    found, missing = [], []
    for run, name in zip(runs, names, strict=True):
        scored = newest(run, split)
        if scored is None:
            missing.append(run)
        elif run.info_file.is_file():
            found.append(Member(name, run, run.info(), flat(strictyaml.read(run.config_file).data), scored))
        else:
            found.append(Member(name, run, {}, {}, scored))
    return found, missing


def _names(paths: Sequence[Path]) -> list[str]:
    """The folders' own names, with as many of their parents as tell them apart."""
    parts = [path.resolve().parts for path in paths]
    length = 1
    while len({part[-length:] for part in parts}) < len(parts):
        length += 1
    return ["/".join(part[-length:]) for part in parts]


def recipes(members: Sequence[Member]) -> list[list[Member]]:
    """Members that differ only in the seed (`Run.recipe`) put together; in order of appearance.

    What has no config is apart, and so is the same seed once more.
    """
    found: dict[str, list[Member]] = {}
    for place, member in enumerate(members):
        key = member.run.recipe() if member.config else f"{place}"
        if any(other.config.get("seed") == member.config.get("seed") for other in found.get(key, [])):
            key = f"{place}"
        found.setdefault(key, []).append(member)
    return list(found.values())


def recipe_name(members: Sequence[Member]) -> str:
    """The name of a single run, or what the names of several begin with."""
    names = [member.name for member in members]
    if len(names) == 1:
        return names[0]
    same = next((i for i, letters in enumerate(zip(*names, strict=False)) if len({*letters}) > 1), len(min(names)))
    # What unet-ce-seed1 and unet-ce-seed2 begin with is called unet-ce.
    common = re.sub(r"[-_. ]*(seed|s)?[-_. =]*\d*$", "", names[0][:same])
    return common or names[0]


def differing(recipes: Sequence[Sequence[Member]]) -> dict[str, list[Any]]:
    """The keys in which the configs of recipes differ, each with its value in all of them (None where it has none). A
    dataset differs by what it holds, not by where it lies; an empty list or mapping counts as no value, since in others
    its keys stand one by one."""
    firsts = [members[0] for members in recipes]
    keys = dict.fromkeys(key for member in firsts for key in member.config if key != "seed")
    if len({member.info.get("dataset", {}).get("version") for member in firsts if member.info}) < 2:
        keys.pop("data.root", None)
    values = {
        key: [None if (value := member.config.get(key)) in ({}, []) else value for member in firsts] for key in keys
    }
    return {key: row for key, row in values.items() if len({dump_json(value) for value in row}) > 1}
