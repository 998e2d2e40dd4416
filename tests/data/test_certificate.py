"""The certificate proves the reading too: what of the source was guessed is counted, and only then does it say less."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers import draw_pair, make_dataset, write
from maskwright.data.certificate import Certificate
from maskwright.data.convert import CERTIFICATE, convert
from maskwright.data.opening import load_dataset

SAME = "every pixel is the same"
CLASSES = 'classes:\n  - {id: 0, name: background, colour: "#000000"}\n  - {id: 1, name: crack, colour: "#00008C"}\n'
MORE = '  - {id: 2, name: hole, colour: "#000046"}\n'


def made(
    folder: Path, masks: str, pixels: list[np.ndarray], ending: str = "png", more: str = "", **options: Any
) -> Path:
    """A described folder with an image for each mask."""
    for number, mask in enumerate(pixels):
        write(folder / f"images/{number}.png", np.full((*mask.shape[:2], 3), 10 * number, np.uint8))
        write(folder / f"masks/{number}.{ending}", mask, **options)
    (folder / "dataset.yaml").write_text(
        f"layout: flat\nimages: {{folder: images}}\nmasks: {{folder: masks, {masks}}}\n{CLASSES}{more}ignore: 255\n"
    )
    return folder


def certified(folder: Path, to: str = "index") -> tuple[Certificate, dict[str, Any]]:
    """The certificate, with what is stored of it, which says the same."""
    out = folder.with_name(f"{folder.name} out")
    certificate = convert(folder, out, to=to, progress=False)
    stored = json.loads((out / CERTIFICATE).read_text())
    assert stored == json.loads(json.dumps(certificate.to_dict()))
    assert (SAME in certificate.human()) is certificate.certain is stored["summary"]["certain"] or certificate.left_out
    return certificate, stored["reading"]


def test_nothing_guessed_is_certain(tmp_path: Path) -> None:
    certificate, reading = certified(make_dataset(tmp_path / "data", images=4, layout="flat", describe=True))
    assert certificate.certain and certificate.human().endswith(f"read back: {SAME}")
    assert reading["exact"] and reading["pixels"] == 4 * 48 * 64 and reading["ignored_pixels"] == 0


def blurred(rng: np.random.Generator) -> list[np.ndarray]:
    """Binary masks with stray values, as compression, smoothing and soft brushes leave them; the last has none."""
    masks = [draw_pair(rng, classes=2)[1] * 255 for _ in range(3)]
    for mask in masks[:2]:
        stray = rng.random(mask.shape) < 0.1
        mask[stray] = np.clip(mask[stray].astype(int) + rng.integers(-9, 10, stray.sum()), 0, 255)
    return masks


@pytest.mark.parametrize("others", ["nearest", "ignore"])
def test_pixels_of_no_level_are_counted(tmp_path: Path, rng: np.random.Generator, others: str) -> None:
    masks = blurred(rng)
    stray = sum(int(((mask != 0) & (mask != 255)).sum()) for mask in masks)
    folder = made(tmp_path / "data", f"encoding: levels, levels: {{0: 0, 255: 1}}, others: {others}", masks)
    certificate, reading = certified(folder)
    become = {"nearest": "were given to the nearest", "ignore": "are ignored"}[others]
    assert stray > 100 and certificate.exact and not certificate.certain
    assert reading["inexact"] == {
        "pixels": stray,
        "samples": 2,
        "become": {"nearest": "nearest", "ignore": "ignored"}[others],
    }
    assert reading["ignored_pixels"] == (stray if others == "ignore" else 0)
    assert f"{stray} pixels" in certificate.human() and f"of 2 masks have no grey level of a class and {become}" in (
        certificate.human()
    )


@pytest.mark.parametrize("others", ["nearest", "ignore"])
def test_pixels_of_no_colour_are_counted(tmp_path: Path, rng: np.random.Generator, others: str) -> None:
    """Colours that no class has, beside two that lie near each other."""
    palette = np.array([(0, 0, 0), (0, 0, 140), (0, 0, 70), (0, 0, 110)], np.uint8)
    indices = rng.integers(0, 4, (2, 20, 30))
    folder = made(tmp_path / "data", f"encoding: colour, others: {others}", list(palette[indices]), more=MORE)
    certificate, reading = certified(folder)
    assert reading["inexact"]["pixels"] == (indices == 3).sum() and reading["inexact"]["samples"] == 2
    assert not certificate.certain and "have no class colour" in certificate.human()


def test_ids_that_are_ignored_are_counted(tmp_path: Path, rng: np.random.Generator) -> None:
    masks = list(rng.choice(np.array([0, 1, 9], np.uint8), (2, 20, 30)))
    certificate, reading = certified(made(tmp_path / "data", "encoding: index, others: ignore", masks))
    assert reading["inexact"]["pixels"] == sum(int((mask == 9).sum()) for mask in masks)
    assert "have no class id and are ignored" in certificate.human() and not certificate.certain


def test_pixels_that_do_not_count_and_classes_without_a_pixel_are_said(tmp_path: Path) -> None:
    """As where 255 was an object: nothing is guessed here, but everyone sees it."""
    mask = np.zeros((20, 30), np.uint8)
    mask[5:9, 5:15] = 255
    certificate, reading = certified(made(tmp_path / "data", "encoding: index", [mask]))
    assert certificate.certain and reading["ignored_pixels"] == 40 and reading["absent_classes"] == ["crack"]
    assert "40 pixels (6.7 %) do not count (ignored)" in certificate.human()
    assert "1 class has no pixel (crack)" in certificate.human()


@pytest.mark.parametrize("values", ["stored", "shown"])
def test_masks_with_white_as_0_say_which_values_count(tmp_path: Path, values: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    mask = np.zeros((20, 30), np.uint8)
    mask[5:9, 5:15] = 255
    folder = made(tmp_path / "data", f"encoding: levels, levels: {{0: 0, 255: 1}}, inverted: {values}", [mask])
    (folder / "masks/0.png").unlink()
    tifffile.imwrite(folder / "masks/0.tif", mask, photometric="miniswhite")
    certificate, reading = certified(folder)
    assert reading["inverted"] == {"masks": 1, "values": values} and not certificate.certain
    assert f"1 mask stores white as 0, and the {values} values count" in certificate.human()
    assert certificate.class_pixels["crack"][0] == (40 if values == "stored" else 560)


def coco(folder: Path, *regions: tuple[int, list[float]]) -> Path:
    write(folder / "images/a.png", np.zeros((20, 30, 3), np.uint8))
    text = {
        "images": [{"id": 1, "file_name": "a.png", "height": 20, "width": 30}],
        "categories": [{"id": 1, "name": "crack"}, {"id": 2, "name": "hole"}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": c, "iscrowd": 0, "segmentation": [points]}
            for n, (c, points) in enumerate(regions)
        ],
    }
    (folder / "instances_default.json").write_text(json.dumps(text))
    return folder


def square(left: int, top: int, side: int) -> list[float]:
    return [left, top, left + side, top, left + side, top + side, left, top + side]


def test_hidden_pixels_are_counted(tmp_path: Path) -> None:
    certificate, reading = certified(coco(tmp_path / "data", (1, square(2, 2, 8)), (2, square(6, 6, 8))))
    assert reading["hidden"] == {"pixels": 16, "samples": 1} and not certificate.certain
    assert "16 pixels of regions in 1 mask lie below a region of another class" in certificate.human()
    certificate, reading = certified(coco(tmp_path / "beside", (1, square(2, 2, 4)), (2, square(6, 6, 8))))
    assert certificate.certain and reading["hidden"]["pixels"] == 0


def test_boxes_that_became_masks_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for name, lines in (("a", "0 .3 .3 .2 .2\n1 .7 .7 .2 .2\n"), ("b", "0 .5 .5 .2 .2\n"), ("c", "")):
        write(folder / f"images/{name}.png", np.zeros((20, 30, 3), np.uint8))
        (folder / "labels").mkdir(exist_ok=True)
        (folder / f"labels/{name}.txt").write_text(lines)
    (folder / "classes.txt").write_text("crack\nhole\n")
    certificate, reading = certified(folder)
    assert reading["boxes"] == {"regions": 3, "samples": 2} and not certificate.certain
    assert "2 samples are made of boxes (3 filled), whose outlines nobody has drawn" in certificate.human()
    # Of the masks that were made of them, the table of samples still says so.
    again, reading = certified(tmp_path / "data out")
    assert reading["boxes"] == {"regions": 0, "samples": 2} and not again.certain
    assert "2 samples are made of boxes, whose" in again.human()


def test_files_without_a_partner_are_counted(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data", images=4, layout="flat", describe=True)
    (data / "masks/003.png").rename(data / "masks/three.png")
    certificate, reading = certified(data)
    assert reading["unpaired"] == {"masks": 1, "images": 1, "first_masks": ["masks/three.png"], "first_images": ["003"]}
    assert not certificate.certain and SAME not in certificate.human()
    assert "1 mask file belongs to no image (masks/three.png)" in certificate.human()
    assert "1 image has no mask (003)" in certificate.human()
    (data / "masks/three.png").unlink()
    certificate = convert(data, tmp_path / "without", to="index", progress=False)
    assert "every pixel of these is the same" in certificate.human() and "has no mask (003)" in certificate.human()


def test_channels_that_are_dropped_are_counted(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    mask = np.zeros((20, 30), np.uint8)
    folder = made(tmp_path / "data", "encoding: levels, levels: {0: 0, 255: 1}", [mask, mask, mask])
    write(folder / "images/0.png", np.full((20, 30, 4), 9, np.uint8))
    (folder / "images/1.png").unlink()
    four = np.full((20, 30, 4), 9, np.uint8)
    tifffile.imwrite(folder / "images/1.tif", four, photometric="rgb", extrasamples=["unspecified"])
    write(folder / "masks/2.png", np.dstack([mask, mask, mask, mask + 255]))
    certificate, reading = certified(folder)
    assert reading["dropped_channels"] == {"image alpha": 1, "image band": 1, "mask alpha": 1}
    for line in ("1 image has an alpha channel", "1 image has more than three bands", "1 mask has an alpha channel"):
        assert line in certificate.human()


@pytest.mark.parametrize("end", [" 0.9 7", " 7", " 0.9 1"])
def test_numbers_that_are_dropped_from_rows_are_told(tmp_path: Path, end: str) -> None:
    folder = tmp_path / "data"
    for name in "abc":
        write(folder / f"images/{name}.png", np.zeros((20, 30, 3), np.uint8))
        (folder / "labels").mkdir(exist_ok=True)
        (folder / f"labels/{name}.txt").write_text(f"0 .2 .2 .5 .2 .5 .5 .2 .5{end}\n")
    certificate, _ = certified(folder)
    assert certificate.exact and not certificate.certain and "3 lines end with" in certificate.human()


def test_findings_of_the_reading_take_the_certainty(tmp_path: Path) -> None:
    """What is only said to be gone does not."""
    folder = coco(tmp_path / "data", (1, square(2, 2, 4)), (1, [1, 1, 2]))
    certificate, _ = certified(folder)
    assert not certificate.certain and certificate.lost[0].code == "annotation.invalid"
    folder = coco(tmp_path / "tags", (1, square(2, 2, 4)))
    file = folder / "instances_default.json"
    file.write_text(file.read_text().replace('"iscrowd": 0', '"iscrowd": 0, "occluded": true'))
    certificate, _ = certified(folder)
    assert certificate.certain and "what no mask can hold" in certificate.human()


def test_of_a_dataset_that_is_open_the_same_is_said(tmp_path: Path, rng: np.random.Generator) -> None:
    folder = made(tmp_path / "data", "encoding: levels, levels: {0: 0, 255: 1}", blurred(rng))
    by_folder, _ = certified(folder)
    by_object = convert(load_dataset(folder), tmp_path / "other", to="coco", progress=False)
    assert by_object.reading == by_folder.reading and by_object.exact and not by_object.certain
    assert "read_exactly='no'" in repr(by_object)


def test_a_lossy_format_says_what_it_changed_and_what_was_guessed(tmp_path: Path, rng: np.random.Generator) -> None:
    folder = made(tmp_path / "data", "encoding: levels, levels: {0: 0, 255: 1}", blurred(rng))
    certificate = convert(folder, tmp_path / "out", to="jpeg", quality=10, progress=False)
    assert not certificate.exact and not certificate.certain
    assert "pixels changed" in certificate.human() and "were given to the nearest" in certificate.human()
