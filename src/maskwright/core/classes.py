"""ClassTree: the ids, names, colours and parents of a dataset's classes.

Three numbers name a class and are never mixed up:

- its *id* is the pixel value in index masks and never changes behind the user's back;
- its *index* is its position 0..K-1 among the leaves: the channel of a model, the row of a
  confusion matrix;
- `IGNORE` (255) is the index of pixels that do not count, whatever value marks them in the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from maskwright.core.palette import Colour, colour_of, from_hex, to_hex
from maskwright.errors import ConfigError, DataError

IGNORE = 255
MAX_CLASSES = 254
MAX_ID = 65535


@dataclass(frozen=True)
class ClassInfo:
    """One leaf class. `parents` are the names of its groups from the root down, empty in a flat list."""

    id: int
    name: str
    colour: Colour
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassTree:
    """The leaf classes in order and the pixel value that means "do not count"."""

    leaves: tuple[ClassInfo, ...]
    ignore: int = 255

    def __post_init__(self) -> None:
        problems = []
        ids = [leaf.id for leaf in self.leaves]
        names = [leaf.name for leaf in self.leaves]
        groups = {parent for leaf in self.leaves for parent in leaf.parents}
        if not 1 <= len(ids) <= MAX_CLASSES:
            problems.append(f"{len(ids)} classes given; 1 to {MAX_CLASSES} are possible")
        for value in sorted({i for i in ids if ids.count(i) > 1}):
            problems.append(f"id {value} is given to two classes; ids must differ")
        for name in sorted({n for n in names if names.count(n) > 1 or n in groups}):
            problems.append(f"the name {name!r} is given twice; names must differ")
        problems += [f"id {i} is outside 0..{MAX_ID}" for i in ids if not 0 <= i <= MAX_ID]
        if self.ignore in ids:
            problems.append(f"id {self.ignore} is both a class and the ignore id; choose another `ignore`")
        if problems:
            raise ConfigError([f"classes: {problem}" for problem in problems])

    @classmethod
    def flat(cls, names: Sequence[str], ids: Sequence[int] | None = None, ignore: int = 255) -> ClassTree:
        """A tree of depth 1 with the default colours; ids 0, 1, 2, … unless given."""
        numbers = range(len(names)) if ids is None else ids
        return cls(tuple(ClassInfo(id_, name, colour_of(i))
                         for i, (id_, name) in enumerate(zip(numbers, names, strict=True))), ignore)

    def __len__(self) -> int:
        return len(self.leaves)

    @property
    def ids(self) -> list[int]:
        """Pixel values by index."""
        return [leaf.id for leaf in self.leaves]

    @property
    def names(self) -> list[str]:
        """Names by index."""
        return [leaf.name for leaf in self.leaves]

    @property
    def colours(self) -> npt.NDArray[np.uint8]:
        """(K, 3) uint8 RGB by index."""
        return np.array([leaf.colour for leaf in self.leaves], np.uint8).reshape(-1, 3)

    @cached_property
    def _index_of_id(self) -> npt.NDArray[np.int16]:
        table = np.full(MAX_ID + 1, -1, np.int16)
        table[self.ids] = np.arange(len(self))
        table[self.ignore] = IGNORE
        return table

    def unknown_ids(self, ids: npt.NDArray[Any]) -> dict[int, int]:
        """Pixel values in an id mask (H, W) that are neither a class nor ignore, with their counts."""
        counts = np.bincount(ids.reshape(-1))
        present = np.flatnonzero(counts)
        return {int(i): int(counts[i]) for i in present if self._index_of_id[i] < 0}

    def to_indices(self, ids: npt.NDArray[Any], source: str = "mask") -> npt.NDArray[np.uint8]:
        """Ids (H, W) unsigned -> indices (H, W) uint8 with `IGNORE`; DataError names unknown ids."""
        indices = self._index_of_id[ids]
        if indices.size and indices.min() < 0:
            unknown = self.unknown_ids(ids)
            listed = ", ".join(f"{i} ({n} px)" for i, n in list(unknown.items())[:5])
            raise DataError(f"{source}: holds ids that are no class: {listed}; "
                            f"add them to `classes` in dataset.yaml or correct the mask (known: {self.ids})")
        return np.asarray(indices, np.uint8)

    def to_ids(self, indices: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """Indices (H, W) uint8 -> ids, uint8 when every id fits, else uint16; `IGNORE` becomes `ignore`."""
        wide = max(*self.ids, self.ignore) > 255
        table = np.zeros(256, np.uint16 if wide else np.uint8)
        table[: len(self)] = self.ids
        table[IGNORE] = self.ignore
        return table[indices]

    @property
    def depth(self) -> int:
        """Levels of the tree; 1 for a flat list."""
        return max(len(leaf.parents) for leaf in self.leaves) + 1

    def groups(self, level: int) -> dict[str, list[int]]:
        """Names at `level` (1 = top) with the indices of their leaves; a shallow leaf stands for itself."""
        groups: dict[str, list[int]] = {}
        for index, leaf in enumerate(self.leaves):
            groups.setdefault((*leaf.parents, leaf.name)[:level][-1], []).append(index)
        return groups

    def to_dict(self) -> dict[str, Any]:
        """For checkpoints and reports; `from_dict` reads it back."""
        return {"ignore": self.ignore, "leaves": [
            {"id": leaf.id, "name": leaf.name, "colour": to_hex(leaf.colour), "parents": list(leaf.parents)}
            for leaf in self.leaves]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ClassTree:
        """The inverse of `to_dict`."""
        return cls(tuple(ClassInfo(int(leaf["id"]), str(leaf["name"]), from_hex(leaf["colour"]),
                                   tuple(map(str, leaf["parents"]))) for leaf in data["leaves"]), int(data["ignore"]))
