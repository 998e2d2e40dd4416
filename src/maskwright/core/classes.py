"""ClassTree: the ids, names, colours and parents of a dataset's classes, and the levels that they make.

Three numbers name a class and are never mixed up:

- its *id* is the pixel value in index masks and never changes behind the user's back;
- its *index* is its position 0..K-1 among the leaves: the channel of a model, the row of a
  confusion matrix;
- `IGNORE` (255) is the index of pixels that do not count, whatever value marks them in the files.

A model, a mask and a confusion matrix know leaves only. What holds above them (masks, scores and losses of a
level) is made from them by the tables of a `Level`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from maskwright.base.strictyaml import did_you_mean
from maskwright.core.palette import Colour, colour_of, from_hex, to_hex
from maskwright.errors import ConfigError, DataError, argument

IGNORE = 255
# What marks them in files that do not say.
IGNORE_ID = 255
MAX_CLASSES = 254
MAX_ID = 65535
# Names of the class that stands for "no object", and for pixels without a region, in lower case.
BACKGROUND_NAMES = frozenset({"background", "_background_", "__background__", "bg"})
# No one has said which class that is; see `ClassTree`.
BY_RULE = -1
NamePath = tuple[str, ...]
Number = TypeVar("Number", np.int64, np.float64)

# How probabilities of leaves become one class a pixel at each level.
Selector = Literal["leaf", "levels", "top_down"]
SELECTORS: dict[Selector, str] = {
    "leaf": "the most probable leaf; its groups are implied",
    "levels": "at each level the most probable class, a group's probability being the sum over its leaves; levels may "
    "contradict each other, and the share of such pixels is reported",
    "top_down": "from the top, the most probable of the chosen group's children, down to a leaf; never a contradiction",
}


def free_ignore_id(taken: Collection[int]) -> int:
    """The id for pixels that do not count, where classes have the ids `taken`."""
    free: Iterator[int] = (id_ for id_ in (IGNORE_ID, *range(MAX_ID, 0, -1)) if id_ not in taken)
    return next(free)


@dataclass(frozen=True)
class ClassInfo:
    """One leaf class. `parents` are the names of its groups from the root down, empty in a flat list."""

    id: int
    name: str
    colour: Colour
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassTree:
    """The leaf classes in order, the pixel value that means "do not count", and the role of the background.

    The background is the class that stands for "no object": what annotations leave out, what an error of the kind
    `missed` takes an object for, what pictures do not tint. `background_id` is its id, None where every class is an
    object, as `background:` in dataset.yaml says. Where nobody has said (`BY_RULE`), it is the first class with one of
    `BACKGROUND_NAMES` (in any case), else the class with id 0, else none. The class with id 0 is then only *assumed* to
    be it: annotation files still draw it like the others, since leaving a class out on an assumption would lose data.

    The role changes no mask, so trees that differ in it alone are equal.
    """

    leaves: tuple[ClassInfo, ...]
    ignore: int = IGNORE_ID
    background_id: int | None = field(default=BY_RULE, compare=False)

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
        if self.background_id not in (None, BY_RULE, *ids):
            problems.append(
                f"background: {self.background_id} is the id of no class; give one of {ids}, or null where "
                "every class is an object"
            )
        if problems:
            raise ConfigError(
                [problem if problem.startswith("background: ") else f"classes: {problem}" for problem in problems]
            )

    @classmethod
    def flat(cls, names: Sequence[str], ids: Sequence[int] | None = None, ignore: int = IGNORE_ID) -> ClassTree:
        """A tree of depth 1 with the default colours; ids 0, 1, 2, … unless given."""
        numbers = range(len(names)) if ids is None else ids
        return cls(
            tuple(ClassInfo(id_, name, colour_of(i)) for i, (id_, name) in enumerate(zip(numbers, names, strict=True))),
            ignore,
        )

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
    def parents(self) -> list[NamePath]:
        """The groups of each leaf by index, from the root down."""
        return [leaf.parents for leaf in self.leaves]

    @property
    def colours(self) -> npt.NDArray[np.uint8]:
        """(K, 3) uint8 RGB by index."""
        return np.array([leaf.colour for leaf in self.leaves], np.uint8).reshape(-1, 3)

    @cached_property
    def background(self) -> int | None:
        """The index of the class that stands for "no object", None where every class is one."""
        if self.background_id != BY_RULE:
            return None if self.background_id is None else self.ids.index(self.background_id)
        named = self._named_background
        return named if named is not None else self.ids.index(0) if 0 in self.ids else None

    @property
    def background_assumed(self) -> bool:
        """Whether the background is only assumed from its id 0: nobody said so, and its name does not tell."""
        return self.background_id == BY_RULE and self.background is not None and self._named_background is None

    @cached_property
    def _named_background(self) -> int | None:
        return next((i for i, name in enumerate(self.names) if name.lower() in BACKGROUND_NAMES), None)

    def background_of(self, name: str | None) -> int | None:
        """The index of the background that a user asked for: `name` is a class, or "none" where every class is an
        object; the role of this tree when left out. ConfigError for no class."""
        if name is None:
            return self.background
        if name in self.names:
            return self.names.index(name)
        if name == "none":
            return None
        raise ConfigError(f"{argument('background')} {name}: there is no such class{did_you_mean(name, self.names)}")

    def stored_as(self, leaves: Iterable[ClassInfo], ignore: int) -> ClassTree:
        """These classes with other ids and colours, or some of them, found by their names; the role is kept."""
        kept, role = tuple(leaves), self.background_id
        if role not in (None, BY_RULE):
            name = self.names[self.ids.index(role)]
            # A background that is left out is nobody's role any more, and no other class takes it over.
            role = next((leaf.id for leaf in kept if leaf.name == name), None)
        return ClassTree(kept, ignore, role)

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
            raise DataError(
                f"{source}: unknown class ids: {listed}; "
                f"add them to `classes` in dataset.yaml or correct the mask (known: {self.ids})"
            )
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

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """The levels from the top to the leaves; one for a flat list."""
        return tuple(_levels(self))

    @property
    def structure(self) -> list[list[int]]:
        """The tree without its names: of each level, from the top, the class of each leaf."""
        return [list(level.class_of) for level in self.levels]

    def to_dict(self, *, role: bool = True) -> dict[str, Any]:
        """For checkpoints and reports; `from_dict` reads it back. `background` is there where somebody said it, unless
        the `role` is left out, as in what identifies the content of masks."""
        said = role and self.background_id != BY_RULE
        return {
            "ignore": self.ignore,
            "leaves": [
                {"id": leaf.id, "name": leaf.name, "colour": to_hex(leaf.colour), "parents": list(leaf.parents)}
                for leaf in self.leaves
            ],
        } | ({"background": self.background_id} if said else {})

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ClassTree:
        """The inverse of `to_dict`."""
        return cls(
            tuple(
                ClassInfo(
                    int(leaf["id"]), str(leaf["name"]), from_hex(leaf["colour"]), tuple(map(str, leaf["parents"]))
                )
                for leaf in data["leaves"]
            ),
            int(data["ignore"]),
            data.get("background", BY_RULE),
        )


@dataclass(frozen=True)
class Level:
    """One level of a tree: its classes, and the tables that lead to them from the leaves and from the level above.

    A class of a level is a group, or a leaf that lies at this level or above: a shallow leaf stands for itself on
    every deeper level. They stand in the order of their first leaves, so the last level is the leaves themselves.
    `classes` is the flat list of them: leaves as they are; groups with the smallest ids that no leaf has, one colour
    of the palette each, and their name, with its parents where the level has that name twice. `paths` are their names
    from the root down. `class_of` (K,) is the class of each leaf, `parent_of` (M,) the one above (itself at level 1).
    """

    number: int
    classes: ClassTree
    paths: tuple[NamePath, ...]
    class_of: tuple[int, ...]
    parent_of: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.classes)

    @cached_property
    def members(self) -> tuple[tuple[int, ...], ...]:
        """The leaf indices of each class."""
        return tuple(
            tuple(leaf for leaf, own in enumerate(self.class_of) if own == index) for index in range(len(self))
        )

    @cached_property
    def table(self) -> npt.NDArray[np.uint8]:
        """(256,) leaf index to class index; `IGNORE` stays, and what is no leaf becomes 254, which is no class."""
        table = np.full(256, 254, np.uint8)
        table[: len(self.class_of)] = self.class_of
        table[IGNORE] = IGNORE
        return table

    def mask(self, leaves: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Leaf indices (H, W) uint8 to the indices of this level, same shape; `IGNORE` stays."""
        return self.table[leaves]

    def sums(self, leaves: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """Counts or shares (..., K) of leaves to those of this level (..., M): sums over the leaves of each class."""
        return np.stack([leaves[..., list(members)].sum(-1) for members in self.members], -1)


def _levels(tree: ClassTree) -> Iterator[Level]:
    full = {(*leaf.parents, leaf.name): leaf for leaf in tree.leaves}
    free_ids = (id_ for id_ in count() if id_ not in {*tree.ids, tree.ignore})
    palette = [colour_of(position) for position in range(MAX_CLASSES)]
    used = {leaf.colour for leaf in tree.leaves}
    above: dict[NamePath, int] = {}
    for number in range(1, tree.depth + 1):
        paths = list(dict.fromkeys(path[:number] for path in full))
        names = _names(paths)
        colours = {full[path].colour for path in paths if path in full}
        classes = []
        for path, name in zip(paths, names, strict=True):
            if path in full:
                classes.append(full[path])
                continue
            # A colour that this level does not have always exists; one that no other class has is better still.
            colour = min(palette, key=lambda colour: (colour in colours, colour in used))
            colours.add(colour)
            used.add(colour)
            classes.append(ClassInfo(next(free_ids), name, colour))
        own = {path: index for index, path in enumerate(paths)}
        role = tree.background_id
        if role != BY_RULE and role not in [one.id for one in classes]:
            role = None  # it is a part of a group here
        flat = ClassTree(tuple(ClassInfo(one.id, one.name, one.colour) for one in classes), tree.ignore, role)
        parents = (above[path if path in above else path[:-1]] if above else own[path] for path in paths)
        yield Level(number, flat, tuple(paths), tuple(own[path[:number]] for path in full), tuple(parents))
        above = own


def _names(paths: Sequence[NamePath]) -> list[str]:
    """The last part of each path, or all of it where that part is not the only one; never the same text twice."""
    seen = Counter(path[-1] for path in paths)
    names: list[str] = []
    for path in paths:
        name = path[-1] if seen[path[-1]] == 1 else " / ".join(path)
        while name != path[-1] and (name in seen or name in names):  # a class may have just this text as its name
            name += "*"
        names.append(name)
    return names
