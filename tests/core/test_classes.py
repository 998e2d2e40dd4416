"""ClassTree: ids, indices and groups, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from maskwright.core.classes import IGNORE, MAX_CLASSES, ClassInfo, ClassTree
from maskwright.core.description import DatasetFile
from maskwright.errors import ConfigError, DataError


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
    with pytest.raises(DataError, match=r"m\.png: .*no class: 3 \(2 px\), 9 \(1 px\).*known: \[0, 7\]"):
        tree.to_indices(mask, "m.png")


def test_255_is_a_class_like_any_other_when_ignore_is_elsewhere() -> None:
    tree = ClassTree.flat(["a", "b"], [0, 255], ignore=100)
    indices = tree.to_indices(np.array([[0, 255, 100]], np.uint8))
    assert indices.tolist() == [[0, 1, IGNORE]]
    assert tree.to_ids(indices).tolist() == [[0, 255, 100]]


@pytest.mark.parametrize(("names", "ids", "ignore", "what"), [
    ([], [], 255, "0 classes given"),
    (["a", "a"], [0, 1], 255, "'a' is given twice"),
    (["a", "b"], [1, 1], 255, "id 1 is given to two classes"),
    (["a"], [65536], 255, "id 65536 is outside"),
    (["a"], [-1], 255, "id -1 is outside"),
    (["a", "b"], [0, 255], 255, "id 255 is both"),
    ([f"n{i}" for i in range(MAX_CLASSES + 1)], list(range(MAX_CLASSES + 1)), 300, "255 classes given"),
])
def test_refused(names: list[str], ids: list[int], ignore: int, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        ClassTree.flat(names, ids, ignore)


def test_all_faults_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        ClassTree.flat(["a", "a", "b"], [1, 1, 255])
    assert len(raised.value.problems) == 3
    assert all(problem.startswith("classes: ") for problem in raised.value.problems)


# background, head{hair, face{skin, eyes, mouth, nose}}: a ragged tree.
FACES = {"layout": "flat", "images": {"folder": "i"}, "masks": {"folder": "m"}, "classes": [
    {"id": 0, "name": "background"},
    {"name": "head", "children": [
        {"id": 2, "name": "hair"},
        {"name": "face", "children": [{"id": 1, "name": "skin"}, {"id": 3, "name": "eyes"},
                                      {"id": 4, "name": "mouth"}, {"id": 5, "name": "nose"}]}]}]}


class TestTree:
    def tree(self) -> ClassTree:
        return DatasetFile.model_validate(FACES).class_tree()

    def test_levels_of_a_ragged_tree(self) -> None:
        tree = self.tree()
        assert tree.depth == 3
        assert tree.ids == [0, 2, 1, 3, 4, 5]  # in the order written; ids are not shifted
        assert tree.groups(1) == {"background": [0], "head": [1, 2, 3, 4, 5]}
        assert tree.groups(2) == {"background": [0], "hair": [1], "face": [2, 3, 4, 5]}
        leaves = {"background": [0], "hair": [1], "skin": [2], "eyes": [3], "mouth": [4], "nose": [5]}
        assert tree.groups(3) == leaves == tree.groups(9)

    def test_every_level_is_a_partition(self) -> None:
        for level in (1, 2, 3):
            assert sorted(i for group in self.tree().groups(level).values() for i in group) == list(range(6))

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

    def test_round_trip_through_json(self) -> None:
        tree = self.tree()
        assert ClassTree.from_dict(json.loads(json.dumps(tree.to_dict()))) == tree


def test_a_flat_list_is_a_tree_of_depth_one() -> None:
    tree = ClassTree((ClassInfo(4, "a", (1, 2, 3)), ClassInfo(2, "b", (3, 4, 5))), ignore=0)
    assert tree.depth == 1 and tree.groups(1) == {"a": [0], "b": [1]}
    assert tree.colours.tolist() == [[1, 2, 3], [3, 4, 5]]
