"""Post-processing: what is done with a predicted mask before anybody sees it. Needs no torch.

The order is fixed, and so is the result: first probabilities are smoothed (`core.smoothing`), then pixels get their
class, then components go, of all classes at once, then holes are filled, class by class. A component is what hangs
together over edges and corners, a hole over edges alone; then every hole lies in one component.

- `min_probability`: the class is given only to pixels where it is at least so probable (0..1). A pixel gets the most
  probable of the classes that may have it; where none may, the most probable of all.
- `min_pixels`: components of fewer pixels go. `largest_only`: all but the largest one go; of several, the first from
  the top and the left stays. Where components that go touch, they are one gap. A gap becomes the class that most of its
  outer edge touches, of several the first one; one that touches none stays.
- `fill_holes`: what lies in one component of the class, does not touch the border of the image and has no more pixels
  than that becomes the class.

Pixels are those of the image at its own size. They can be counted in any viewer, and mean the same whether a model sees
whole images or windows of them; a share of the image would be another size of object in each image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import cc3d
import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.smoothing import Smoothing
from maskwright.core.tiles import Maps
from maskwright.errors import DataError

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint32]
_MOST_RADIUS = 1000  # pixels of a smoothing; files may say anything
# The sides of the blocks of an image that is not held, and the most that is looked at around one.
_BLOCK, _AROUND = 2048, 2048
# Top, bottom, left and right.
_Sides = tuple[bool, bool, bool, bool]
_UNCUT: _Sides = (False, False, False, False)


@dataclass(frozen=True)
class ClassRule:
    """What is done with the pixels of the class called `name`; the defaults leave them as they are."""

    name: str
    min_pixels: int = 0
    fill_holes: int = 0
    largest_only: bool = False
    min_probability: float = 0.0

    @property
    def removes(self) -> bool:
        """Whether components may go."""
        return self.largest_only or self.min_pixels > 1

    def __bool__(self) -> bool:
        """Whether anything is done."""
        return self.removes or self.fill_holes > 0 or self.min_probability > 0

    def __str__(self) -> str:
        parts = [f"only where it is at least {self.min_probability:g} probable"] * (self.min_probability > 0)
        parts += [f"components below {self.min_pixels:,} pixels removed"] * (self.min_pixels > 1)
        parts += ["only the largest component kept"] * self.largest_only
        parts += [f"holes up to {self.fill_holes:,} pixels filled"] * (self.fill_holes > 0)
        return f"{self.name}: {', '.join(parts) or 'as predicted'}"


@dataclass(frozen=True)
class PostProcessing:
    """A rule for each class, in the order of their indices; and how the probabilities of all are smoothed, None for
    not at all."""

    rules: tuple[ClassRule, ...]
    smoothing: Smoothing | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` reads it back. Where there is no `min_probability` or smoothing it is left out, as in
        files from before there was any."""
        left_out = () if self.thresholds else ("min_probability",)
        rules = [{key: value for key, value in asdict(rule).items() if key not in left_out} for rule in self.rules]
        return {"rules": rules} | ({"smoothing": asdict(self.smoothing)} if self.smoothing else {})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], source: str) -> Self:
        """DataError for what `to_dict` does not write; `source` is where it stands."""
        try:
            rules = tuple(ClassRule(**rule) for rule in data["rules"])
            smoothing = Smoothing(**data["smoothing"]) if "smoothing" in data else None
            if not all(_plain(rule) for rule in rules) or not (smoothing is None or _usable(smoothing)):
                raise ValueError
        except (LookupError, TypeError, ValueError):
            raise DataError(
                f"{source}: its post-processing is damaged, or is from a newer Maskwright; tune again, or `pip install "
                "--upgrade maskwright`"
            ) from None
        return cls(rules, smoothing)

    def require(self, classes: ClassTree, source: str) -> None:
        """DataError unless the rules are those of these classes, and the background has none that removes it."""
        if [rule.name for rule in self.rules] != classes.names:
            raise DataError(f"{source}: its post-processing is for other classes than the model's; tune again")
        if classes.background is not None and self.rules[classes.background].removes:
            raise DataError(f"{source}: its post-processing removes the background, which is no object; tune again")

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The `min_probability` of each class; empty where there is none."""
        found = tuple(rule.min_probability for rule in self.rules)
        return found if any(found) else ()

    @property
    def changes_components(self) -> bool:
        """Whether anything is done with components and holes."""
        return any(rule.removes or rule.fill_holes for rule in self.rules)

    @property
    def largest_only(self) -> bool:
        """Whether of any class only the largest component stays."""
        return any(rule.largest_only for rule in self.rules)

    def allowed(self, maps: Maps) -> Maps:
        """The maps of leaves (see `core.tiles`) by whose largest value each pixel gets its class: probabilities, less 1
        where they are below the class's `min_probability`."""
        thresholds = self.thresholds

        def lowered(members: Sequence[int]) -> Any:
            values = maps(members)
            least = thresholds[members[0]] if len(members) == 1 else 0
            return values + (values < least) * np.float32(-1) if least else values

        return lowered if thresholds else maps

    def __bool__(self) -> bool:
        """Whether anything is done."""
        return self.smoothing is not None or any(map(bool, self.rules))

    def __str__(self) -> str:
        parts = [self.smoothing] if self.smoothing else []
        return "; ".join(map(str, [*parts, *(rule for rule in self.rules if rule)])) or "none"

    def apply(self, mask: Pixels) -> Pixels:
        """What is done with components and holes: a new mask of leaf indices (H, W) uint8. Ignored pixels stay, count
        as no class, and lie in holes as any others do. ValueError for an index that has no rule."""
        return self._applied(mask, _UNCUT)

    def _applied(self, mask: Pixels, cut: _Sides) -> Pixels:
        """`apply`; components that reach a side where the mask is `cut` are larger than they look, and stay."""
        if mask.size and (mask[mask != IGNORE] >= len(self.rules)).any():
            raise ValueError(f"mask: has indices that are none of {len(self.rules)} classes")
        found = mask.copy()
        gone = _gone(mask, self.rules, cut)
        if gone is not None:
            _close(found, gone, len(self.rules))
        for index, rule in enumerate(self.rules):
            if rule.fill_holes:
                holes, sizes = holes_of(found, index)
                small = sizes <= rule.fill_holes
                small[0] = False
                found[small[holes] & (found != IGNORE)] = index
        return found

    def apply_to_strips(
        self, strips: Iterable[Pixels], height: int, block: int = _BLOCK, around: int = _AROUND
    ) -> Iterator[Pixels]:
        """`apply` for a mask of which only some rows are held: rows (h, W) from the top, which add up to `height`.

        It is done in blocks, with so many pixels around them that components and holes that may go are seen whole; but
        never more than `around`, and what reaches beyond that stays. ValueError where only the largest component of a
        class is kept, which no block can know.
        """
        if self.largest_only:
            raise ValueError("largest_only: needs the whole mask")
        removed, filled = (max(getattr(rule, name) for rule in self.rules) for name in ("min_pixels", "fill_holes"))
        # A gap may consist of two components that touch, and a hole may appear where one has gone.
        around = min(around, 2 * removed + filled + 2)
        held, start, top = np.empty((0, 0), np.uint8), 0, 0  # the rows from `start` on, of which those from `top` wait
        for strip in strips:
            held = np.concatenate([held, strip]) if held.size else strip
            while (bottom := min(height, top + block)) > top and start + len(held) >= min(height, bottom + around):
                cut = (start > 0, bottom + around < height)
                yield self._of_block_row(held, (top - start, bottom - start), cut, block, around)
                top, before = bottom, start
                start = max(0, top - around)
                held = held[start - before :]

    def _of_block_row(
        self, held: Pixels, rows: tuple[int, int], cut: tuple[bool, bool], block: int, around: int
    ) -> Pixels:
        """The `rows` of those that are held, which are `cut` above and below."""
        found = np.empty((rows[1] - rows[0], held.shape[1]), np.uint8)
        width, window = held.shape[1], held[: rows[1] + around]
        for left in range(0, width, block):
            right, first = min(width, left + block), max(0, left - around)
            sides = (*cut, first > 0, right + around < width)
            done = self._applied(window[:, first : right + around], sides)
            found[:, left:right] = done[slice(*rows), left - first : right - first]
        return found


