"""Mask files of every kind: lossy ones, packed ones, pages, white as 0, objects, parts, and values of no class."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers import draw_pair, encoded, palette_image
from maskwright.core.classes import ClassInfo, ClassTree
from maskwright.core.dataset import Dataset
from maskwright.core.mask_files import INDEX, MaskEncoding, is_inverted, read_mask, read_parts
from maskwright.core.sample import MaskPart, Sample, is_lossy, open_image, read_header, read_image, read_pages
from maskwright.errors import DataError

TREE = ClassTree.flat(["a", "b", "c"])
PICTURE, LABELS = draw_pair(np.random.default_rng(3), (20, 30))
SWITCH = MaskEncoding("levels", {0: 0, 255: 1})
BINARY = (LABELS > 0).astype(np.uint8)


def put(folder: Path, content: bytes, name: str = "file") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def ids_of(path: Path, encoding: MaskEncoding = INDEX, tree: ClassTree = TREE, page: int | None = None) -> np.ndarray:
    return read_mask(path, encoding, tree, page=page).ids


# -- lossy and lossless -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_lossless_webp_is_read_and_lossy_webp_is_no_index_mask(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(LABELS).convert("RGB") if mode == "L" else Image.fromarray(LABELS).convert(mode)
    assert (ids_of(put(tmp_path, encoded(image, "WEBP", lossless=True))) == LABELS).all()
    path = put(tmp_path, encoded(image, "WEBP", quality=100))
    with pytest.raises(
        DataError, match=r"WEBP changes pixel values, so it cannot be an index mask; set `encoding: levels`"
    ):
        ids_of(path)
    bright = Image.fromarray(np.kron(BINARY, np.ones((8, 8), np.uint8)) * 255).convert("RGB")
    ids = ids_of(put(tmp_path, encoded(bright, "WEBP", quality=80)), SWITCH)
    assert (ids == np.kron(BINARY, np.ones((8, 8), np.uint8))).mean() > 0.99


def test_webp_with_metadata_before_its_picture(tmp_path: Path) -> None:
    image = Image.fromarray(LABELS).convert("RGB")
    for lossless in (True, False):
        exif = Image.Exif()
        exif[0x010E] = "text" * 101
        path = put(tmp_path, encoded(image, "WEBP", lossless=lossless, exif=exif, icc_profile=b"x" * 33))
        with open_image(path) as opened:
            assert is_lossy(opened) is not lossless


@pytest.mark.parametrize("compression", ["jpeg", "webp"])
def test_a_tiff_may_hold_a_lossy_picture(tmp_path: Path, compression: str) -> None:
    try:
        content = encoded(Image.fromarray(LABELS).convert("RGB"), "TIFF", compression=compression)
    except OSError:
        pytest.skip(f"libtiff is built without {compression}")
    with pytest.raises(DataError, match="TIFF changes pixel values"):
        ids_of(put(tmp_path, content))
    for exact in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        assert (ids_of(put(tmp_path, encoded(LABELS, "TIFF", compression=exact))) == LABELS).all()


# -- packed files, GIF, pages -----------------------------------------------------------------------------------------


def test_packed_images_and_masks(tmp_path: Path) -> None:
    image = put(tmp_path, gzip.compress(encoded(PICTURE, "PPM")), "a.ppm.gz")
    mask = put(tmp_path, gzip.compress(encoded(LABELS, "PNG")), "a.PNG.GZ")
    assert (read_image(image) == PICTURE).all() and (ids_of(mask) == LABELS).all()
    assert read_header(image).size == (20, 30)


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(encoded(LABELS, "PNG"))[:60], gzip.compress(b"text"), b"\x1f\x8b\x08" + bytes(9)],
    ids=["empty", "no gzip", "cut off", "no image", "header alone"],  # gzip writes the time into the bytes
)
def test_packed_files_that_are_broken(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match=r"a\.png\.gz: (cannot be decoded|not a readable image)"):
        ids_of(put(tmp_path, content, "a.png.gz"))


def test_a_packed_file_that_would_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskwright.core.sample._UNPACKED", 1 << 20)
    with pytest.raises(DataError, match=r"holds more than 1 MiB; unpack it"):
        ids_of(put(tmp_path, gzip.compress(bytes(2 << 20)), "a.png.gz"))


def test_gif_masks_are_read_by_their_indices(tmp_path: Path) -> None:
    colours = np.array([(0, 0, 0), (255, 255, 255), (9, 9, 9)], np.uint8)
    path = put(tmp_path, encoded(palette_image(LABELS, colours), "GIF", optimize=False), "a.gif")
    assert (ids_of(path) == LABELS).all()
    two = encoded(Image.fromarray(LABELS), "GIF", save_all=True, append_images=[Image.fromarray(LABELS[::-1])])
    with pytest.raises(DataError, match="holds several frames"):
        ids_of(put(tmp_path, two, "b.gif"))


def test_pages_of_a_file(tmp_path: Path) -> None:
    masks = [LABELS, LABELS[::-1].copy(), LABELS[:, ::-1].copy()]
    pictures = [PICTURE, PICTURE[::-1].copy(), PICTURE[:, ::-1].copy()]
    paths = []
    for name, pages in (("images.tif", pictures), ("masks.tif", masks)):
        first, *rest = map(Image.fromarray, pages)
        paths.append(put(tmp_path, encoded(first, "TIFF", save_all=True, append_images=rest), name))
    assert [read_pages(path) for path in paths] == [3, 3]
    samples = tuple(Sample(f"s{page}", paths[0], paths[1], page=page) for page in range(3))
    dataset = Dataset("x", tmp_path, TREE, samples, INDEX)
    for sample, picture, mask in zip(samples, pictures, masks, strict=True):
        image, found = dataset.read(sample)
        assert (image == picture).all() and (found == mask).all() and dataset.image_size(sample) == (20, 30)
    for path in paths:
        with pytest.raises(DataError, match="holds several frames; save one image per file"):
            read_header(path)
        with pytest.raises(DataError, match="holds fewer pages"):
            read_header(path, 3)
    with pytest.raises(DataError, match="holds several frames"):
        ids_of(paths[1])
    assert (ids_of(put(tmp_path, encoded(LABELS, "PNG")), page=0) == LABELS).all()


def test_pages_have_their_own_versions(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        encoded(Image.fromarray(LABELS), "TIFF", save_all=True, append_images=[Image.fromarray(LABELS)]),
        "a.tif",
    )
    versions = {Dataset("x", tmp_path, TREE, (Sample("s", path, path, page=page),), INDEX).version() for page in (0, 1)}
    assert len(versions) == 2


# -- white as 0 -------------------------------------------------------------------------------------------------------


def white_as_zero(stored: np.ndarray, bits: int, fill: int = 1) -> bytes:
    """A TIFF (H, W) with these stored values, of which 0 is shown white, written from the specification (TIFF 6.0)."""
    height, width = stored.shape
    places = np.arange(bits - 1, -1, -1)
    rows = (
        np.unpackbits(stored.astype(np.uint8)[..., None], axis=2)[..., -bits:]
        if bits <= 8
        else stored[..., None] >> places & 1
    )
    flat = rows.reshape(height, width * bits).astype(np.uint8)
    data = np.packbits(flat, axis=1, bitorder="little" if fill == 2 else "big").tobytes()
    if bits == 16:
        data = stored.astype("<u2").tobytes()
    tags = [
        (256, width),
        (257, height),
        (258, bits),
        (259, 1),
        (262, 0),
        (266, fill),
        (273, 8),
        (277, 1),
        (278, height),
        (279, len(data)),
    ]
    entries = b"".join(
        tag.to_bytes(2, "little") + b"\4\0" + b"\1\0\0\0" + value.to_bytes(4, "little") for tag, value in tags
    )
    place = 8 + len(data)
    return b"II*\0" + place.to_bytes(4, "little") + data + len(tags).to_bytes(2, "little") + entries + bytes(4)


@pytest.mark.parametrize(("bits", "fill"), [(1, 1), (1, 2), (8, 1)])  # Pillow reads no 8 bits with fill order 2
def test_white_as_zero_is_read_as_the_dataset_says(tmp_path: Path, bits: int, fill: int) -> None:
    stored = BINARY if bits == 1 else LABELS
    path = put(tmp_path, white_as_zero(stored, bits, fill), "a.tif")
    with open_image(path) as image:
        assert is_inverted(image)
    for kind in ("index", "levels", "colour", "objects"):
        with pytest.raises(DataError, match=r"stores white as 0.*`inverted: stored` or `inverted: shown`"):
            ids_of(path, MaskEncoding(kind, {0: 0, 255: 1} if kind == "levels" else {}))
    shown = (1 if bits == 1 else 255) - stored
    assert (ids_of(path, MaskEncoding(inverted="stored")) == stored).all()
    assert (ids_of(path, MaskEncoding(inverted="shown")) == shown).all()
    assert (ids_of(path, MaskEncoding("objects", inverted="stored")) == (stored > 0)).all()
    assert (ids_of(path, MaskEncoding("objects", inverted="shown")) == (shown > 0)).all()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_levels_of_white_as_zero(tmp_path: Path, bits: int) -> None:
    path = put(tmp_path, white_as_zero(BINARY * (2**bits - 1), bits), "a.tif")
    with pytest.raises(DataError, match="stores white as 0"):
        ids_of(path, SWITCH)
    for inverted, wanted in (("stored", BINARY), ("shown", 1 - BINARY)):
        assert (ids_of(path, MaskEncoding("levels", {0: 0, 255: 1}, inverted=inverted)) == wanted).all()
    if bits in (2, 4):
        with pytest.raises(DataError, match="fewer than 8 bits are ambiguous"):
            ids_of(path, MaskEncoding(inverted="stored"))


def test_white_as_zero_of_16_bits(tmp_path: Path) -> None:
    path = put(tmp_path, white_as_zero(LABELS.astype(np.uint16) * 300, 16), "a.tif")
    for inverted in (None, "shown"):
        with pytest.raises(DataError, match="stores white as 0 with more than 8 bits; set `inverted: stored`"):
            ids_of(path, MaskEncoding(inverted=inverted))
    assert (ids_of(path, MaskEncoding(inverted="stored")) == LABELS.astype(int) * 300).all()


def test_black_as_zero_is_the_same_with_every_option(tmp_path: Path) -> None:
    for content in (encoded(LABELS, "TIFF"), encoded(LABELS, "PNG"), encoded(Image.fromarray(BINARY > 0), "PNG")):
        path = put(tmp_path, content)
        wanted = ids_of(path)
        for inverted in ("stored", "shown"):
            assert (ids_of(path, MaskEncoding(inverted=inverted)) == wanted).all()


# -- objects ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["grey", "16 bits", "palette", "RGB", "RGBA", "1"])
def test_objects_of_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    instances = LABELS.astype(np.uint16)
    image = {
        "grey": Image.fromarray(LABELS * 70),
        "16 bits": Image.fromarray(instances * 30_000),
        "palette": palette_image(LABELS, np.array([(9, 9, 9), (0, 0, 0), (1, 2, 3)])),
        "RGB": Image.fromarray(np.array([(0, 0, 0), (0, 0, 1), (200, 0, 0)], np.uint8)[LABELS]),
        "RGBA": Image.fromarray(np.array([(0, 0, 0, 0), (255, 203, 0, 153), (0, 9, 0, 255)], np.uint8)[LABELS]),
        "1": Image.fromarray(LABELS > 0),
    }[kind]
    found = read_mask(put(tmp_path, encoded(image, "PNG")), MaskEncoding("objects"), TREE)
    assert (found.ids == BINARY).all() and found.inexact == 0


def test_lossy_files_hold_no_objects(tmp_path: Path) -> None:
    """Around an edge JPEG leaves values near 0, which would all be objects."""
    path = put(tmp_path, encoded(BINARY * 255, "JPEG", quality=90))
    with pytest.raises(DataError, match="JPEG changes pixel values, so it cannot be one of objects"):
        ids_of(path, MaskEncoding("objects"))


# -- values of no class -----------------------------------------------------------------------------------------------

COLOURS = ClassTree((ClassInfo(0, "a", (0, 0, 0)), ClassInfo(1, "b", (255, 0, 0)), ClassInfo(2, "c", (250, 0, 0))))
OTHERS: dict[str, tuple[MaskEncoding, np.ndarray, ClassTree, int]] = {
    "levels": (MaskEncoding("levels", {0: 0, 100: 1, 200: 2}), np.array([[0, 100, 200, 190]], np.uint8), TREE, 2),
    "colour": (
        MaskEncoding("colour"),
        np.array([[(0, 0, 0), (255, 0, 0), (250, 0, 0), (251, 0, 0)]], np.uint8),
        COLOURS,
        2,
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_levels_and_colours_of_no_class(tmp_path: Path, kind: str) -> None:
    encoding, pixels, tree, nearest = OTHERS[kind]
    path = put(tmp_path, encoded(pixels, "PNG"))

    def read(others: Any) -> Any:
        return read_mask(path, MaskEncoding(encoding.kind, encoding.levels, others=others), tree)

    for others in (None, "nearest"):
        assert read(others).ids.tolist() == [[0, 1, 2, nearest]] and read(others).inexact == 1
    assert read("ignore").ids.tolist() == [[0, 1, 2, tree.ignore]] and read("ignore").inexact == 1
    with pytest.raises(DataError, match=r"1 pixels have no .*`others: nearest` or `others: ignore`"):
        read("refuse")


def test_ids_of_no_class(tmp_path: Path) -> None:
    path = put(tmp_path, encoded(np.array([[0, 1, 2, 7, 255]], np.uint8), "PNG"))
    for others in (None, "refuse"):
        pixels = read_mask(path, MaskEncoding(others=others), TREE)
        with pytest.raises(DataError, match="7"):
            TREE.to_indices(pixels.ids, str(path))
    pixels = read_mask(path, MaskEncoding(others="ignore"), TREE)
    assert TREE.to_indices(pixels.ids, "x").tolist() == [[0, 1, 2, 255, 255]] and pixels.inexact == 1


# -- parts ------------------------------------------------------------------------------------------------------------


def parts(folder: Path, *masks: tuple[np.ndarray, int | None]) -> list[MaskPart]:
    return [MaskPart(put(folder, encoded(mask, "PNG"), f"{n}.png"), id_) for n, (mask, id_) in enumerate(masks)]


LEFT, RIGHT = np.zeros((4, 6), np.uint8), np.zeros((4, 6), np.uint8)
LEFT[:, :3], RIGHT[:, 2:5] = 1, 1


@pytest.mark.parametrize("encoding", [INDEX, SWITCH, MaskEncoding("objects")])
@pytest.mark.parametrize("background", [0, 5, None])
def test_one_file_a_class(tmp_path: Path, encoding: MaskEncoding, background: int | None) -> None:
    """Later ones lie on top; where none marks anything is background, or where no class is, ignored."""
    if background is None:
        tree = ClassTree((ClassInfo(0, "left", (1, 1, 1)), ClassInfo(1, "right", (2, 2, 2))), background_id=None)
        classes = (0, 1)
    else:
        tree, classes = ClassTree.flat(["background", "left", "right"], ids=[background, 1, 2]), (1, 2)
    factor = 255 if encoding.kind == "levels" else 1
    if encoding.kind == "levels" and background:
        encoding = MaskEncoding("levels", {0: background, 255: 1})
    found = read_parts(parts(tmp_path, (LEFT * factor, classes[0]), (RIGHT * factor, classes[1])), encoding, tree)
    empty = tree.ignore if background is None else background
    assert found.ids.tolist() == [[classes[0]] * 2 + [classes[1]] * 3 + [empty]] * 4
    assert found.hidden == 4 and found.inexact == 0


def test_one_file_an_object_of_ids(tmp_path: Path) -> None:
    found = read_parts(parts(tmp_path, (LEFT * 2, None), (RIGHT, None)), INDEX, TREE)
    assert found.ids.tolist() == [[2, 2, 1, 1, 1, 0]] * 4 and found.hidden == 4
    found = read_parts(parts(tmp_path, (LEFT * 2, None), (RIGHT * 2, None)), INDEX, TREE)
    assert found.ids.tolist() == [[2, 2, 2, 2, 2, 0]] * 4 and found.hidden == 0


def test_ignored_pixels_and_stray_values_of_parts(tmp_path: Path) -> None:
    strange = RIGHT * 255
    assert (
        read_parts(parts(tmp_path, (LEFT, 1), (strange, 2)), INDEX, TREE).ids.tolist() == [[1, 1, 255, 255, 255, 0]] * 4
    )
    grey = np.where(RIGHT > 0, 200, 0).astype(np.uint8)
    assert read_parts(parts(tmp_path, (LEFT * 255, 1), (grey, 2)), SWITCH, TREE).inexact == 12


def test_parts_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1\.png: is 6x3 but 0\.png is 6x4; draw it again"):
        read_parts(parts(tmp_path, (LEFT, 1), (RIGHT[:3], 2)), INDEX, TREE)
    several = parts(tmp_path, (LEFT, 1), (RIGHT, 2))
    several[1].file.unlink()
    with pytest.raises(DataError, match=r"1\.png: no such file"):
        read_parts(several, INDEX, TREE)


def test_a_sample_of_parts(tmp_path: Path) -> None:
    several = tuple(parts(tmp_path, (LEFT, 1), (RIGHT, 2)))
    image = put(tmp_path, encoded(np.zeros((4, 6, 3), np.uint8), "PNG"), "image.png")
    sample = Sample("s", image, parts=several)
    dataset = Dataset("x", tmp_path, TREE, (sample,), INDEX)
    assert sample.labelled and sample.label_file == several[0].file and len(sample.mask_files) == 2
    assert dataset.read(sample)[1].tolist() == [[1, 1, 2, 2, 2, 0]] * 4
    before = dataset.version()
    put(tmp_path, encoded(LEFT * 0, "PNG"), "0.png")
    assert dataset.version() != before
