"""The verb `predict`: masks and overlays for a folder, a list or a glob of images."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from maskwright.base import cluster
from maskwright.base.progress import progress, say
from maskwright.base.storage import atomic_write_bytes, exclusive_lock
from maskwright.base.texts import listing, plural
from maskwright.core.arrays import holds_pixels
from maskwright.core.bands import Stored
from maskwright.core.classes import Level, Selector
from maskwright.core.left_out import Opened, sentence
from maskwright.core.masks import jpeg_bytes, mask_png, overlay
from maskwright.core.predictor import Predictor, with_selector
from maskwright.core.sample import read_bands
from maskwright.core.tiff_windows import open_windows
from maskwright.errors import ConfigError, DataError, SetupError, argument
from maskwright.inference.averaging import averaged
from maskwright.inference.beginning import averaging, begin
from maskwright.inference.book import Book, identity
from maskwright.inference.by_windows import predict_by_windows
from maskwright.inference.derived import mask_statistics, require_annotations, write_derived
from maskwright.inference.inputs import ImageFile, find_images
from maskwright.inference.loading import model_file, open_model, require_torch
from maskwright.inference.predictions import Predictions
from maskwright.inference.probabilities import write_probabilities
from maskwright.run import Run

BATCH = 8
# Of images that are held at once, before the last one.
MOST_BYTES = 1 << 26
_NO_MEMORY = re.compile("(out of|not enough|insufficient|allocate) memory", re.IGNORECASE)


Array = npt.NDArray[Any] | Image.Image


@overload
def predict(
    model: str | Path | Run,
    images: Array,
    *,
    out: None = None,
    levels: bool = False,
    selector: Selector | None = None,
    probabilities: bool = False,
    format: str | None = None,
    with_: Sequence[str | Path | Run] = (),
    flip_average: bool | None = None,
    scales: Sequence[float] = (),
    device: str | None = None,
    postprocess: bool = True,
) -> npt.NDArray[np.uint8]: ...


@overload
def predict(
    model: str | Path | Run,
    images: Sequence[Array],
    *,
    out: None = None,
    levels: bool = False,
    selector: Selector | None = None,
    probabilities: bool = False,
    format: str | None = None,
    with_: Sequence[str | Path | Run] = (),
    flip_average: bool | None = None,
    scales: Sequence[float] = (),
    device: str | None = None,
    postprocess: bool = True,
) -> list[npt.NDArray[np.uint8]]: ...


@overload
def predict(
    model: str | Path | Run,
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    levels: bool = False,
    selector: Selector | None = None,
    probabilities: bool = False,
    format: str | None = None,
    with_: Sequence[str | Path | Run] = (),
    flip_average: bool | None = None,
    scales: Sequence[float] = (),
    device: str | None = None,
    postprocess: bool = True,
) -> Predictions: ...


def predict(
    model: str | Path | Run,
    images: str | Path | Sequence[str | Path] | Array | Sequence[Array],
    *,
    out: str | Path | None = None,
    levels: bool = False,
    selector: Selector | None = None,
    probabilities: bool = False,
    format: str | None = None,
    with_: Sequence[str | Path | Run] = (),
    flip_average: bool | None = None,
    scales: Sequence[float] = (),
    device: str | None = None,
    postprocess: bool = True,
) -> Predictions | npt.NDArray[np.uint8] | list[npt.NDArray[np.uint8]]:
    """Masks for images: of files into the folder `out`, of numpy arrays and images of Pillow as arrays.

    `model` is a run, its folder, a model file, or an exported model (`MODEL.onnx`), which needs no torch. Arrays are
    given without `out` and `levels`: an image of Pillow, or an array (H, W) grey or (H, W, C), with C = 1, 3 (RGB) or 4
    (RGBA, whose alpha is left out), of uint8, uint16 or floats from 0 to 1, gives one mask (H, W) uint8 of class
    indices; a list of images of any sizes, or an array (N, H, W, C), a list of masks. `load(model).label` also takes
    paths. Files need `out`: see `predict_files`. Without `postprocess`, what `tune` chose to do with the masks is left
    out; a model file (`best.safetensors`) has none. Raises ConfigError where the two are mixed, DataError for an array
    that is no image.
    """
    for one in (model, *with_):
        require_torch(one, "predict")
    if holds_pixels(images):
        if out is not None or levels or probabilities or format:
            raise ConfigError(
                "images: arrays are predicted into arrays; leave out, levels, probabilities and format out, or give "
                "files"
            )
        opened = _opened(model, with_, flip_average, scales, device, postprocess)
        return with_selector(opened, selector).label(images)
    if out is None:
        raise ConfigError("out: files are predicted into a folder; name it, or give arrays")
    return predict_files(
        model,
        images,  # type: ignore[arg-type]
        out=out,
        levels=levels,
        selector=selector,
        probabilities=probabilities,
        format=format,
        with_=with_,
        flip_average=flip_average,
        scales=scales,
        device=device,
        postprocess=postprocess,
    )


def predict_files(
    model: str | Path | Run,
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    levels: bool = False,
    selector: Selector | None = None,
    probabilities: bool = False,
    format: str | None = None,
    with_: Sequence[str | Path | Run] = (),
    flip_average: bool | None = None,
    scales: Sequence[float] = (),
    device: str | None = None,
    postprocess: bool = True,
) -> Predictions:
    """Predicts every image and writes `out/masks/NAME.png` (index PNG), `out/overlays/NAME.jpg` and
    `out/predictions.jsonl`.

    `model` is a run, a model file or an exported model. With `levels`, the masks of the levels of its class tree above
    the leaves go to `out/levels/1/NAME.png`, …; `out/model.json` says what their ids are. `selector` is how levels are
    labelled, the model's own when left out; `postprocess` is as in `predict`. With `probabilities`, those of every
    class go to `out/probabilities/NAME.npz` (see `inference.probabilities`), and each row has `confidence`: how sure
    the model is of each class, the mean probability of the pixels that the mask gives to it; `out/confidence.csv` has a
    row an image. Files that cannot be read are skipped and listed; of folders, what is no image, hidden, a link to a
    folder or output of Maskwright is left out and listed. Where images have the same name without their endings, these
    or the folders above become part of the names of their masks.

    Probabilities are averaged, before anything is labelled, with those of other models of the same classes (`with_`),
    with those of the mirrored image (`flip_average`; the model's own choice when left out), and over the image at
    several `scales` of the size that each model was trained at (1 when left out).

    A TIFF that is too large to be read at once (see `base.limits`) is read by windows, and its masks are `NAME.tif`
    (see `inference.by_windows`); where the model or an option needs the whole image, it is skipped.

    At the end of each call follows, from all masks that are there, `out/statistics.csv`: of each image the pixels, the
    share and the objects (8-connected components) of each class, which its row in `predictions.jsonl` has too. With the
    `format` coco, `out/coco.json` has all objects of all images, as polygons along their pixels, or as run lengths
    where they have holes; with labelme, `out/labelme/NAME.json` has the polygons of an image. Once asked for, they are
    kept up to date by later calls.

    A folder that the same model was writing in the same way is continued; any other existing folder is refused. What it
    holds is known by the content of the images: an image that has changed is predicted again, one that was moved or
    whose path is written otherwise is not. Raises ConfigError for `levels` or a selector of trees where classes are
    flat, for models that cannot be averaged and scales that a model does not take, DataError when no image at all could
    be read.

    The promise for a kill and a lost power: an image in `predictions.jsonl` has all its files, whole and on the disk.
    Images that are not in it yet, those of the last ten seconds at most, 64 of them, are predicted again on continuing.
    A file that was skipped is tried again on continuing only when it has changed since.

    The folder is no `base.work_folder.WorkFolder`, which appears whole in the end: each image is a result of its own,
    of use while the others are predicted, and a later call adds images to a folder that was finished long ago.
    """
    require_annotations(format)
    file = model_file(model)
    folder = Path(out)
    found = find_images(images, folder)
    segmenter = with_selector(_opened(model, with_, flip_average, scales, device, postprocess), selector)
    above = segmenter.classes.levels[:-1] if levels else ()
    if levels and not above:
        raise ConfigError(
            f"{argument('levels')}: the classes of this model are a flat list, and have no levels; leave it out"
        )
    say(f"output folder: {folder}")
    if segmenter.postprocessing:
        say(f"post-processing: {segmenter.postprocessing}")
    begin(folder, file, segmenter, above, probabilities, averaging(with_, flip_average, scales))
    for line in found.lines():
        say(line)
    with exclusive_lock(folder):
        book = Book(folder)
        named = book.named(found.images)
        _say_names(named)
        todo = book.todo(named)
        kept = len(book.rows)
        finished = len(named) - len(todo)
        with progress("predicting", len(named), done=finished) as advance, book:
            chunks = [*_chunks(todo)]
            done = cluster.shared(lambda chunk: predict_chunk(segmenter, folder, chunk, above, probabilities), chunks)
            for chunk, rows in zip(chunks, done, strict=True):
                for row in rows:
                    book.add(row)
                book.settle_if_due()
                finished += len(chunk)
                advance(finished)
        if book.rows:
            write_derived(folder, book.rows, segmenter.classes, format, probabilities)
        result = Predictions(folder, book.rows, book.skipped, found.left_out, kept)
    for skipped in result.skipped:
        say(f"skipped {skipped['reason']}")
    if said := sentence(Counter(kind for row in result.rows for kind in row.get("left_out", ())), len(result.rows)):
        say(f"warning: {said}")
    if not result.rows:
        raise DataError(f"{folder}: none of the {len(named)} images could be read; see the lines above")
    say(result.human())
    return result


def _opened(
    model: str | Path | Run,
    with_: Sequence[str | Path | Run],
    flip_average: bool | None,
    scales: Sequence[float],
    device: str | None,
    postprocess: bool,
) -> Predictor:
    others = [open_model(one, device, postprocess=False) for one in with_]
    return averaged(open_model(model, device, postprocess), others, flip_average, scales)


def _say_names(named: Mapping[str, ImageFile]) -> None:
    """Says which masks have more than the name of their image, because another image has the same."""
    longer = [f"{image.file} -> {_mask_name(name)}" for name, image in named.items() if name != image.name]
    if longer:
        say(f"other names where several images have the same, {plural(len(longer), 'mask')}: {listing(longer)}")


def _mask_name(name: str) -> str:
    return f"masks/{name}.png"


def _chunks(images: Mapping[str, ImageFile]) -> Iterator[dict[str, ImageFile]]:
    items = list(images.items())
    for start in range(0, len(items), BATCH):
        yield dict(items[start : start + BATCH])


def predict_chunk(
    segmenter: Predictor,
    folder: Path,
    images: Mapping[str, ImageFile],
    above: Sequence[Level],
    probabilities: bool = False,
) -> Iterator[dict[str, Any]]:
    """Predicts some images at once and writes their files; yields the record of each image, read or not."""
    readable: list[_Read] = []
    for name, image in images.items():
        row, preprocessing = identity(image), segmenter.preprocessing
        try:
            with open_windows(image.file, preprocessing.bands) as large:
                if large is not None:
                    with memory_errors(row["image"], large.shape):
                        row |= predict_by_windows(segmenter, folder, name, large, above, probabilities)
            if large is not None:
                yield row
                continue
            opened = Opened()
            pixels = read_bands(image.file, preprocessing.bands, preprocessing.exif, opened)
            kinds = opened.kinds() if preprocessing.bands.plain else []
            left_out = {"left_out": kinds} if kinds else {}
            readable.append((name, row | left_out, pixels))
        except DataError as error:
            yield row | {"reason": str(error)}
        if sum(pixels.nbytes for _, _, pixels in readable) >= MOST_BYTES:
            yield from _predicted(segmenter, folder, readable, above, probabilities)
            readable = []
    yield from _predicted(segmenter, folder, readable, above, probabilities)


# The name of its masks, what is known of it, and its pixels.
_Read = tuple[str, dict[str, Any], Stored]


def _predicted(
    segmenter: Predictor, folder: Path, images: Sequence[_Read], above: Sequence[Level], probabilities: bool
) -> Iterator[dict[str, Any]]:
    found = segmenter.label_with_maps([pixels for _, _, pixels in images])
    for name, row, pixels in images:
        with memory_errors(row["image"], pixels.shape):
            levels, maps = next(found)
            row |= _write(segmenter, folder, name, pixels, levels, above)
            if probabilities:
                file = f"probabilities/{name}.npz"
                sure = write_probabilities(folder / file, maps(), levels[-1], segmenter.classes)
                row |= {"probabilities": file, "confidence": sure}
            yield row


def _write(
    segmenter: Predictor,
    folder: Path,
    name: str,
    pixels: Stored,
    maps: Sequence[npt.NDArray[np.uint8]],
    above: Sequence[Level],
) -> dict[str, Any]:
    """Writes the masks and the overlay of one image; what its record says of them."""
    classes, mask = segmenter.classes, maps[-1]
    overlay_file = f"overlays/{name}.jpg"
    levels = [f"levels/{level.number}/{name}.png" for level in above]
    for file, level, level_mask in zip(levels, above, maps, strict=False):
        atomic_write_bytes(folder / file, mask_png(level_mask, level.classes), durable=False)
    atomic_write_bytes(folder / _mask_name(name), mask_png(mask, classes), durable=False)
    drawn = overlay(segmenter.preprocessing.bands.picture(pixels), mask, classes.colours, background=classes.background)
    atomic_write_bytes(folder / overlay_file, jpeg_bytes(drawn), durable=False)
    return {
        "mask": _mask_name(name),
        "overlay": overlay_file,
        "height": mask.shape[0],
        "width": mask.shape[1],
        **mask_statistics(mask, classes),
        **({"levels": levels} if levels else {}),
    }


@contextmanager
def memory_errors(image: str, shape: tuple[int, ...]) -> Iterator[None]:
    """A SetupError with the name of the image where memory does not suffice, which torch and OpenCV say in words."""
    try:
        yield
    except (MemoryError, RuntimeError, cv2.error) as error:
        if not isinstance(error, MemoryError) and not _NO_MEMORY.search(str(error)):
            raise
        raise SetupError(
            f"{image}: not enough memory to predict an image of {shape[1]}x{shape[0]}; end other programs, cut the "
            "image into parts, or take a machine with more memory"
        ) from error
