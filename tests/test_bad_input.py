"""Broken, odd and hostile input: every row of the table of `broken` ends as it says, and odd files mean what is stated."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from broken import TABLE
from broken.folders import GOOD, NEEDS
from broken.judge import judge
from broken.pixels import COLOURS, GREY, IMAGE, LABELS, MASK, PICTURE, SIXTEEN, SIZE, wide_colour_png, with_alpha
from broken.table import Row
from helpers import encoded, fingerprint, make_dataset, palette_image
from maskwright.cli import main
from maskwright.data.formats import FORMATS
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A good folder of a form, made once."""
    home = tmp_path_factory.mktemp("good")

    def of(form: str) -> Path:
        folder = home / form.replace(" ", "-")
        if not folder.exists():
            GOOD[form](folder)
        return folder

    return of


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_row_of_the_table(row: Row, good: Callable[[str], Path], tmp_path: Path) -> None:
    if row.form in NEEDS:
        pytest.importorskip(NEEDS[row.form])
    judge(row, good(row.form), tmp_path)


def test_every_reader_and_every_place_has_rows() -> None:
    assert {name for name, row in FORMATS.items() if row.read} - {"yolo"} <= {row.form for row in TABLE}
    assert {row.place for row in TABLE} == {"image", "mask", "name", "annotation", "description", "archive"}
    assert {row.verdict for row in TABLE} == {"refused", "error", "warning", "note"}


@pytest.mark.parametrize(
    ("verdict", "code", "status"),
    [("refused", 3, 3), ("refused", 2, 2), ("error", 3, 1), ("warning", 3, 1), ("note", 3, 0)],
)
def test_the_command_line_says_the_same(
    verdict: str,
    code: int,
    status: int,
    good: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = next(row for row in TABLE if (row.verdict, row.code) == (verdict, code) and row.place != "archive")
    folder = tmp_path / "data"
    make_dataset(folder, images=4, size=SIZE, describe=True)
    row.breaks(folder)
    with pytest.raises(SystemExit) as stopped:
        main(["audit", str(folder), "--json", "--fail-on", "warning"])
    out, err = capsys.readouterr()
    assert stopped.value.code == status
    if verdict == "refused":
        assert not out and str(folder) in err
        assert row.says in err and len(err.splitlines()) == 1
    else:
        assert not err and any(row.says in finding["message"] for finding in json.loads(out)["findings"])


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "data", images=4, size=SIZE, describe=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission(dataset: Path) -> None:
    (dataset / IMAGE).chmod(0)
    with pytest.raises(DataError, match="no permission"):
        read_first(dataset)


def test_an_empty_or_missing_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"/empty: no images found.*; "):
        load_dataset(tmp_path / "empty")
    with pytest.raises(DataError, match=r"/missing: no such folder; "):
        load_dataset(tmp_path / "missing")


