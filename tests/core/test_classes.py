"""ClassTree: ids, indices and levels, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

import maskwright
from maskwright.base.limits import MAX_PIXELS
from maskwright.core.classes import IGNORE, IGNORE_ID, MAX_CLASSES, ClassInfo, ClassTree, free_ignore_id
from maskwright.core.description import DatasetFile
from maskwright.core.palette import colour_of
from maskwright.errors import ConfigError, DataError
from nested import nested, nested_trees


@st.composite
def trees(draw: st.DrawFn) -> ClassTree:
    ids = draw(st.lists(st.integers(0, 300) | st.integers(65000, 65535), min_size=2, max_size=9, unique=True))
    return ClassTree.flat([f"n{i}" for i in range(len(ids) - 1)], ids[:-1], ignore=ids[-1])


@given(trees(), st.data())
def test_ids_and_indices_are_inverses(tree: ClassTree, data: st.DataObject) -> None:
    shape = hnp.array_shapes(min_dims=2, max_dims=2, max_side=8)
    indices = data.draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([*range(len(tree)), IGNORE])))
    ids = tree.to_ids(indices)
    assert ids.dtype == (np.uint16 if max(*tree.ids, tree.ignore) > 255 else np.uint8)
    expected = [tree.ignore if i == IGNORE else tree.ids[i] for i in indices.ravel().tolist()]
    assert ids.ravel().tolist() == expected
    back = tree.to_indices(ids)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, indices)
    assert tree.unknown_ids(ids) == {}


def test_unknown_ids_are_named_with_their_counts() -> None:
    tree = ClassTree.flat(["a", "b"], [0, 7])
    mask = np.array([[0, 7, 255], [3, 3, 9]], np.uint8)
    assert tree.unknown_ids(mask) == {3: 2, 9: 1}
    with pytest.raises(DataError, match=r"m\.png: .*unknown class ids: 3 \(2 px\), 9 \(1 px\).*known: \[0, 7\]"):
        tree.to_indices(mask, "m.png")


def test_255_is_a_class_like_any_other_when_ignore_is_elsewhere() -> None:
    tree = ClassTree.flat(["a", "b"], [0, 255], ignore=100)
    indices = tree.to_indices(np.array([[0, 255, 100]], np.uint8))
    assert indices.tolist() == [[0, 1, IGNORE]]
    assert tree.to_ids(indices).tolist() == [[0, 255, 100]]


@pytest.mark.parametrize(
    ("names", "ids", "ignore", "what"),
    [
        ([], [], 255, "0 classes given"),
        (["a", "a"], [0, 1], 255, "'a' is given twice"),
        (["a", "b"], [1, 1], 255, "id 1 is given to two classes"),
        (["a"], [65536], 255, "id 65536 is outside"),
        (["a"], [-1], 255, "id -1 is outside"),
        (["a", "b"], [0, 255], 255, "id 255 is both"),
        ([f"n{i}" for i in range(MAX_CLASSES + 1)], list(range(MAX_CLASSES + 1)), 300, "255 classes given"),
    ],
)
def test_refused(names: list[str], ids: list[int], ignore: int, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        ClassTree.flat(names, ids, ignore)


def test_all_faults_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        ClassTree.flat(["a", "a", "b"], [1, 1, 255])
    assert len(raised.value.problems) == 3
    assert all(problem.startswith("classes: ") for problem in raised.value.problems)


# background, head{hair, face{skin, eyes, mouth, nose}}: a ragged tree.
FACES = {
    "layout": "flat",
    "images": {"folder": "i"},
    "masks": {"folder": "m"},
    "classes": [
        {"id": 0, "name": "background"},
        {
            "name": "head",
            "children": [
                {"id": 2, "name": "hair"},
                {
                    "name": "face",
                    "children": [
                        {"id": 1, "name": "skin"},
                        {"id": 3, "name": "eyes"},
                        {"id": 4, "name": "mouth"},
                        {"id": 5, "name": "nose"},
                    ],
                },
            ],
        },
    ],
}


class TestTree:
    def tree(self) -> ClassTree:
        return DatasetFile.model_validate(FACES).class_tree()

    def test_levels_of_a_ragged_tree(self) -> None:
        tree = self.tree()
        assert tree.depth == len(tree.levels) == 3
        assert tree.ids == [0, 2, 1, 3, 4, 5]  # in the order written; ids are not shifted
        top, middle, bottom = tree.levels
        assert [level.number for level in tree.levels] == [1, 2, 3]
        assert top.classes.names == ["background", "head"] and top.members == ((0,), (1, 2, 3, 4, 5))
        assert middle.classes.names == ["background", "hair", "face"] and middle.members == ((0,), (1,), (2, 3, 4, 5))
        assert bottom.classes.names == tree.names and bottom.class_of == (0, 1, 2, 3, 4, 5)
        assert (top.parent_of, middle.parent_of, bottom.parent_of) == ((0, 1), (0, 1, 1), (0, 1, 2, 2, 2, 2))
        # Leaves keep their ids and colours on every level; groups get the first free ids.
        assert [level.classes.ids for level in tree.levels] == [[0, 6], [0, 2, 7], [0, 2, 1, 3, 4, 5]]
        assert bottom.classes.leaves[1].colour == middle.classes.leaves[1].colour == tree.leaves[1].colour

    def test_masks_and_counts_of_a_level(self) -> None:
        mask = np.array([[0, 1, 2], [5, 255, 1]], np.uint8)
        top, middle, bottom = self.tree().levels
        assert top.mask(mask).tolist() == [[0, 1, 1], [1, 255, 1]]
        assert middle.mask(mask).tolist() == [[0, 1, 2], [2, 255, 1]]
        assert bottom.mask(mask).tolist() == mask.tolist() and top.mask(mask).dtype == np.uint8
        assert top.mask(np.array([[6, 200]], np.uint8)).tolist() == [[254, 254]]  # stays what it is: no class
        assert middle.sums(np.array([[9, 8, 1, 2, 3, 4]])).tolist() == [[9, 8, 10]]

    def test_colours_follow_the_position(self) -> None:
        assert len({tuple(c) for c in self.tree().colours.tolist()}) == 6

    def test_faults_in_the_tree(self) -> None:
        broken = FACES | {"classes": [{"name": "x"}, {"id": 1, "name": "y", "children": [{"id": 2, "name": "z"}]}]}
        with pytest.raises(ConfigError) as raised:
            DatasetFile.model_validate(broken).class_tree()
        assert len(raised.value.problems) == 2
        twice = FACES | {"classes": [{"name": "x", "children": [{"id": 2, "name": "x"}]}]}
        with pytest.raises(ConfigError, match="'x' is given twice"):
            DatasetFile.model_validate(twice).class_tree()

    def test_a_group_that_stands_twice_and_a_group_with_a_colour_are_refused(self) -> None:
        groups = [{"name": "x", "children": [{"id": i, "name": f"n{i}"}]} for i in (1, 2)]
        with pytest.raises(ConfigError, match="the group 'x' stands twice at one place; put its children together"):
            DatasetFile.model_validate(FACES | {"classes": groups}).class_tree()
        with pytest.raises(ConfigError, match="'x' is a group, whose colour is made; remove `colour`"):
            DatasetFile.model_validate(FACES | {"classes": [groups[0] | {"colour": "#010203"}]}).class_tree()

    def test_round_trip_through_json(self) -> None:
        tree = self.tree()
        assert ClassTree.from_dict(json.loads(json.dumps(tree.to_dict()))) == tree


def test_a_flat_list_is_a_tree_of_depth_one() -> None:
    tree = ClassTree((ClassInfo(4, "a", (1, 2, 3)), ClassInfo(2, "b", (3, 4, 5))), ignore=0)
    assert tree.depth == len(tree.levels) == 1
    assert tree.levels[0].classes == tree and tree.levels[0].parent_of == tree.levels[0].class_of == (0, 1)
    assert tree.colours.tolist() == [[1, 2, 3], [3, 4, 5]]


def test_groups_of_one_name_at_different_places_are_told_apart() -> None:
    tree = nested(("car", "parts", "wheel"), ("bus", "parts", "seat"), ("bus", "parts", "door"), ("car / parts",))
    top, middle, _ = tree.levels
    assert top.classes.names == ["car", "bus", "car / parts"]
    assert middle.paths == (("car", "parts"), ("bus", "parts"), ("car / parts",))
    assert middle.classes.names == ["car / parts*", "bus / parts", "car / parts"]  # a leaf has that very name
    assert middle.members == ((0,), (1, 2), (3,))
    assert nested(("a", "a", "x"), ("a", "b", "y")).levels[1].classes.names == ["a", "b"]


def test_a_colour_is_found_for_every_group_of_a_wide_tree() -> None:
    tree = ClassTree(tuple(ClassInfo(i, f"n{i}", colour_of(i), (f"g{i // 2}",)) for i in range(MAX_CLASSES)), 255)
    assert len({leaf.colour for leaf in tree.levels[0].classes.leaves}) == MAX_CLASSES // 2
    assert tree.levels[0].classes.ids[:3] == [254, 256, 257]  # neither a leaf nor ignored


@given(nested_trees())
def test_every_level_is_a_partition_that_the_next_one_refines(tree: ClassTree) -> None:
    known: dict[int, tuple[str, ...]] = {}
    for level in tree.levels:
        assert sorted(leaf for members in level.members for leaf in members) == list(range(len(tree)))
        for index, path in enumerate(level.paths):
            assert level.members[index] == tuple(
                i for i, leaf in enumerate(tree.leaves) if (*leaf.parents, leaf.name)[: level.number] == path
            )
            assert known.setdefault(level.classes.ids[index], path) == path  # an id means one thing in the whole tree
        colours = [leaf.colour for leaf in level.classes.leaves]
        assert len(set(colours)) == len(level) == len(set(level.paths)) == len(set(level.classes.names))
        above = tree.levels[max(level.number - 2, 0)]
        assert all(above.class_of[leaf] == level.parent_of[own] for leaf, own in enumerate(level.class_of))
    assert tree.levels[-1].classes.names == tree.names and tree.levels[-1].classes.ids == tree.ids
    assert not {*tree.ids, tree.ignore} & {id_ for id_, path in known.items() if path not in tree.levels[-1].paths}


@given(nested_trees(), st.randoms(use_true_random=False))
def test_the_order_of_the_leaves_does_not_matter(tree: ClassTree, random: Random) -> None:
    order = random.sample(range(len(tree)), len(tree))
    other = ClassTree(tuple(tree.leaves[i] for i in order), tree.ignore)
    for before, after in zip(tree.levels, other.levels, strict=True):
        assert {
            path: {tree.names[i] for i in members} for path, members in zip(before.paths, before.members, strict=True)
        } == {path: {other.names[i] for i in members} for path, members in zip(after.paths, after.members, strict=True)}


def test_the_id_of_pixels_that_do_not_count_is_one_that_no_class_has() -> None:
    assert free_ignore_id([0, 1]) == IGNORE_ID == ClassTree.flat(["a"]).ignore
    assert free_ignore_id([0, 255]) == 65535
    assert free_ignore_id([0, 255, 65535, 65534]) == 65533


def test_limits_and_ignored_pixels_have_one_name_each() -> None:
    """A second constant for the same thing, or its bare number, would one day differ."""
    root = Path(maskwright.__file__).parent
    texts = {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in root.rglob("*.py")}
    for name, home in (("MAX_PIXELS", "base/limits.py"), ("IGNORE", "core/classes.py")):
        assert [path for path, text in texts.items() if re.search(rf"^{name} = ", text, re.MULTILINE)] == [home]
    assert Image.MAX_IMAGE_PIXELS and MAX_PIXELS == 2 * Image.MAX_IMAGE_PIXELS
    bare = r"ignore(: int( \| None)?)? ?= ?255|mask [!=]= 255"
    assert [path for path, text in texts.items() if re.search(bare, text)] == []
