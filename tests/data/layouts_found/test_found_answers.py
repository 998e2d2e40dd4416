"""The options that settle what values in masks mean, and what is refused since it would settle nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data.layouts_found.folder_trees import Tree
from helpers import Pixels, palette_image
from maskwright.core.dataset import Dataset
from maskwright.data.init import init, labels_table
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError

SHADES = np.array([(0, 0, 0), (200, 20, 20), (20, 20, 200)], np.uint8)


def folder(path: Path, save: Any, count: int = 4) -> list[Pixels]:
    """Images with the masks that `save(i, label)` makes; returns the labels."""
    tree, labels = Tree(path), []
    for i in range(count):
        scene = tree.scene(3)
        tree.save(f"images/{i}.jpg", scene.rgb)
        tree.save(f"masks/{i}.png", save(i, scene.label))
        labels.append(scene.label)
    return labels


def read(dataset: Dataset) -> list[Pixels]:
    return [np.asarray(dataset.read_mask_pixels(sample).ids) for sample in dataset.samples]


def opened(path: Path, out: Path, **options: Any) -> Dataset:
    init(path, out=out, **options)
    return load_dataset(out)


def turned_palette(i: int, label: Pixels) -> Image.Image:
    order = np.array([0, 2, 1], np.uint8)
    return palette_image(order[label], SHADES[order]) if i % 2 else palette_image(label, SHADES)


def test_places_in_a_palette_or_the_colours_that_it_shows(tmp_path: Path) -> None:
    labels = folder(tmp_path / "data", turned_palette)
    with pytest.raises(ConfigError, match="choose with `encoding` index or `encoding` colour"):
        init(tmp_path / "data", out=tmp_path / "none")
    stored = read(opened(tmp_path / "data", tmp_path / "index", encoding="index"))
    swapped = np.array([0, 2, 1])
    wanted = [swapped[label] if i % 2 else label for i, label in enumerate(labels)]
    assert all((ids == label).all() for ids, label in zip(stored, wanted, strict=True))
    shown = opened(tmp_path / "data", tmp_path / "colour", encoding="colour")
    colours = [shown.classes.colours[shown.read_mask(sample)] for sample in shown.samples]
    assert all((found == SHADES[label]).all() for found, label in zip(colours, labels, strict=True))


def test_numbers_of_objects_or_classes(tmp_path: Path) -> None:
    labels = folder(tmp_path / "data", lambda i, label: label)
    objects = opened(tmp_path / "data", tmp_path / "objects", encoding="objects")
    assert objects.encoding.kind == "objects" and objects.classes.names == ["background", "object"]
    assert all((ids == (label > 0)).all() for ids, label in zip(read(objects), labels, strict=True))
    classes = opened(tmp_path / "data", tmp_path / "classes", encoding="index")
    assert all((ids == label).all() for ids, label in zip(read(classes), labels, strict=True))


def test_grey_values_that_are_given(tmp_path: Path) -> None:
    values = np.array([0, 100, 255], np.uint8)
    noise = np.random.default_rng(3)

    def smoothed(i: int, label: Pixels) -> Pixels:
        grey = values[label].astype(int) + noise.integers(-40, 41, label.shape)
        return np.clip(grey, 0, 255).astype(np.uint8)

    labels = folder(tmp_path / "data", smoothed)
    with pytest.raises(DataError, match="resized with interpolation"):
        init(tmp_path / "data", out=tmp_path / "none")
    with pytest.raises(ConfigError, match="no clear levels.*`levels`"):
        init(tmp_path / "data", out=tmp_path / "none", masks="masks")
    dataset = opened(tmp_path / "data", tmp_path / "levels", masks="masks", levels=[0, 100, 255])
    assert dataset.encoding.levels == {0: 0, 100: 1, 255: 2}
    assert all((ids == label).all() for ids, label in zip(read(dataset), labels, strict=True))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("levels", [[7], [0, 0], [0, 70_000], [-1, 3]])
def test_levels_that_are_none(tmp_path: Path, levels: list[int]) -> None:
    folder(tmp_path / "data", lambda i, label: label)
    with pytest.raises(ConfigError, match="`levels`: give at least two different"):
        init(tmp_path / "data", levels=levels)


def test_what_masks_cannot_be_is_refused(tmp_path: Path) -> None:
    folder(tmp_path / "colours", lambda i, label: SHADES[label])
    for options, what in (
        ({"levels": [0, 255]}, "hold colours and no grey values; leave `levels` out"),
        ({"encoding": "index"}, "cannot be read as index, as their values are colour"),
    ):
        with pytest.raises(ConfigError, match=what):
            init(tmp_path / "colours", **options)
    assert not (tmp_path / "colours/dataset.yaml").exists()


@pytest.mark.parametrize(
    "options", [{"levels": [0, 255]}, {"encoding": "index"}, {"inverted": "stored"}, {"variable": "x"}]
)
def test_answers_that_nothing_has_asked_for_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    Tree(tmp_path / "images").save("images/a.jpg", np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    with pytest.raises(ConfigError, match=f"`{next(iter(options))}`: .* holds no mask files"):
        init(tmp_path / "images", **options)
    folder(tmp_path / "data", lambda i, label: label)
    init(tmp_path / "data")
    with pytest.raises(ConfigError, match="already there and never overwritten"):
        init(tmp_path / "data", masks="masks", **options)


def test_a_preview_of_what_is_described_already(tmp_path: Path) -> None:
    folder(tmp_path / "data", lambda i, label: label)
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    init(tmp_path / "data", preview=first)
    assert not init(tmp_path / "data", masks="masks", preview=second).written
    assert first.read_bytes() == second.read_bytes()


def test_a_preview_that_cannot_be_drawn_leaves_nothing_behind(tmp_path: Path) -> None:
    Tree(tmp_path / "data").save("images/a.jpg", np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    with pytest.raises(DataError, match="no mask can be drawn"):
        init(tmp_path / "data", preview=tmp_path / "preview.png")
    assert not (tmp_path / "data/dataset.yaml").exists() and not (tmp_path / "preview.png").exists()


def test_a_table_to_fill_in_is_never_overwritten(tmp_path: Path) -> None:
    folder(tmp_path / "data", lambda i, label: label)
    assert labels_table(tmp_path / "data").read_text().splitlines()[1] == "images/0.jpg,masks/0.png,"
    with pytest.raises(ConfigError, match="never overwritten"):
        labels_table(tmp_path / "data")