def read_first(folder: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    dataset = load_dataset(folder)
    return dataset.read(next(sample for sample in dataset.samples if sample.name == "train/000"))


def grey_of(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.repeat(np.asarray(Image.fromarray(picture).convert("L"))[..., None], 3, 2)


PALETTE = np.random.default_rng(1).integers(0, 256, (256, 3)).astype(np.uint8)
INDEXED = np.asarray(GREY)
# Name -> (content of the image file, the pixels that are read from it).
IMAGES: dict[str, tuple[bytes, npt.NDArray[np.uint8]]] = {
    "png": (encoded(PICTURE, "PNG"), PICTURE),
    "bmp": (encoded(PICTURE, "BMP"), PICTURE),
    "tiff": (encoded(PICTURE, "TIFF", compression="tiff_lzw"), PICTURE),
    "webp": (encoded(PICTURE, "WEBP", lossless=True), PICTURE),
    "ppm": (encoded(PICTURE, "PPM"), PICTURE),
    "grey": (encoded(GREY, "PNG"), grey_of(PICTURE)),
    "jpeg": (encoded(np.full_like(PICTURE, 80), "JPEG", quality=100), np.full_like(PICTURE, 80)),
    "palette": (encoded(palette_image(INDEXED, PALETTE), "PNG"), PALETTE[INDEXED]),
    "palette with one transparent": (encoded(palette_image(INDEXED, PALETTE), "PNG", transparency=7), PALETTE[INDEXED]),
    "palette with transparencies": (
        encoded(palette_image(INDEXED, PALETTE), "PNG", transparency=bytes(range(256))),
        PALETTE[INDEXED],
    ),
    "alpha is dropped": (encoded(np.dstack([PICTURE, INDEXED]), "PNG"), PICTURE),
    "grey with alpha": (encoded(np.dstack([INDEXED, 255 - INDEXED]), "PNG"), grey_of(PICTURE)),
    "one bit": (
        encoded(GREY.point(lambda v: 255 * (v > 99)).convert("1", dither=0), "PNG"),
        np.repeat(np.uint8(255) * (INDEXED > 99).astype(np.uint8)[..., None], 3, 2),
    ),
    "16-bit png": (encoded(SIXTEEN, "PNG"), np.repeat((SIXTEEN >> 8).astype(np.uint8)[..., None], 3, 2)),
    "16-bit tiff": (encoded(SIXTEEN, "TIFF"), np.repeat((SIXTEEN >> 8).astype(np.uint8)[..., None], 3, 2)),
    "16-bit colour": (wide_colour_png(PICTURE.astype(np.uint16) * 257), PICTURE),
    "cmyk": (encoded(Image.fromarray(PICTURE).convert("CMYK"), "TIFF"), PICTURE),
    "phone": (
        encoded(
            Image.fromarray(np.full_like(PICTURE, 80)),
            "MPO",
            quality=100,
            save_all=True,
            append_images=[Image.fromarray(PICTURE)],
        ),
        np.full_like(PICTURE, 80),
    ),
}


@pytest.mark.parametrize("row", IMAGES)
def test_odd_images_are_read_as_stated(dataset: Path, row: str) -> None:
    content, expected = IMAGES[row]
    (dataset / IMAGE).write_bytes(content)
    before = fingerprint(dataset)
    image, _ = read_first(dataset)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, expected)
    assert fingerprint(dataset) == before


# Name -> content of a mask file that means LABELS.
MASKS: dict[str, bytes] = {
    "grey": encoded(LABELS, "PNG"),
    "bmp": encoded(LABELS, "BMP"),
    "tiff": encoded(LABELS, "TIFF", compression="tiff_deflate"),
    "pgm": encoded(LABELS, "PPM"),
    "palette": encoded(palette_image(LABELS, COLOURS), "PNG"),
    "palette whose colours are other ids": encoded(palette_image(LABELS, np.array([[2] * 3, [0] * 3, [1] * 3])), "PNG"),
    "palette of two bits": encoded(palette_image(LABELS, COLOURS), "PNG", bits=2),
    "palette with transparencies": encoded(palette_image(LABELS, COLOURS), "PNG", transparency=b"\0\x80\xff"),
    "16-bit": encoded(LABELS.astype(np.uint16), "PNG"),
    "16-bit tiff": encoded(LABELS.astype(np.uint16), "TIFF"),
    "32-bit tiff": encoded(LABELS.astype(np.int32), "TIFF"),
    "ids three times": encoded(np.repeat(LABELS[..., None], 3, 2), "PNG"),
    "ids with an opaque alpha": encoded(with_alpha(LABELS, 255), "PNG"),
}


@pytest.mark.parametrize("row", MASKS)
def test_masks_are_read_by_their_stored_values(dataset: Path, row: str) -> None:
    (dataset / MASK).write_bytes(MASKS[row])
    before = fingerprint(dataset)
    _, mask = read_first(dataset)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, LABELS)
    assert fingerprint(dataset) == before


def test_a_mask_of_one_bit_holds_zero_and_one(dataset: Path) -> None:
    (dataset / MASK).write_bytes(encoded(Image.fromarray((LABELS == 1).astype(np.uint8) * 255).convert("1"), "PNG"))
    _, mask = read_first(dataset)
    np.testing.assert_array_equal(mask, LABELS == 1)


def test_what_is_no_image_file_is_passed_over(dataset: Path) -> None:
    before = [sample.name for sample in load_dataset(dataset).samples]
    (dataset / "img/train/folder.png").mkdir()
    (dataset / "img/train/dangling.png").symlink_to("nowhere.png")
    for name in ("._000.png", "Thumbs.db", ".DS_Store", "notes.txt", ".hidden/001.png"):
        (dataset / "img/train" / name).parent.mkdir(exist_ok=True)
        (dataset / "img/train" / name).write_bytes(b"\0\5\x16\7")
    assert [sample.name for sample in load_dataset(dataset).samples] == before
    read_first(dataset)