def _plain(rule: ClassRule) -> bool:
    numbers = (rule.min_pixels, rule.fill_holes)
    return (
        isinstance(rule.name, str)
        and isinstance(rule.largest_only, bool)
        and type(rule.min_probability) in (int, float)
        and 0 <= rule.min_probability <= 1
        and all(type(number) is int and number >= 0 for number in numbers)
    )


def _usable(smoothing: Smoothing) -> bool:
    radius, edge = smoothing.radius, smoothing.edge
    return type(radius) is int and 1 <= radius <= _MOST_RADIUS and type(edge) in (int, float) and 0 < edge <= 1


def components_of(mask: Pixels) -> tuple[Labels, npt.NDArray[np.int64], Pixels]:
    """Of a mask (H, W) of indices: (H, W) numbers of the components of all classes, 0 where ignored; the pixels of
    each, and its class, by number."""
    own = np.where(mask == IGNORE, 0, mask.astype(np.uint16) + 1).astype(np.uint16)
    found: Any = cc3d.connected_components(own, connectivity=8, out_dtype=np.uint32)
    labels: Labels = found.reshape(mask.shape)
    sizes: npt.NDArray[np.int64] = np.bincount(labels.reshape(-1), minlength=1)
    classes: Pixels = np.full(len(sizes), IGNORE, np.uint8)
    classes[labels.reshape(-1)] = mask.reshape(-1)
    classes[0] = IGNORE
    return labels, sizes, classes


