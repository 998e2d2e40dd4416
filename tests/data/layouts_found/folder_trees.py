"""Small folders as people have them, drawn with their truth, and the comparison of what is read with it.

An image is noise around the colours of its regions, so that neighbours differ as in a photograph; a mask is even.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from helpers import LOOKS, Pixels, write
from maskwright.data.init import InitResult, init
from maskwright.data.opening import load_dataset

IGNORED = 60000  # of the truth: a pixel that does not count
SIZE = (48, 64)


@dataclass
class Scene:
    """An image (H, W, 3), its classes (H, W), and the number of the object at each pixel, 0 for none."""

    rgb: Pixels
    label: Pixels
    objects: Pixels


@dataclass
class Truth:
    """What is known of an image: its split (None: any), and its class ids (H, W), or None where it has no mask."""

    split: str | None
    label: npt.NDArray[Any] | None


@dataclass
class Tree:
    """A folder that is being filled. `truth` maps the path of each image to what is known of it."""

    root: Path
    truth: dict[str, Truth] = field(default_factory=dict)
    exact: bool = True  # whether ids are compared; else which pixels have the same class
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5))

    def scene(self, classes: int = 3, objects: int | None = None, size: tuple[int, int] = SIZE) -> Scene:
        """A scene with the classes 0 (the background) to `classes` - 1: one object of each, or `objects` of class 1,
        each with a colour of its own. Objects do not touch."""
        count = classes - 1 if objects is None else objects
        label, numbers = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
        width = size[1] // max(count, 1)
        looks = LOOKS.astype(float) if objects is None else self.rng.uniform(20, 235, (count + 1, 3))
        for number in range(1, count + 1):
            left = (number - 1) * width + 1 + int(self.rng.integers(0, max(1, width // 4)))
            top = int(self.rng.integers(1, size[0] // 3))
            right = left + max(2, width // 2)
            label[top : top + size[0] // 2, left:right] = number if objects is None else 1
            numbers[top : top + size[0] // 2, left:right] = number
        picture = looks[(label if objects is None else numbers) % len(looks)] + self.rng.normal(0, 14, (*size, 3))
        return Scene(np.clip(picture, 0, 255).astype(np.uint8), label, numbers)

    def save(self, path: str, pixels: npt.NDArray[Any] | Image.Image, **options: Any) -> None:
        """Writes an image, a mask, or an array (.npy)."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith(".npy"):
            np.save(target, np.asarray(pixels))
            return
        if isinstance(pixels, np.ndarray) and pixels.dtype == bool:
            pixels = pixels.astype(np.uint8) * 255
        write(target, pixels, **options)

    def text(self, path: str, text: str) -> None:
        """Writes a text file."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, "utf-8")

    def expect(self, image: str, label: npt.NDArray[Any] | None, split: str | None = None) -> None:
        """Says what is to be read for an image."""
        self.truth[image] = Truth(split, label)

    def pair(self, image: str, mask: str, split: str | None = None, classes: int = 3, **options: Any) -> Scene:
        """An image with a mask of ids."""
        scene = self.scene(classes)
        self.save(image, scene.rgb)
        self.save(mask, scene.label, **options)
        self.expect(image, scene.label, split)
        return scene


Build = Callable[[Tree], object]


def differences(tree: Tree, read_from: Path | None = None) -> list[str]:
    """What is read from a folder with `dataset.yaml` and is not the truth, a line each."""
    dataset = load_dataset(read_from or tree.root)
    assert len(dataset.classes.ids) < IGNORED
    ids = np.full(65536, IGNORED, np.int64)
    ids[: len(dataset.classes.ids)] = dataset.classes.ids
    found: list[str] = []
    seen: dict[str, Any] = {}
    for sample in dataset.samples:
        path = str(
            sample.image.relative_to(
                dataset.root.resolve() if sample.image.is_relative_to(dataset.root.resolve()) else dataset.root
            )
        )
        page = f"#{sample.page}" if sample.page is not None else ""
        seen[path + page] = sample
    found += [f"{path}: is not read" for path in tree.truth.keys() - seen.keys()]
    found += [f"{path}: is no image" for path in seen.keys() - tree.truth.keys()]
    forward: dict[int, set[int]] = {}
    back: dict[int, set[int]] = {}
    for path, truth in tree.truth.items():
        if path not in seen:
            continue
        sample = seen[path]
        if sample.split != truth.split:
            found.append(f"{path}: is in {sample.split} and not in {truth.split}")
        if sample.labelled != (truth.label is not None):
            found.append(f"{path}: has {'a' if sample.labelled else 'no'} mask ({sample.mask})")
        elif truth.label is not None:
            read = ids[dataset.read_mask(sample).astype(np.int64)]
            if read.shape != truth.label.shape:
                found.append(f"{path}: is {read.shape} and not {truth.label.shape}")
            elif tree.exact and (read != truth.label).any():
                found.append(
                    f"{path}: {int((read != truth.label).sum())} pixels are wrong, "
                    f"{sorted(set(read.ravel().tolist()))} for {sorted(set(truth.label.ravel().tolist()))}"
                )
            else:
                for a, b in {*zip(read.ravel().tolist(), truth.label.ravel().tolist(), strict=True)}:
                    forward.setdefault(a, set()).add(b)
                    back.setdefault(b, set()).add(a)
    found += [f"class {a} stands for {sorted(b)}" for a, b in forward.items() if len(b) > 1]
    found += [f"{b} is read as the classes {sorted(a)}" for b, a in back.items() if len(a) > 1]
    return found


def read_back(tree: Tree, out: Path, **options: Any) -> InitResult:
    """Detects the folder, with `dataset.yaml` in `out`, and asserts that all is read as it is."""
    result = init(tree.root, out=out, **options)
    assert not differences(tree, out), "\n".join([*differences(tree, out), result.human()])
    return result


def colours_of(label: Pixels, table: Sequence[tuple[int, int, int]]) -> Pixels:
    """A colour mask."""
    return np.array(table, np.uint8)[label]
