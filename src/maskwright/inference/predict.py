"""The verb `predict`: masks and overlays for a folder, a list or a glob of images."""

from __future__ import annotations

import glob
import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, overload

import numpy as np
import numpy.typing as npt
import torch

from maskwright.base.display import data_frame
from maskwright.base.progress import progress, say
from maskwright.base.storage import (
    STAGING_PREFIX,
    Journal,
    atomic_write_bytes,
    atomic_write_json,
    exclusive_lock,
    flush,
    read_json,
    require_absent,
)
from maskwright.base.texts import plural
from maskwright.core.arrays import is_arrays
from maskwright.core.classes import Level, Selector
from maskwright.core.image_files import images_below
from maskwright.core.left_out import Opened, sentence
from maskwright.core.masks import class_pixels, jpeg_bytes, mask_png, overlay
from maskwright.core.sample import read_image
from maskwright.errors import ConfigError, DataError, argument
from maskwright.modeling.models.segmenter import Segmenter, load_segmenter, with_selector
from maskwright.run import Run

BATCH = 8
# Images, and seconds, after which what was written is brought to the disk and into the journal: what a kill costs at
# most. Public, so that tests can make them small.
DURABLE, DURABLE_SECONDS = 64, 10.0


@dataclass(frozen=True, repr=False)
class Predictions:
    """What `predict` wrote: a folder with `masks/`, `overlays/` and `predictions.jsonl`, and `skipped.jsonl` where
    images could not be read.

    `rows` hold `image`, `mask`, `overlay`, `height`, `width` and `pixels` (name -> count), and where levels were asked
    for `levels`, the files of the levels above the leaves, top first; `skipped` hold `image` and `reason`.
    """

    folder: Path
    rows: list[dict[str, Any]]
    skipped: list[dict[str, str]]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"folder": str(self.folder), "predictions": self.rows, "skipped": self.skipped}

    def to_pandas(self) -> Any:
        """A pandas DataFrame with a row a predicted image, and a column for each class such as `pixels/tree`.
        SetupError without pandas."""
        return data_frame(
            [
                {key: value for key, value in row.items() if key not in ("pixels", "levels", "left_out")}
                | {f"pixels/{name}": count for name, count in row["pixels"].items()}
                for row in self.rows
            ]
        )

    def human(self) -> str:
        """One line for a terminal."""
        skipped = f", {plural(len(self.skipped), 'file')} skipped" if self.skipped else ""
        return f"{plural(len(self.rows), 'mask')}{skipped}; output folder: {self.folder}"

    def __str__(self) -> str:
        return self.human()

    def __repr__(self) -> str:
        return f"Predictions({self.human()})"


def model_file(model: str | Path | Run) -> Path:
    """The model file that a run folder, a Run or a path to a model file means."""
    path = model.path if isinstance(model, Run) else Path(model)
    if path.is_file():
        return path
    best = Run.open(path).best
    if not best.exists():
        raise DataError(f"{path}: the run has no checkpoint yet; let it reach its first evaluation")
    return best


def load(model: str | Path | Run, *, device: str = "cpu") -> Segmenter:
    """The model of a run (its best checkpoint) or of a model file, ready for `label`."""
    return load_segmenter(model_file(model), device)


def find_images(inputs: str | Path | Sequence[str | Path]) -> dict[str, Path]:
    """Output name -> file, for files, folders (searched below) and globs.

    Raises ConfigError when nothing is found or two inputs would get the same output name.
    """
    found: dict[str, Path] = {}
    for item in map(str, [inputs] if isinstance(inputs, (str, Path)) else inputs):
        root = Path(item)
        if root.is_dir():
            files = [(path.relative_to(root), path) for path in images_below(root)]
        elif root.exists():
            files = [(Path(root.name), root)]
        else:
            files = [
                (Path(path.name), path) for path in map(Path, sorted(glob.glob(item, recursive=True))) if path.is_file()
            ]
        if not files:
            raise ConfigError(f"{item}: no image found there; give a file, a folder or a glob in quotes")
        for relative, path in files:
            name = relative.with_suffix("").as_posix()
            if name in found and found[name] != path:
                raise ConfigError(
                    f"{path}: would get the same output name as {found[name]}; predict them into two folders"
                )
            found[name] = path
    return found


Array = npt.NDArray[Any]


@overload
def predict(
    model: str | Path | Run,
    images: Array,
    *,
    out: None = None,
    levels: bool = False,
    selector: Selector | None = None,
    device: str | None = None,
) -> npt.NDArray[np.uint8]: ...


@overload
def predict(
    model: str | Path | Run,
    images: Sequence[Array],
    *,
    out: None = None,
    levels: bool = False,
    selector: Selector | None = None,
    device: str | None = None,
) -> list[npt.NDArray[np.uint8]]: ...


@overload
def predict(
    model: str | Path | Run,
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    levels: bool = False,
    selector: Selector | None = None,
    device: str | None = None,
) -> Predictions: ...


