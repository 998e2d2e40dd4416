"""What the page shows of images in any form, and thumbnails that stay few."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import make_dataset, write
from maskwright.core.classes import IGNORE
from maskwright.core.dataset import Dataset
from maskwright.data.opening import load_dataset
from maskwright.reviewing import pictures
from maskwright.reviewing.store import EditStore


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return load_dataset(make_dataset(tmp_path / "data", images=4, size=(12, 16), describe=True))


def shown(dataset: Dataset) -> np.ndarray:
    data, kind = pictures.browser_image(dataset, dataset[0])
    assert kind in ("image/png", "image/jpeg")
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "LA", "CMYK", "I;16", "transparent", "turned"])
def test_what_a_browser_gets_are_the_pixels_that_the_mask_is_about(dataset: Dataset, mode: str) -> None:
    file, grey = dataset[0].image, np.arange(192, dtype=np.uint8).reshape(12, 16)
    rgb = Image.fromarray(np.stack([grey, grey[::-1], 255 - grey], -1))
    if mode == "transparent":
        rgb.save(file, transparency=(0, 176, 255))
    elif mode == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        rgb.transpose(Image.Transpose.ROTATE_90).save(file, exif=exif)
    elif mode == "I;16":
        write(file, grey.astype(np.uint16) * 257)
    elif mode == "CMYK":
        rgb.convert("CMYK").save(file, "TIFF")
    else:
        rgb.convert(mode).save(file)
    assert (shown(dataset) == dataset.read_image(dataset[0])).all()
    plain = pictures.browser_image(dataset, dataset[0])[0] == file.read_bytes()
    assert plain == (mode in ("RGB", "L"))


def test_a_huge_image_is_shown_smaller(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_SCREEN", 100)
    monkeypatch.setattr(pictures, "_SIDE", 8)
    assert shown(dataset).shape == (6, 8, 3)


def test_labels_of_many_classes_are_those_of_all_at_once(rng: np.random.Generator) -> None:
    import cv2

    small = rng.dirichlet(np.ones(5), (6, 8)).transpose(2, 0, 1).astype(np.float32)
    large = np.stack([cv2.resize(one, (30, 20), interpolation=cv2.INTER_LINEAR) for one in small])
    assert (pictures.labels_at(small, (20, 30)) == large.argmax(0)).all()


def test_thumbnails_are_kept_made_anew_and_pruned(dataset: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "thumbnails"
    mask = dataset.read_mask(dataset[0])
    kept = pictures.Thumbnails(folder, dataset.classes.colours, most=10_000)

    def get(revision: str) -> bytes:
        return kept.get(dataset, dataset[0], lambda: mask, False, revision)

    assert get("a") == get("a") and len([*folder.iterdir()]) == 1
    for number in range(30):
        get(str(number))
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 10_000 + len(get("0"))
    before = get("a")
    write(dataset[0].image, np.zeros((12, 16, 3), np.uint8))
    assert get("a") != before


def test_an_image_without_a_mask_is_drawn_on(dataset: Dataset, tmp_path: Path) -> None:
    dataset[1].mask.unlink()
    store = EditStore(tmp_path / "data")
    assert not store.sample(1).labelled and (store.mask(store.sample(1)) == IGNORE).all()
    mask = np.ones((12, 16), np.uint8)
    store.save(1, store.revision(store.sample(1)), mask=mask)
    assert (load_dataset(tmp_path / "data").read_mask(store.sample(1)) == mask).all()
    store.undo(store.now()[1].last.name)
    assert not store.sample(1).labelled


def test_recent_values_are_made_once_and_forgotten() -> None:
    made: list[int] = []
    recent = pictures.Recent(2)
    for key in (1, 2, 1, 3, 2):
        assert recent.get(key, lambda key=key: made.append(key) or key * 10) == key * 10
    assert made == [1, 2, 3, 2]
