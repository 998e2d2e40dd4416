"""The role of the background: one place decides it, and every verb goes by it, also where it is not the first class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from doubted import SETTINGS
from helpers import write
from maskwright.core.classes import ClassInfo, ClassTree
from maskwright.core.masks import differences, overlay
from maskwright.data.auditing import audit
from maskwright.data.convert import convert
from maskwright.data.init import init
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError
from maskwright.evaluation.explaining import explain
from maskwright.labels.deciding.simulating import SuspectedError, planted_mask
from maskwright.labels.suspecting.selftest import plant_copy
from maskwright.reporting.overlays import full_legend, shrink_mask
from maskwright.training.plan import plan
from scenes import evaluated

CLASSES = [
    {"id": 1, "name": "cat", "colour": "#D55E00"},
    {"id": 2, "name": "bird", "colour": "#0072B2"},
    {"id": 7, "name": "Background", "colour": "#000000"},
]
CAT, BIRD, GROUND = range(3)


def masks(images):
    """Masks (H, W) of ids with a cat and a bird each, but for the first, which has neither."""
    rng = np.random.default_rng(0)
    for number in range(images):
        mask = np.full((48, 64), 7, np.uint8)
        if number:
            x, y = rng.integers(2, 12, 2).tolist()
            mask[y : y + 14, x : x + 16], mask[y + 18 : y + 30, x + 30 : x + 44] = 1, 2
        yield number, mask


def write_data(root, images=12, split="train", classes=CLASSES, **more):
    shades = np.zeros((256, 3), np.uint8)
    shades[[1, 2, 7]] = (220, 90, 40), (40, 90, 220), (90, 90, 90)
    rng = np.random.default_rng(1)
    for number, mask in masks(images):
        noise = rng.integers(-9, 9, (*mask.shape, 3))
        write(root / f"images/{split}/{number:02d}.png", np.clip(shades[mask] + noise, 0, 255).astype(np.uint8))
        write(root / f"masks/{split}/{number:02d}.png", mask)
    (root / "dataset.yaml").write_text(
        yaml.safe_dump(
            {
                "layout": "split_folders",
                "images": {"folder": "images"},
                "masks": {"folder": "masks"},
                "splits": {split: split},
                "classes": classes,
                **more,
            }
        )
    )
    return root


@pytest.mark.parametrize(
    ("names", "ids", "said", "index", "assumed"),
    [
        (["soil", "Background"], [0, 1], {}, 1, False),  # the name counts, in any case
        (["soil", "crop"], [4, 0], {}, 1, True),  # else the id 0, wherever it stands
        (["soil", "crop"], [1, 2], {}, None, False),  # else there is none
        (["background", "crop"], [0, 1], {"background_id": None}, None, False),
        (["background", "crop"], [0, 1], {"background_id": 1}, 1, False),
    ],
)
def test_one_rule_where_nobody_has_said(names, ids, said, index, assumed):
    tree = ClassTree(ClassTree.flat(names, ids).leaves, **said)
    assert (tree.background, tree.background_assumed) == (index, assumed)
    again = ClassTree.from_dict(tree.to_dict())
    assert (again.background, again.background_assumed, again) == (index, assumed, tree)
    assert "background" not in tree.to_dict(role=False)
    assert ("background" in tree.to_dict()) == bool(said)


def test_a_background_that_is_no_class_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"background: 3 is the id of no class; give one of \[1, 2, 7\], or null"):
        load_dataset(write_data(tmp_path, background=3))


def test_the_role_of_a_class_in_a_group_is_none_on_that_level():
    leaves = (
        ClassInfo(0, "far", (0, 0, 0), ("scene",)),
        ClassInfo(1, "near", (1, 1, 1), ("scene",)),
        ClassInfo(2, "cat", (2, 2, 2)),
    )
    tree = ClassTree(leaves, background_id=0)
    assert [level.classes.background for level in tree.levels] == [None, 0]
    assert ClassTree(leaves, background_id=2).levels[0].classes.background == 1


def test_the_role_does_not_change_the_version(tmp_path):
    one = load_dataset(write_data(tmp_path / "a"))
    other = load_dataset(write_data(tmp_path / "b", background=None))
    assert one.classes.background == GROUND and other.classes.background is None
    assert one.version() == other.version()


@pytest.mark.parametrize(
    ("names", "written", "why"),
    [
        (["road", "background"], 1, "# the class called background"),
        (["road", "sky"], None, "# no class is called background; give the id"),
    ],
)
def test_init_writes_the_role_with_its_reason(tmp_path, names, written, why):
    for number in range(3):
        write(tmp_path / f"images/{number}.png", np.full((40, 40, 3), 60 * number, np.uint8))
        write(tmp_path / f"masks/{number}.png", np.tri(40, dtype=np.uint8))
    (tmp_path / "classes.txt").write_text("\n".join(names))
    file, found = init(tmp_path)
    line = next(line for line in file.read_text().splitlines() if line.startswith("background:"))
    assert why in line and yaml.safe_load(line) == {"background": written}
    assert found.file.background == written
    assert load_dataset(tmp_path).classes.background_id == written


def test_init_takes_the_black_class_of_colour_masks(tmp_path):
    for number in range(3):
        mask = np.zeros((40, 40, 3), np.uint8)
        mask[:30] = 255, 0, 0  # more of it than of black
        write(tmp_path / f"images/{number}.png", np.full((40, 40, 3), 60 * number, np.uint8))
        write(tmp_path / f"masks/{number}.png", mask)
    assert "background: 1  # the class that is black in the masks" in init(tmp_path).file.read_text()


def test_the_audit_counts_masks_of_nothing_but_the_background(tmp_path):
    finding = next(f for f in audit(write_data(tmp_path / "a"), workers=1).findings if f.code == "mask.all_background")
    assert "'Background'" in finding.message and finding.evidence["samples"] == ["train/00"]
    none = audit(write_data(tmp_path / "b", background=None), workers=1)
    assert not [f for f in none.findings if f.code == "mask.all_background"]


def test_planted_errors_make_objects_into_background(tmp_path):
    dataset = load_dataset(write_data(tmp_path / "data"))
    rng = np.random.default_rng(3)
    sample = dataset.samples[5]
    mask = dataset.read_mask(sample)
    drawn = planted_mask(mask, SuspectedError("missing", 1.0, 0.05), rng, dataset, mask)
    gone = drawn != mask
    assert gone.any() and (drawn[gone] == GROUND).all() and {*mask[gone]} <= {CAT, BIRD}

    planted = plant_copy(tmp_path / "data", dataset, dataset.classes.background, 0, tmp_path / "copy")
    after = load_dataset(tmp_path / "copy/data")
    assert planted and after.classes.background == GROUND
    for name, kind in planted.items():
        sample = next(one for one in after.samples if one.name == name)
        was = next(one for one in dataset.samples if one.name == name)
        before, now = dataset.read_mask(was), after.read_mask(sample)
        assert (before != now).any()
        if kind == "missing":
            assert (now[before != now] == GROUND).all()


def test_explain_and_suspects_ask_the_same_role(tmp_path):
    root = write_data(tmp_path / "data", 6, "test")

    def nothing_found(number, image, truth):
        return np.where(truth == CAT, GROUND, truth).astype(np.uint8)

    run = evaluated(tmp_path / "run", root, nothing_found)
    result = explain(run, workers=1)
    kinds = {kind.name: kind.pixels for kind in result.kinds}
    assert result.background == "Background" and result.empty == GROUND
    assert kinds["missed"] > 500 and not kinds["hallucinated"] and not kinds["confused"]
    none = explain(run, background="none", workers=1)
    assert none.background is None
    with pytest.raises(ConfigError, match="`background` Backgroud: there is no such class; did you mean 'Background'"):
        explain(run, background="Backgroud")


def test_plan_takes_such_a_dataset(tmp_path):
    planned = plan(write_data(tmp_path / "data"), weights="none", overrides=SETTINGS)
    assert Path(planned.config.data.root).resolve() == (tmp_path / "data").resolve()


def test_what_lies_in_no_region_is_the_background(tmp_path):
    root = write_data(tmp_path / "data", classes=[*CLASSES[:2], {**CLASSES[2], "name": "meadow"}], background=7)
    certificate = convert(root, tmp_path / "coco", to="coco")
    assert certificate.exact
    back = load_dataset(tmp_path / "coco")
    assert back.classes.names[back.classes.background] == "meadow" and not back.classes.background_assumed
    annotations = (tmp_path / "coco").rglob("*.json")
    assert not any('"meadow"' in path.read_text() and '"category_id": 7' in path.read_text() for path in annotations)


def test_a_background_that_is_only_assumed_is_still_drawn(tmp_path):
    """A class with id 0 of which nobody said that it is the background may be a road: it is not left out."""
    road = [{"id": 0, "name": "road"}, *CLASSES[:2]]
    root = write_data(tmp_path / "data", classes=[*road, {"id": 7, "name": "sky"}])
    dataset = load_dataset(root)
    assert dataset.classes.background == 0 and dataset.classes.background_assumed
    for number, mask in masks(12):
        write(root / f"masks/train/{number:02d}.png", np.where(mask == 7, 0, mask).astype(np.uint8))
    assert convert(root, tmp_path / "coco", to="coco").exact
    text = next(path for path in (tmp_path / "coco").rglob("*.json") if "categories" in path.read_text()).read_text()
    assert '"road"' in text


def test_pictures_leave_the_background_as_it_is():
    image = np.full((40, 60, 3), 100, np.uint8)
    mask = np.full((40, 60), GROUND, np.uint8)
    mask[10:30, 10:30] = CAT  # index 0, which is an object here
    prediction = np.full_like(mask, GROUND)
    colours = np.array([(213, 94, 0), (0, 114, 178), (0, 0, 0)], np.uint8)
    drawn = overlay(image, mask, colours, background=GROUND)
    assert (drawn[mask == GROUND] == 100).all() and (drawn[mask == CAT] != 100).any(-1).all()
    assert (overlay(image, mask, colours, background=None) != 100).any(-1).all()
    wrong = differences(image, mask, prediction, background=GROUND)
    assert (wrong[mask == CAT] == (230, 159, 0)).all()  # an object was missed
    wrong = differences(image, prediction, mask, background=GROUND)
    assert (wrong[mask == CAT] == (86, 180, 233)).all()  # one was invented
    assert (shrink_mask(mask, 2, 2, GROUND)[:, 0] == CAT).all()


def test_a_legend_says_which_class_is_not_tinted():
    tree = ClassTree.flat(["cat", "bird", "background"])
    strips = [
        np.asarray(full_legend(ClassTree(tree.leaves, background_id=role), tree.colours, True)) for role in (2, None)
    ]
    assert strips[0].shape == strips[1].shape and (strips[0] != strips[1]).any()