def holes_of(mask: Pixels, index: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """(H, W) numbers of the holes in the components of a class, 0 elsewhere; and the pixels of each, by number."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((mask != index).astype(np.uint8), connectivity=4)
    sizes = stats[:, cv2.CC_STAT_AREA].astype(np.int64)
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    right, bottom = left + stats[:, cv2.CC_STAT_WIDTH], top + stats[:, cv2.CC_STAT_HEIGHT]
    inside = (left > 0) & (top > 0) & (right < mask.shape[1]) & (bottom < mask.shape[0])
    inside[0] = False
    numbers = np.zeros(count, np.int32)
    numbers[inside] = np.arange(1, int(inside.sum()) + 1)
    return numbers[labels], np.concatenate([[0], sizes[inside]])


def _gone(mask: Pixels, rules: Sequence[ClassRule], cut: _Sides) -> npt.NDArray[np.bool_] | None:
    """(H, W) where components go; None where none does."""
    if not any(rule.removes for rule in rules):
        return None
    labels, sizes, classes = components_of(mask)
    for edge, is_cut in zip((labels[:1], labels[-1:], labels[:, :1], labels[:, -1:]), cut, strict=True):
        if is_cut:
            sizes[edge] = mask.size + 1
    goes = np.zeros(len(sizes), np.bool_)
    for index, rule in enumerate(rules):
        own = classes == index
        if rule.min_pixels > 1:
            goes |= own & (sizes < rule.min_pixels)
        if rule.largest_only and own.any():
            (largest,) = np.nonzero(own & (sizes == sizes[own].max()))
            kept = largest[0] if len(largest) == 1 else labels.reshape(-1)[np.isin(labels, largest).argmax()]
            own[kept] = False
            goes |= own
    return goes[labels] if goes.any() else None


def _close(mask: Pixels, gone: npt.NDArray[np.bool_], classes: int) -> None:
    """Gives each gap the class that most of its outer edge touches, in place."""
    count, gaps = cv2.connectedComponents(gone.astype(np.uint8), connectivity=8)
    touched = np.zeros(count * classes, np.int64)
    kept = ~gone & (mask != IGNORE)
    for own, other in (
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
    ):
        edge = gone[own] & kept[other]
        pairs = gaps[own][edge].astype(np.int64) * classes + mask[other][edge]
        touched += np.bincount(pairs, minlength=len(touched))
    table = touched.reshape(count, classes)
    becomes = table.argmax(1).astype(np.uint8)
    closed = gone & (table.max(1) > 0)[gaps]
    mask[closed] = becomes[gaps[closed]]
