"""The verb `predict`: masks and overlays for a folder, a list or a glob of images."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maskwright.core.classes import Level, Selector
from maskwright.core.description import images_below
from maskwright.core.masks import class_pixels, jpeg_bytes, mask_png, overlay
from maskwright.core.progress import progress, say
from maskwright.core.sample import read_image
from maskwright.core.storage import (
    STAGING_PREFIX,
    Journal,
    atomic_write_bytes,
    atomic_write_json,
    exclusive_lock,
    read_json,
    require_absent,
)
from maskwright.errors import ConfigError, DataError
from maskwright.models.segmenter import Segmenter, load_segmenter, with_selector
from maskwright.run import Run

_BATCH = 8


@dataclass(frozen=True)
class Predictions:
    """What `predict` wrote: a folder with `masks/`, `overlays/` and `predictions.jsonl`.

    `rows` hold `image`, `mask`, `overlay`, `height`, `width` and `pixels` (name -> count), and where levels were asked
    for `levels`, the files of the levels above the leaves, top first; `skipped` hold `image` and `reason`.
    """

    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"folder": str(self.folder), "predictions": self.rows, "skipped": self.skipped}


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
            files = [(Path(path.name), path) for path in map(Path, sorted(glob.glob(item, recursive=True)))
                     if path.is_file()]
        if not files:
            raise ConfigError(f"{item}: no image found there; give a file, a folder or a glob in quotes")
        for relative, path in files:
            name = relative.with_suffix("").as_posix()
            if name in found and found[name] != path:
                raise ConfigError(f"{path}: would get the same output name as {found[name]}; "
                                  "predict them into two folders")
            found[name] = path
    return found


def predict(model: str | Path | Run, images: str | Path | Sequence[str | Path], *, out: str | Path,
            levels: bool = False, selector: Selector | None = None, device: str | None = None) -> Predictions:
    """Predicts every image and writes `out/masks/NAME.png` (index PNG), `out/overlays/NAME.jpg` and
    `out/predictions.jsonl`.

    `model` is a run or a model file. With `levels`, the masks of the levels of its class tree above the leaves go to
    `out/levels/1/NAME.png`, …; `out/model.json` says what their ids are. `selector` is how levels are labelled, the
    model's own when left out. Files that cannot be read are skipped and listed. A folder that the same model was
    writing in the same way when it was stopped is continued; any other existing folder is refused. Raises ConfigError
    for `levels` or a selector of trees where classes are flat, DataError when no image at all could be read.
    """
    file = model_file(model)
    found = find_images(images)
    segmenter = load_segmenter(file, device or ("cuda" if torch.cuda.is_available() else "cpu"))
    segmenter = with_selector(segmenter, selector)
    above = segmenter.classes.levels[:-1] if levels else ()
    if levels and not above:
        raise ConfigError("--levels: the classes of this model are a flat list, and have no levels; leave it out")
    folder = Path(out)
    say(f"output folder: {folder}")
    _open(folder, file, segmenter, above)
    journal = Journal(folder / "predictions.jsonl")
    with exclusive_lock(folder):
        result = Predictions(folder, journal.read())
        todo = _not_yet(found, result)
        finished = len(found) - len(todo)
        with progress("predicting", len(found), done=finished) as advance:
            for names, paths in _chunks(todo):
                for row in _predict_chunk(segmenter, folder, names, paths, above):
                    (result.skipped if "reason" in row else result.rows).append(row)
                    if "reason" not in row:
                        journal.append(row, durable=False)
                finished += len(names)
                advance(finished)
    for skipped in result.skipped:
        say(f"skipped {skipped['reason']}")
    if not result.rows:
        raise DataError(f"{folder}: none of the {len(found)} images could be read; see the lines above")
    say(f"{len(result.rows)} masks, {len(result.skipped)} skipped; output folder: {folder}")
    return result


def _open(folder: Path, file: Path, segmenter: Segmenter, above: Sequence[Level]) -> None:
    """Makes the output folder, unless this very model has begun it in the same way. ConfigError for any other one."""
    with open(file, "rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    facts: dict[str, Any] = {"hash": digest}
    if segmenter.classes.depth > 1:
        facts |= {"selector": segmenter.selector,
                  "levels": [{"level": level.number, "classes": level.classes.to_dict()} for level in above]}
    marker = folder / "model.json"
    if marker.exists():
        found = read_json(marker)
        if found.get("hash") != digest:
            raise ConfigError(f"{folder}: holds predictions of another model; choose another --out")
        if {key: found.get(key) for key in facts} != facts:
            raise ConfigError(f"{folder}: holds predictions with another --selector or --levels; choose another --out")
        return
    # A kill while the marker was written leaves no more than its unfinished file.
    if not folder.is_dir() or any(not path.name.startswith(STAGING_PREFIX) for path in folder.iterdir()):
        require_absent(folder)
    atomic_write_json(marker, {"model": str(file.resolve()), "classes": segmenter.classes.to_dict(), **facts})


def _not_yet(found: dict[str, Path], result: Predictions) -> dict[str, Path]:
    """The images without a row. ConfigError when a row is that of another image with the same name."""
    images = {row["mask"]: row["image"] for row in result.rows}
    for name, path in found.items():
        other = images.get(_mask_name(name), str(path))
        if other != str(path):
            raise ConfigError(f"{path}: {result.folder} holds the mask of another image with this name ({other}); "
                              "choose another --out")
    return {name: path for name, path in found.items() if _mask_name(name) not in images}


def _mask_name(name: str) -> str:
    return f"masks/{name}.png"


def _chunks(files: dict[str, Path]) -> Iterator[tuple[list[str], list[Path]]]:
    items = list(files.items())
    for start in range(0, len(items), _BATCH):
        names, paths = zip(*items[start : start + _BATCH], strict=True)
        yield list(names), list(paths)


def _predict_chunk(segmenter: Segmenter, folder: Path, names: list[str], paths: list[Path], above: Sequence[Level]
                   ) -> Iterator[dict[str, Any]]:
    readable = []
    for name, path in zip(names, paths, strict=True):
        try:
            readable.append((name, path, read_image(path, segmenter.preprocessing.exif)))
        except DataError as error:
            yield {"image": str(path), "reason": str(error)}
    if not readable:
        return
    found = segmenter.label_levels([image for _, _, image in readable])
    for (name, path, image), maps in zip(readable, found, strict=True):
        mask, overlay_file = maps[-1], folder / "overlays" / f"{name}.jpg"
        levels = [f"levels/{level.number}/{name}.png" for level in above]
        for file, level, level_mask in zip(levels, above, maps, strict=False):
            atomic_write_bytes(folder / file, mask_png(level_mask, level.classes))
        atomic_write_bytes(folder / _mask_name(name), mask_png(mask, segmenter.classes))
        atomic_write_bytes(overlay_file, jpeg_bytes(overlay(
            image, mask, segmenter.classes.colours, background=segmenter.classes.background)))
        counts = class_pixels(mask, len(segmenter.classes))
        yield {"image": str(path), "mask": _mask_name(name),
               "overlay": overlay_file.relative_to(folder).as_posix(), "height": mask.shape[0], "width": mask.shape[1],
               "pixels": dict(zip(segmenter.classes.names, np.asarray(counts[:-1]).tolist(), strict=True)),
               **({"levels": levels} if levels else {})}
