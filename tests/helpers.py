"""Small data made by code, for tests of every room."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

# Threads that wait for busy cores make steps of milliseconds take seconds: tests have one. `make test-cpus` asks for
# more, since several threads add in another order.
THREADS = int(os.environ.get("MASKWRIGHT_TEST_THREADS", "1"))
# What each class looks like in the images that `draw_pair` makes.
LOOKS = np.array([(60, 70, 60), (200, 60, 50), (50, 80, 210), (220, 200, 60), (60, 200, 90)], np.uint8)
# Folders of images and masks by layout.
FOLDERS = {
    "split_folders": ("img", "labels"),
    "img_dir": ("img_dir", "ann_dir"),
    "flat": ("images", "masks"),
    "table": ("images", "masks"),
}


def draw_pair(rng: np.random.Generator, size: tuple[int, int] = (48, 64), classes: int = 3) -> tuple[Pixels, Pixels]:
    """An image (H, W, 3) of noisy ellipses in the colour of their class, and its mask (H, W) of 0..classes-1."""
    height, width = size
    rows, columns = np.indices(size)
    mask = np.zeros(size, np.uint8)
    for value in range(1, classes):
        row, column = rng.uniform(0.2, 0.8, 2) * size
        high, wide = rng.uniform(0.12, 0.3, 2) * size
        mask[((rows - row) / high) ** 2 + ((columns - column) / wide) ** 2 < 1] = value
    image = LOOKS[mask].astype(float) + rng.normal(0, 12, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8), mask


def make_dataset(
    folder: Path,
    images: int = 12,
    size: tuple[int, int] = (48, 64),
    classes: int = 3,
    layout: str = "split_folders",
    *,
    seed: int = 0,
    describe: bool = False,
) -> Path:
    """Writes `images` pairs of PNG files in one of the layouts of `FOLDERS`; of every four, two are for training,
    one for validation, one for testing. Index masks, ids 0..classes-1. `describe` adds `dataset.yaml`."""
    rng = np.random.default_rng(seed)
    image_folder, mask_folder = FOLDERS[layout]
    rows = ["image,mask,split"]
    for index in range(images):
        image, mask = draw_pair(rng, size, classes)
        split, name = ("train", "train", "val", "test")[index % 4], f"{index:03d}.png"
        if layout in ("split_folders", "img_dir"):
            name = f"{split}/{name}"
        write(folder / image_folder / name, image)
        write(folder / mask_folder / name, mask)
        rows.append(f"{name},{name},{split}")
    if layout == "table":
        (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    if describe:
        from maskwright.data.init import init

        init(folder)
    return folder


def write(path: Path, pixels: npt.NDArray[Any] | Image.Image, **options: Any) -> Path:
    """Saves an array or image in the format of the file's ending, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def encoded(pixels: npt.NDArray[Any] | Image.Image, form: str, **options: Any) -> bytes:
    """The bytes of an image file."""
    stream = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(stream, form, **options)
    return stream.getvalue()


def palette_image(indices: Pixels, colours: Pixels) -> Image.Image:
    """A palette image of `indices` (H, W) with `colours` (K, 3)."""
    image = Image.fromarray(indices)
    image.putpalette(colours.astype(np.uint8).tobytes())
    return image


def fingerprint(folder: Path) -> dict[str, str]:
    """Every file and link below `folder` with a hash of its bytes: two equal ones mean that nothing was touched. The
    cache of hashes, which is written where files are older than two seconds, is left out, with its folder."""
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else "folder"
        if path.is_dir()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.name != ".maskwright" and path.parts[-2:] != (".maskwright", "hashes.json")
    }
