"""The data of `maskwright demo`: animals or people outdoors, with exact masks, some of them planted wrong.

The folder is laid out as `img/{train,val,test}` and `labels/{train,val,test}`. Errors are planted as `suspects` plants
them to learn what errors look like. `planted.json` says which, and `planted_truth/` holds the right masks of those
samples, so that a search for them can be checked.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskwright.base.storage import atomic_write_bytes, atomic_write_json, atomic_write_text, staged_folder
from maskwright.base.strictyaml import did_you_mean
from maskwright.core.masks import Mask
from maskwright.demonstration.scene import BLOCK, SUBJECTS, Scene, draw_scene
from maskwright.errors import ConfigError
from maskwright.labels.suspecting.planting import plant

_VAL, _TEST = (3, 10, 17), (6, 13, 19)  # places in every 20 images
_JPEG_QUALITY = 92
_SMALLEST = 64
# What a hurried annotator leaves behind, in turn.
PLANTED_KINDS = ("shrunk", "coarse_blob")
_LEAST_SHARE = 0.05  # of the picture that the figure must cover


@dataclass(frozen=True)
class Planted:
    """A mask planted wrong. sample: `split/name`; kind: as in `suspecting.planting.KINDS`; wrong_pixels: pixels that
    differ from the true mask; iou: pixels of the same class but background in both masks over pixels of any in either,
    0..1."""

    sample: str
    kind: str
    wrong_pixels: int
    iou: float


def foreground_iou(wrong: Mask, true: Mask) -> float:
    """Pixels with the same class but background in both masks (H, W) over pixels with any in either; 1 without."""
    either = np.count_nonzero((wrong > 0) | (true > 0))
    return float(np.count_nonzero((wrong == true) & (true > 0)) / either) if either else 1.0


def plant_in_scene(scene: Scene, kind: str, rng: np.random.Generator, classes: int = 3) -> Mask | None:
    """A wrong mask (S, S) for a scene with one figure; None when it has not exactly one, when too little of that is
    visible, or when no error of this kind fits."""
    if scene.figures != 1 or np.count_nonzero(scene.mask) < _LEAST_SHARE * scene.mask.size:
        return None
    return plant(scene.mask, kind, rng, classes)


def draw_sample(
    seed: int, index: int, size: int, subject: str = "animals"
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Image (size, size, 3) uint8 RGB and its true mask (size, size) uint8, an index into the subject's classes.

    A function of its arguments alone; a figure ends where at least half of a pixel is not it.
    """
    scene = draw_scene(seed, index, size, subject)
    return scene.image, scene.mask


def demo_split(index: int) -> str:
    """`train`, `val` or `test` for an image: 14, 3 and 3 of every 20."""
    place = index % 20
    return "val" if place in _VAL else "test" if place in _TEST else "train"


def generate(
    folder: Path,
    *,
    images: int = 200,
    size: int = 256,
    planted: int = 15,
    seed: int = 0,
    subject: str = "animals",
    progress: Callable[[int, int], None] | None = None,
) -> list[Planted]:
    """Writes the dataset; `folder` appears complete, by one rename, or not at all.

    images: at least 20; 70 % are for training, 15 % for validation, 15 % for testing. size: side in pixels,
    at least 64. planted: how many training masks are wrong, in turn of each of `PLANTED_KINDS`.
    subject: animals, hidden_animals (in the colours of the ground) or people (seven classes).
    progress: called with (images written, images). Image `i` and its true mask depend on `seed`, `i`,
    `size` and `subject` alone. Returns what was planted, in the order of the samples. Raises ConfigError for values
    out of range, for more planted masks than training images that suit, and when `folder` exists and is not empty.
    """
    problems = [] if subject in SUBJECTS else [f"demo data: no subject {subject!r}" + did_you_mean(subject, SUBJECTS)]
    problems += [
        f"demo data: {name} is {value}, but must be at least {least}; give a larger number"
        for name, value, least in (
            ("images", images, BLOCK),
            ("size", size, _SMALLEST),
            ("planted", planted, 0),
            ("seed", seed, 0),
        )
        if value < least
    ]
    if problems:
        raise ConfigError(problems)
    with staged_folder(folder) as staged:
        wrong = _plan(images, size, planted, seed, subject)
        records = []
        for index in range(images):
            image, mask = draw_sample(seed, index, size, subject)
            sample = f"{demo_split(index)}/{index:04d}"
            atomic_write_bytes(staged / f"img/{sample}.jpg", _encoded(image, "JPEG", quality=_JPEG_QUALITY))
            if index in wrong:
                kind, drawn = wrong[index]
                atomic_write_bytes(staged / f"planted_truth/{sample}.png", _encoded(mask, "PNG"))
                pixels, iou = int(np.count_nonzero(drawn != mask)), round(foreground_iou(drawn, mask), 4)
                records.append(Planted(sample, kind, pixels, iou))
                mask = drawn
            atomic_write_bytes(staged / f"labels/{sample}.png", _encoded(mask, "PNG"))
            if progress is not None:
                progress(index + 1, images)
        atomic_write_text(staged / "classes.txt", "\n".join(SUBJECTS[subject].classes) + "\n")
        atomic_write_json(staged / "planted.json", {"seed": seed, "planted": [asdict(record) for record in records]})
    return records


def _plan(images: int, size: int, planted: int, seed: int, subject: str) -> dict[int, tuple[str, Mask]]:
    """Which training images get a wrong mask, and which: the first that suit in a random order."""
    train = [index for index in range(images) if demo_split(index) == "train"]
    wrong: dict[int, tuple[str, Mask]] = {}
    for index in np.random.default_rng((seed, images, 2)).permutation(train).tolist():
        if len(wrong) == planted:
            break
        kind = PLANTED_KINDS[len(wrong) % len(PLANTED_KINDS)]
        scene = draw_scene(seed, index, size, subject)
        classes = len(SUBJECTS[subject].classes)
        mask = plant_in_scene(scene, kind, np.random.default_rng((seed, index, 3)), classes)
        if mask is not None:
            wrong[index] = kind, mask
    if len(wrong) < planted:
        raise ConfigError(
            f"demo data: {planted} masks to plant, but only {len(wrong)} of {len(train)} training images "
            "suit; plant fewer or generate more images"
        )
    return wrong


def _encoded(pixels: npt.NDArray[np.uint8], form: str, **options: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()