def predict(
    model: str | Path | Run,
    images: str | Path | Sequence[str | Path] | Array | Sequence[Array],
    *,
    out: str | Path | None = None,
    levels: bool = False,
    selector: Selector | None = None,
    device: str | None = None,
) -> Predictions | npt.NDArray[np.uint8] | list[npt.NDArray[np.uint8]]:
    """Masks for images: of files into the folder `out`, of numpy arrays as arrays.

    `model` is a run, its folder, or a model file. Arrays are given without `out` and `levels`: an image (H, W) grey or
    (H, W, C), with C = 1, 3 (RGB) or 4 (RGBA, whose alpha is left out), of uint8, uint16 or floats from 0 to 1, gives
    one mask (H, W) uint8 of class indices; a list of images of any sizes, or an array (N, H, W, C), a list of masks.
    Files need `out`: see `predict_files`. Raises ConfigError where the two are mixed, DataError for an array that is
    no image.
    """
    if is_arrays(images):
        if out is not None or levels:
            raise ConfigError("images: arrays are predicted into arrays; leave out and levels out, or give files")
        segmenter = load_segmenter(model_file(model), device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return with_selector(segmenter, selector).label(images)  # type: ignore[arg-type]
    if out is None:
        raise ConfigError("out: files are predicted into a folder; name it, or give arrays")
    return predict_files(
        model,
        images,  # type: ignore[arg-type]
        out=out,
        levels=levels,
        selector=selector,
        device=device,
    )


def predict_files(
    model: str | Path | Run,
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    levels: bool = False,
    selector: Selector | None = None,
    device: str | None = None,
) -> Predictions:
    """Predicts every image and writes `out/masks/NAME.png` (index PNG), `out/overlays/NAME.jpg` and
    `out/predictions.jsonl`.

    `model` is a run or a model file. With `levels`, the masks of the levels of its class tree above the leaves go to
    `out/levels/1/NAME.png`, …; `out/model.json` says what their ids are. `selector` is how levels are labelled, the
    model's own when left out. Files that cannot be read are skipped and listed. A folder that the same model was
    writing in the same way when it was stopped is continued; any other existing folder is refused. Raises ConfigError
    for `levels` or a selector of trees where classes are flat, DataError when no image at all could be read.

    The promise for a kill and a lost power: an image in `predictions.jsonl` has all its files, whole and on the disk.
    Images that are not in it yet, those of the last ten seconds at most, 64 of them, are predicted again on continuing.
    A file that was skipped is read again on continuing only when it has changed since.

    The folder is no `base.work_folder.WorkFolder`, which appears whole in the end: each image is a result of its own,
    of use while the others are predicted, and a later call adds images to a folder that was finished long ago.
    """
    file = model_file(model)
    found = find_images(images)
    segmenter = load_segmenter(file, device or ("cuda" if torch.cuda.is_available() else "cpu"))
    segmenter = with_selector(segmenter, selector)
    above = segmenter.classes.levels[:-1] if levels else ()
    if levels and not above:
        raise ConfigError(
            f"{argument('levels')}: the classes of this model are a flat list, and have no levels; leave it out"
        )
    folder = Path(out)
    say(f"output folder: {folder}")
    _open(folder, file, segmenter, above)
    with exclusive_lock(folder):
        book = _Book(folder)
        todo = book.todo(found)
        finished = len(found) - len(todo)
        with progress("predicting", len(found), done=finished) as advance, book:
            for names, paths in _chunks(todo):
                for row in predict_chunk(segmenter, folder, names, paths, above):
                    book.add(row)
                book.settle_if_due()
                finished += len(names)
                advance(finished)
        result = book.result()
    for skipped in result.skipped:
        say(f"skipped {skipped['reason']}")
    if said := sentence(Counter(kind for row in result.rows for kind in row.get("left_out", ())), len(result.rows)):
        say(f"warning: {said}")
    if not result.rows:
        raise DataError(f"{folder}: none of the {len(found)} images could be read; see the lines above")
    say(result.human())
    return result


def _open(folder: Path, file: Path, segmenter: Segmenter, above: Sequence[Level]) -> None:
    """Makes the output folder, unless this very model has begun it in the same way. ConfigError for any other one."""
    with open(file, "rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    facts: dict[str, Any] = {"hash": digest}
    if segmenter.classes.depth > 1:
        facts |= {
            "selector": segmenter.selector,
            "levels": [{"level": level.number, "classes": level.classes.to_dict()} for level in above],
        }
    marker = folder / "model.json"
    if marker.exists():
        found = read_json(marker)
        if found.get("hash") != digest:
            raise ConfigError(f"{folder}: holds predictions of another model; choose another {argument('out')}")
        if {key: found.get(key) for key in facts} != facts:
            raise ConfigError(
                f"{folder}: holds predictions with another {argument('selector')} or {argument('levels')}; "
                f"choose another {argument('out')}"
            )
        return
    # A kill while the marker was written leaves no more than its unfinished file.
    if not folder.is_dir() or any(not path.name.startswith(STAGING_PREFIX) for path in folder.iterdir()):
        require_absent(folder)
    atomic_write_json(marker, {"model": str(file.resolve()), "classes": segmenter.classes.to_dict(), **facts})


class _Book:
    """What was done in a folder: `predictions.jsonl`, whose rows are written when their files are on the disk, and
    `skipped.jsonl`. Leaving its block brings to the disk what is still waiting, also when work was stopped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._done, self._skips = Journal(folder / "predictions.jsonl"), Journal(folder / "skipped.jsonl")
        self._rows = self._done.read()
        self._skipped = {row["image"]: row for row in self._skips.read()}
        self._waiting: list[dict[str, Any]] = []
        self._since = time.monotonic()

    def todo(self, found: dict[str, Path]) -> dict[str, Path]:
        """The images without a row, but for those that were skipped and have not changed. ConfigError when a row is
        that of another image with the same name."""
        images = {row["mask"]: row["image"] for row in self._rows}
        for name, path in found.items():
            other = images.get(_mask_name(name), str(path))
            if other != str(path):
                raise ConfigError(
                    f"{path}: {self.folder} holds the mask of another image with this name ({other}); "
                    f"choose another {argument('out')}"
                )
        return {
            name: path
            for name, path in found.items()
            if _mask_name(name) not in images
            and (str(path) not in self._skipped or self._skipped[str(path)]["state"] != _state(path))
        }

    def add(self, row: dict[str, Any]) -> None:
        """One image, which was skipped if the row has a reason."""
        if "reason" in row:
            self._skips.append(row)
            self._skipped[row["image"]] = row
        else:
            self._waiting.append(row)

    def settle_if_due(self) -> None:
        """Now and then brings what is waiting to the disk."""
        if len(self._waiting) >= DURABLE or time.monotonic() - self._since > DURABLE_SECONDS:
            self._settle()

    def _settle(self) -> None:
        rows = self._waiting
        flush(
            [self.folder / file for row in rows for file in (row["mask"], row["overlay"], *row.get("levels", ()))],
            self.folder,
        )
        self._done.append(*rows)
        self._rows += rows
        self._waiting, self._since = [], time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._settle()

    def result(self) -> Predictions:
        """All images of the folder."""
        predicted = {row["image"] for row in self._rows}
        return Predictions(
            self.folder,
            self._rows,
            [
                {"image": row["image"], "reason": row["reason"]}
                for image, row in self._skipped.items()
                if image not in predicted
            ],
        )


def _state(path: Path) -> list[int] | None:
    """What changes when a file is written or its mode is; None for a file that is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _mask_name(name: str) -> str:
    return f"masks/{name}.png"


def _chunks(files: dict[str, Path]) -> Iterator[tuple[list[str], list[Path]]]:
    items = list(files.items())
    for start in range(0, len(items), BATCH):
        names, paths = zip(*items[start : start + BATCH], strict=True)
        yield list(names), list(paths)


def predict_chunk(
    segmenter: Segmenter, folder: Path, names: list[str], paths: list[Path], above: Sequence[Level]
) -> Iterator[dict[str, Any]]:
    """Predicts some images at once and writes their files; yields the record of each image, read or not."""
    readable = []
    for name, path in zip(names, paths, strict=True):
        state = _state(path)  # before it is read, so that no change goes unseen
        try:
            opened = Opened()
            readable.append((name, path, read_image(path, segmenter.preprocessing.exif, opened), opened.kinds()))
        except DataError as error:
            yield {"image": str(path), "reason": str(error), "state": state}
    if not readable:
        return
    found = segmenter.label_levels([image for _, _, image, _ in readable])
    for (name, path, image, left_out), maps in zip(readable, found, strict=True):
        mask, overlay_file = maps[-1], folder / "overlays" / f"{name}.jpg"
        levels = [f"levels/{level.number}/{name}.png" for level in above]
        for file, level, level_mask in zip(levels, above, maps, strict=False):
            atomic_write_bytes(folder / file, mask_png(level_mask, level.classes), durable=False)
        atomic_write_bytes(folder / _mask_name(name), mask_png(mask, segmenter.classes), durable=False)
        atomic_write_bytes(
            overlay_file,
            jpeg_bytes(overlay(image, mask, segmenter.classes.colours, background=segmenter.classes.background)),
            durable=False,
        )
        counts = class_pixels(mask, len(segmenter.classes))
        yield {
            "image": str(path),
            "mask": _mask_name(name),
            "overlay": overlay_file.relative_to(folder).as_posix(),
            "height": mask.shape[0],
            "width": mask.shape[1],
            "pixels": dict(zip(segmenter.classes.names, np.asarray(counts[:-1]).tolist(), strict=True)),
            **({"levels": levels} if levels else {}),
            **({"left_out": left_out} if left_out else {}),
        }
