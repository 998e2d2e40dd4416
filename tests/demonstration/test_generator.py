"""The demo data: reproducible, balanced as promised, masks that fit the images, errors planted as stated."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from maskwright.demonstration.generator import (
    Planted,
    demo_split,
    draw_sample,
    foreground_iou,
    generate,
    plant_in_scene,
)
from maskwright.demonstration.scene import SUBJECTS, Scene, draw_scene
from maskwright.demonstration.sweeps import Sweep, render_sweeps
from maskwright.errors import ConfigError

SIZE = 96
IMAGES = 80


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Planted]]:
    folder = tmp_path_factory.mktemp("demo") / "data"
    return folder, generate(folder, images=IMAGES, size=SIZE, planted=8, seed=5)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(5, index, SIZE) for index in range(IMAGES)]


def read(path: Path) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(path))


def test_a_sample_is_a_function_of_its_arguments(made: tuple[Path, list[Planted]]) -> None:
    image, mask = draw_sample(5, 3, SIZE)
    assert image.shape == (SIZE, SIZE, 3)
    assert mask.shape == (SIZE, SIZE)
    assert image.dtype == mask.dtype == np.uint8
    np.random.seed(1)
    again = draw_sample(5, 3, SIZE)
    np.testing.assert_array_equal(image, again[0])
    np.testing.assert_array_equal(mask, again[1])
    np.testing.assert_array_equal(mask, read(made[0] / "labels/val/0003.png"))
    assert not np.array_equal(image, draw_sample(6, 3, SIZE)[0])
    assert not np.array_equal(image, draw_sample(5, 4, SIZE)[0])


def test_an_image_does_not_depend_on_the_number_of_images(made: tuple[Path, list[Planted]], tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    generate(tmp_path / "few", images=20, size=SIZE, planted=0, seed=5, progress=lambda *done: calls.append(done))
    assert calls == [(n, 20) for n in range(1, 21)]
    files = sorted((tmp_path / "few/img").rglob("*.jpg"))
    assert len(files) == 20
    for file in files:
        assert file.read_bytes() == (made[0] / file.relative_to(tmp_path / "few")).read_bytes()
    assert not (tmp_path / "few/planted_truth").exists()


def test_the_layout_is_complete(made: tuple[Path, list[Planted]]) -> None:
    folder = made[0]
    images = [path.relative_to(folder / "img").with_suffix("").as_posix() for path in folder.glob("img/*/*.jpg")]
    masks = [path.relative_to(folder / "labels").with_suffix("").as_posix() for path in folder.glob("labels/*/*")]
    assert sorted(images) == sorted(masks)
    assert Counter(name.split("/")[0] for name in images) == {"train": 56, "val": 12, "test": 12}
    assert (folder / "classes.txt").read_text().split() == ["background", "cat", "bird"]
    assert {path.name for path in folder.iterdir()} == {
        "img", "labels", "planted_truth", "planted.json", "classes.txt",
    }  # fmt: skip
    assert Counter(demo_split(index) for index in range(200)) == {"train": 140, "val": 30, "test": 30}


def test_masks_hold_class_ids_and_every_split_both_animals(made: tuple[Path, list[Planted]]) -> None:
    for split in ("train", "val", "test"):
        seen = np.zeros(256, np.int64)
        for path in (made[0] / "labels" / split).iterdir():
            with Image.open(path) as file:
                assert (file.mode, file.size) == ("L", (SIZE, SIZE))
                seen += np.bincount(np.asarray(file).ravel(), minlength=256)
        assert (seen[:3] > 0).all()
        assert not seen[3:].any()


def test_shares_of_pixels_and_of_images(scenes: list[Scene]) -> None:
    pixels = np.sum([np.bincount(scene.mask.ravel(), minlength=3) for scene in scenes], axis=0) / SIZE**2 / IMAGES
    assert 0.88 <= pixels[0] <= 0.92
    assert 0.6 < pixels[1] / pixels[2] < 1 / 0.6
    assert Counter(scene.figures for scene in scenes) == {0: 4, 1: 64, 2: 12}
    assert all(bool(scene.mask.any()) == (scene.figures > 0) for scene in scenes)


def test_outlines_are_not_shifted_against_the_image(scenes: list[Scene]) -> None:
    """Colours differ most across the outline when the mask lies where it was drawn."""
    scores: defaultdict[tuple[int, int], float] = defaultdict(float)
    for scene in scenes[:40]:
        colours = cv2.GaussianBlur(scene.image, (0, 0), 0.5).astype(np.float64)
        for shift in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)):
            mask = np.roll(scene.mask, shift, (0, 1)) > 0
            inner = mask & (cv2.erode(mask.astype(np.uint8), np.ones((3, 3))) == 0)
            outer = ~mask & (cv2.dilate(mask.astype(np.uint8), np.ones((3, 3))) > 0)
            inner[:2] = inner[-2:] = outer[:2] = outer[-2:] = False
            if inner.any() and outer.any():
                near = cv2.blur(colours * inner[..., None], (3, 3)) / (cv2.blur(inner * 1.0, (3, 3)) + 1e-9)[..., None]
                where = outer & (cv2.blur(inner * 1.0, (3, 3)) > 0)
                scores[shift] += float(np.abs(near - colours)[where].mean())
    assert max(scores, key=scores.__getitem__) == (0, 0)
    assert all(scores[0, 0] > 1.05 * score for shift, score in scores.items() if shift != (0, 0))


def test_a_sweep_covers_what_geometry_says() -> None:
    bar = Sweep(((15.3, 12.1, 4.1), (45.3, 30.7, 4.1)), (0.5, 0.5, 0.5))
    sprite = render_sweeps([bar], 64, (0.0, 0.0, 1.0), np.random.default_rng(0))
    assert sprite is not None
    alpha = np.zeros((64, 64))
    alpha[sprite.box] = sprite.alpha
    centres = np.arange(64) + 0.5
    assert alpha.sum() == pytest.approx(np.hypot(30, 18.6) * 8.2 + np.pi * 4.1**2, rel=0.02)
    assert alpha.sum(1) @ centres / alpha.sum() == pytest.approx(21.4, abs=0.1)
    assert alpha.sum(0) @ centres / alpha.sum() == pytest.approx(30.3, abs=0.1)
    np.testing.assert_array_equal(sprite.colour[sprite.alpha == 0], 0)
    outside = Sweep(((-50.0, 20.0, 4.0),), (0.5, 0.5, 0.5))
    assert render_sweeps([outside], 64, (0.0, 0.0, 1.0), np.random.default_rng(0)) is None


def test_what_is_planted_is_written_down(made: tuple[Path, list[Planted]]) -> None:
    folder, planted = made
    assert json.loads((folder / "planted.json").read_text())["planted"] == [vars(record) for record in planted]
    assert Counter(record.kind for record in planted) == {"shrunk": 4, "coarse_blob": 4}
    truths = folder / "planted_truth"
    assert {f"{record.sample}.png" for record in planted} == {
        path.relative_to(truths).as_posix() for path in truths.rglob("*.png")
    }
    for record in planted:
        assert record.sample.startswith("train/")
        wrong, true = read(folder / f"labels/{record.sample}.png"), read(truths / f"{record.sample}.png")
        np.testing.assert_array_equal(true, draw_sample(5, int(record.sample[-4:]), SIZE)[1])
        assert record.wrong_pixels == np.count_nonzero(wrong != true) > 0
        assert record.iou == pytest.approx(foreground_iou(wrong, true), abs=1e-4)
        assert 0.3 < record.iou < 0.9
        gained, lost = ((wrong > 0) & (true == 0)).sum(), ((wrong == 0) & (true > 0)).sum()
        assert (gained == 0) == (record.kind == "shrunk")
        assert gained > lost or record.kind == "shrunk"


def test_masks_that_were_not_planted_are_right(made: tuple[Path, list[Planted]], scenes: list[Scene]) -> None:
    wrong = {record.sample for record in made[1]}
    for index, scene in enumerate(scenes):
        sample = f"{demo_split(index)}/{index:04d}"
        same = np.array_equal(read(made[0] / f"labels/{sample}.png"), scene.mask)
        assert same == (sample not in wrong)


def test_foreground_iou_counts_the_wrong_animal_as_wrong() -> None:
    true = np.array([[1, 1, 0, 0]], np.uint8)
    assert foreground_iou(np.array([[1, 2, 2, 0]], np.uint8), true) == pytest.approx(1 / 3)
    assert foreground_iou(true, true) == 1.0
    assert foreground_iou(true * 0, true * 0) == 1.0


def test_only_a_lone_and_visible_animal_is_planted_on(scenes: list[Scene]) -> None:
    lone = next(scene for scene in scenes if scene.figures == 1 and np.count_nonzero(scene.mask) > 0.1 * SIZE**2)
    rng = np.random.default_rng(0)
    assert plant_in_scene(lone._replace(figures=2), "coarse_blob", rng) is None
    assert plant_in_scene(lone._replace(mask=lone.mask * 0), "shrunk", rng) is None
    wrong = [plant_in_scene(lone, kind, rng) for kind in ("shrunk", "coarse_blob")]
    assert all(mask is not None and 0.3 < foreground_iou(mask, lone.mask) < 0.9 for mask in wrong)


def test_a_folder_that_exists_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="exists"):
        generate(tmp_path, images=20, size=64, planted=0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "data", images=20, size=64, planted=0, progress=stop)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"images": 19}, "images is 19"),
        ({"size": 63}, "size is 63"),
        ({"planted": -1}, "planted is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"images": 20, "size": 64, "planted": 15}, "15 masks to plant, but only"),
    ],
)
def test_values_out_of_range_are_named(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        generate(tmp_path / "data", **options)
    assert not list(tmp_path.iterdir())


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        generate(tmp_path / "data", images=1, size=1, planted=-1, seed=-1)
    assert len(caught.value.problems) == 4


def test_people_have_all_parts_and_lie_in_order() -> None:
    people = [draw_scene(2, index, SIZE, "people") for index in range(20)]
    seen = np.sum([np.bincount(scene.mask.ravel(), minlength=7) for scene in people], axis=0)
    assert len(seen) == 7 and (seen > 0).all()
    heights = {part: np.mean([np.nonzero(scene.mask == part)[0].mean() for scene in people if (scene.mask == part).any()
                              and scene.figures == 1]) for part in range(1, 7)}  # fmt: skip
    assert heights[1] < heights[2] < heights[5] < heights[6], "head, torso, legs, feet"
    assert seen[4] < seen[3], "hands are smaller than arms"
    assert all(bool(scene.mask.any()) == (scene.figures > 0) for scene in people)


def test_hidden_animals_have_the_colours_of_the_ground() -> None:
    def contrast(subject: str) -> float:
        found = []
        for index in range(40):
            image, mask = draw_sample(2, index, SIZE, subject)
            if (mask > 0).any():
                found.append(np.abs(image[mask > 0].mean(0) - image[mask == 0].mean(0)).mean())
        return float(np.mean(found))

    assert contrast("hidden_animals") < 0.8 * contrast("animals")


def test_every_subject_is_a_dataset_with_errors(tmp_path: Path) -> None:
    for subject, shown in SUBJECTS.items():
        generate(tmp_path / subject, images=20, size=64, planted=1, seed=1, subject=subject)
        assert (tmp_path / subject / "classes.txt").read_text().split() == [*shown.classes]
        assert len(json.loads((tmp_path / subject / "planted.json").read_text())["planted"]) == 1
    with pytest.raises(ConfigError, match="no subject 'peple'; did you mean 'people'"):
        generate(tmp_path / "x", subject="peple")
