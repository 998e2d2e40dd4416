"""Datasets whose classes only further bands, or the lower bits of 16, tell apart."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import tifffile

SIDE = 64


def write_tiff(path: Path, pixels: npt.NDArray[np.generic], **options: object) -> None:
    """(H, W, C) as a TIFF of C bands of no agreed kind, of three as RGB."""
    if pixels.shape[2] == 1:
        pixels, options = pixels[..., 0], options | {"planarconfig": None}
    colours = "rgb" if pixels.shape[-1] == 3 else "minisblack"
    given = {"photometric": colours, "planarconfig": "contig", "metadata": None} | options
    tifffile.imwrite(path, pixels, **given)  # type: ignore[arg-type]


def blob(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """(SIDE, SIDE): 0, with one or two ellipses of 1."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(rng.integers(1, 3)):
        centre, axes = rng.integers(12, SIDE - 12, 2).tolist(), rng.integers(7, 16, 2).tolist()
        cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return mask


def near_infrared(mask: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """(SIDE, SIDE, 4): red, green and blue of soft stains that know nothing of the mask, and a band that does."""
    stains = cv2.GaussianBlur(rng.normal(0, 1, (SIDE, SIDE, 3)), (0, 0), 4) * 250 + 110
    infrared = 70.0 + 90 * mask + rng.normal(0, 12, mask.shape)
    return np.dstack([stains, infrared]).clip(0, 255).astype(np.uint8)


def twelve_bits(mask: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """(SIDE, SIDE): grey of 12 bits in 16, all of it between two multiples of 256, and a few bright specks."""
    grey = 1840 + 120.0 * mask + rng.normal(0, 12, mask.shape)
    image = grey.clip(1792, 2047).astype(np.uint16)
    image[rng.random(mask.shape) < 0.002] = 4000
    return image


def write_infrared(folder: Path, images: tuple[int, int, int] = (24, 8, 8), first: int = 0) -> Path:
    """4-band TIFFs with their masks, in split folders of train, val and test."""
    for split, name, mask, rng in _masks(folder, images, first):
        write_tiff(
            folder / "images" / split / f"{name}.tif",
            near_infrared(mask, rng),
            photometric="rgb",
            extrasamples=["unspecified"],
        )
    return folder


def write_twelve_bits(folder: Path, images: tuple[int, int, int] = (24, 8, 8), first: int = 0) -> Path:
    """16-bit grey PNGs with their masks, in split folders of train, val and test."""
    for split, name, mask, rng in _masks(folder, images, first):
        cv2.imwrite(str(folder / "images" / split / f"{name}.png"), twelve_bits(mask, rng))
    return folder


def _masks(folder, images, first):  # type: ignore[no-untyped-def]
    for split, count in zip(("train", "val", "test"), images, strict=True):
        for kind in ("images", "masks"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            rng = np.random.default_rng((first, len(split), number))
            mask = blob(rng)
            cv2.imwrite(str(folder / "masks" / split / f"{number:03d}.png"), mask)
            yield split, f"{number:03d}", mask, rng
