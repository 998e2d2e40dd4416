"""Class trees of any shape: ragged, with names that come again at other places, and groups of one child."""

from __future__ import annotations

from hypothesis import strategies as st

from maskwright.core.classes import ClassInfo, ClassTree
from maskwright.core.palette import colour_of


def nested(*paths: tuple[str, ...]) -> ClassTree:
    """A leaf with the id 0, 1, 2, … at the end of each path."""
    return ClassTree(tuple(ClassInfo(i, path[-1], colour_of(i), path[:-1]) for i, path in enumerate(paths)))


# background, head{hair, face{skin, eyes, mouth, nose}}
FACES = nested(
    ("background",), ("head", "hair"), *(("head", "face", name) for name in ("skin", "eyes", "mouth", "nose"))
)


@st.composite
def nested_trees(draw: st.DrawFn, least: int = 1) -> ClassTree:
    """Trees of `least` to 8 leaves and up to 4 levels, in any order of leaves, with any ids."""
    groups = st.lists(st.sampled_from(["a", "b", "a / b"]), max_size=3)
    parents = draw(st.lists(groups, min_size=least, max_size=8))
    ids = draw(st.lists(st.integers(0, 12), min_size=len(parents), max_size=len(parents), unique=True))
    colours = draw(st.permutations([colour_of(i) for i in range(12)]))
    return ClassTree(tuple(ClassInfo(ids[i], f"leaf {i}", colours[i], tuple(above)) for i, above in enumerate(parents)))
