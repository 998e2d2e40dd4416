"""What the values in masks are found to mean, and where the names of classes come from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from folder_trees import IGNORED, Build, Tree, colours_of, differences, read_back
from PIL import Image

from helpers import Pixels, encoded, palette_image
from maskwright.data.init import init
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError, MaskwrightError

ROWS: dict[str, Build] = {}
TABLE = [(0, 0, 0), (200, 20, 20), (20, 20, 200), (20, 200, 20)]
NEAR = [(0, 0, 0), (128, 64, 128), (128, 64, 130), (130, 64, 128)]


def masks(
    save: Callable[[Tree, int, Pixels], object],
    classes: int = 4,
    truth: Callable[[int, Pixels], npt.NDArray[np.int64]] = lambda i, label: label.astype(np.int64),
    exact: bool = True,
    count: int = 6,
) -> Build:
    """Images with masks that `save` writes; `truth` is what is to be read of the classes 0 to `classes` - 1."""

    def build(tree: Tree) -> None:
        tree.exact = exact
        for i in range(count):
            scene = tree.scene(classes)
            tree.save(f"images/{i}.jpg", scene.rgb)
            save(tree, i, scene.label)
            tree.expect(f"images/{i}.jpg", truth(i, scene.label))

    return build


def png(
    change: Callable[[int, Pixels], npt.NDArray[np.generic] | Image.Image], end: str = "png"
) -> Callable[..., object]:
    def save(tree: Tree, i: int, label: Pixels) -> None:
        tree.save(f"masks/{i}.{end}", change(i, label))

    return save


def with_value(i: int, label: Pixels, value: int, every: int = 1) -> Pixels:
    found = label.copy()
    if i % every == 0:
        found[:2] = value
    return found


def strays(i: int, label: Pixels) -> Pixels:
    found = label.copy()
    if i == 2:
        found[40, 3] = 77
    return found


def with_ignored(i: int, label: Pixels) -> npt.NDArray[np.int64]:
    found = label.astype(np.int64)
    found[:2] = IGNORED
    return found


def smooth(i: int, label: Pixels) -> Pixels:
    """Black and white with grey outlines."""
    wide = cv2.resize(label * 255, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
    return cv2.resize(cv2.GaussianBlur(wide, (0, 0), 1.0), label.shape[::-1], interpolation=cv2.INTER_AREA)


ROWS |= {
    "ids": masks(png(lambda i, label: label)),
    "ids in RGB": masks(png(lambda i, label: np.stack([label] * 3, 2))),
    "ids with 255": masks(png(lambda i, label: with_value(i, label, 255)), truth=with_ignored),
    "ids with 255 in one mask of six": masks(
        png(lambda i, label: with_value(i, label, 255, 6)),
        truth=lambda i, label: with_ignored(i, label) if i == 0 else label.astype(np.int64),
    ),
    "1 to K, no background": masks(png(lambda i, label: label + 1), truth=lambda i, label: label.astype(np.int64) + 1),
    "ids of 16 bits": masks(
        png(lambda i, label: label.astype(np.uint16) * 700), truth=lambda i, label: label.astype(np.int64) * 700
    ),
    "ids as floats": masks(png(lambda i, label: label.astype(np.float32), "tif")),
    "ids in arrays of int64": masks(png(lambda i, label: label.astype(np.int64), "npy")),
    "ids in a palette": masks(png(lambda i, label: palette_image(label, np.array(TABLE)))),
    "ids in a palette of one colour twice": masks(
        png(lambda i, label: palette_image(label, np.array([TABLE[0], TABLE[1], TABLE[1], TABLE[2]])))
    ),
    "1 bit": masks(png(lambda i, label: Image.fromarray(label * 255).convert("1")), classes=2),
    "0 and 1": masks(png(lambda i, label: label), classes=2),
    "0 and 255": masks(png(lambda i, label: label * 255), classes=2),
    "0 and 1 beside 0 and 255": masks(png(lambda i, label: label * (255 if i % 2 else 1)), classes=2),
    "0 and 1, one of six with 255": masks(png(lambda i, label: label * (255 if i == 5 else 1)), classes=2),
    "0 and 128": masks(png(lambda i, label: label * 128), classes=2, exact=False),
    "0, 128 and 255": masks(png(lambda i, label: np.array([0, 128, 255], np.uint8)[label]), classes=3),
    "a mask that is empty": masks(
        png(lambda i, label: label * 0 if i == 1 else label * 255),
        classes=2,
        truth=lambda i, label: label.astype(np.int64) * (i != 1),
    ),
    "a mask that is full": masks(
        png(lambda i, label: label * 0 + 255 if i == 1 else label * 255),
        classes=2,
        truth=lambda i, label: np.ones_like(label, np.int64) if i == 1 else label.astype(np.int64),
    ),
    "smooth outlines": masks(png(smooth), classes=2, truth=lambda i, label: (smooth(i, label) >= 128).astype(np.int64)),
    "colours": masks(png(lambda i, label: colours_of(label, TABLE)), exact=False),
    "colours that lie near each other": masks(png(lambda i, label: colours_of(label, NEAR)), exact=False),
    "colours with opaque alpha": masks(
        png(lambda i, label: Image.fromarray(colours_of(label, TABLE)).convert("RGBA")), exact=False
    ),
    "colours in bmp": masks(png(lambda i, label: colours_of(label, TABLE), "bmp"), exact=False),
    "one stray pixel": masks(
        png(strays), truth=lambda i, label: np.where(strays(i, label) == 77, IGNORED, label.astype(np.int64))
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_meanings(name: str, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    ROWS[name](tree)
    result = read_back(tree, tmp_path / "out")
    if name == "one stray pixel":
        assert "stray" in result.human()


def test_a_rare_class_of_one_small_object_is_no_stray(tmp_path: Path) -> None:
    """Few pixels, but an object of 5 x 5 and no speck."""
    tree = Tree(tmp_path / "data")
    for i in range(20):
        scene = tree.scene(size=(120, 120))
        if i == 7:
            scene.label[100:105, 100:105] = 9
        tree.save(f"images/{i}.jpg", scene.rgb)
        tree.save(f"masks/{i}.png", scene.label)
        tree.expect(f"images/{i}.jpg", scene.label)
    read_back(tree, tmp_path / "out")


def test_masks_of_0_and_255_among_masks_of_ids_are_told(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    for i in range(8):
        scene = tree.scene(3 if i < 6 else 2)
        tree.save(f"images/{i}.jpg", scene.rgb)
        tree.save(f"masks/{i}.png", scene.label if i < 6 else scene.label * np.uint8(255))
    text = init(tree.root, out=tmp_path / "out").human()
    assert "2 masks hold 255 and no class" in text


def test_masks_of_0_1_2_among_masks_of_0_127_254_are_told(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    masks(png(lambda i, label: label * np.uint8(127 if i % 2 else 1)), 3)(tree)
    text = init(tree.root, out=tmp_path / "out").human()
    assert "3 masks hold 1, 2; 3 masks hold 127, 254; these may be the same classes in other values" in text


def test_palettes_of_another_order_are_a_question(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    turned = np.array([0, 2, 1], np.uint8)

    def save(i: int, label: Pixels) -> Image.Image:
        shades = np.array(TABLE[:3])
        return palette_image(turned[label], shades[turned]) if i % 2 else palette_image(label, shades)

    masks(png(save), 3)(tree)
    with pytest.raises(
        ConfigError, match=r"palettes of the masks differ: #1414C8 is 1 and 2; choose with `encoding` index or"
    ):
        init(tree.root, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- both answers of a question ---


def fax(path: Path, label: Pixels, mode: str) -> Pixels:
    """Writes a TIFF with white as 0, background white; returns the bytes or bits that it holds, read by hand."""
    image = Image.fromarray(((1 - label) * 255).astype(np.uint8)).convert(mode)
    image.save(path, tiffinfo={262: 0})
    with Image.open(path) as opened:
        assert opened.tag_v2[262] == 0 and len(opened.tag_v2[273]) == 1
        start, count = opened.tag_v2[273][0], opened.tag_v2[279][0]
    strip = np.frombuffer(path.read_bytes()[start : start + count], np.uint8)
    return (np.unpackbits(strip) if mode == "1" else strip).reshape(label.shape)


@pytest.mark.parametrize("mode", ["1", "L"])
def test_white_as_zero_is_a_question_with_two_right_answers(mode: str, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    stored = []
    for i in range(4):
        scene = tree.scene(classes=2)
        tree.save(f"images/{i}.jpg", scene.rgb)
        (tree.root / "masks").mkdir(exist_ok=True)
        stored.append(fax(tree.root / f"masks/{i}.tif", scene.label, mode) > 0)
    with pytest.raises(ConfigError, match=r"--inverted stored or --inverted shown|`inverted`"):
        init(tree.root, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for answer in ("stored", "shown"):
        init(tree.root, out=tmp_path / answer, inverted=answer)  # type: ignore[arg-type]
        dataset = load_dataset(tmp_path / answer)
        for sample, bits in zip(dataset.samples, stored, strict=True):
            ids = np.array(dataset.classes.ids)[dataset.read_mask(sample)]
            assert ((ids > 0) == (bits if answer == "stored" else ~bits)).all(), answer


# --- what is not taken for a mask ---


REFUSED: dict[str, tuple[Callable[..., object], int]] = {
    "resized with interpolation": (
        png(
            lambda i, label: cv2.resize(
                cv2.resize(label * 40, None, fx=0.31, fy=0.31, interpolation=cv2.INTER_AREA), (64, 48)
            )
        ),
        4,
    ),
    "JPEG of several ids": (
        lambda tree, i, label: _bytes(tree, f"masks/{i}.jpg", encoded(label * 60, "JPEG", quality=70)),
        4,
    ),
    "floats between the ids": (png(lambda i, label: label.astype(np.float32) + 0.25, "tif"), 4),
    "negative ids": (png(lambda i, label: label.astype(np.int16) - 1, "npy"), 4),
}


def _bytes(tree: Tree, path: str, data: bytes) -> None:
    (tree.root / path).parent.mkdir(parents=True, exist_ok=True)
    (tree.root / path).write_bytes(data)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_exactly_is_never_read_in_silence(name: str, tmp_path: Path) -> None:
    save, classes = REFUSED[name]
    tree = Tree(tmp_path / "data")
    masks(save, classes)(tree)
    try:
        result = init(tree.root, out=tmp_path / "out")
    except (ConfigError, DataError):
        assert not (tmp_path / "out").exists()
        return
    dataset = load_dataset(tmp_path / "out")
    for sample in dataset.samples:
        if sample.labelled and not result.detection.unsure:
            with pytest.raises(MaskwrightError):
                dataset.read_mask(sample)


# --- names of classes ---

NAMES = ["sky", "road", "car", "tree"]
HEXES = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in TABLE]
BY_COLOUR = {
    "class_dict.csv": "name,r,g,b\n" + "".join(f"{n},{r},{g},{b}\n" for n, (r, g, b) in zip(NAMES, TABLE, strict=True)),
    "class_dict_seg.csv": "name, r, g, b\n"
    + "".join(f"{n}, {r}, {g}, {b}\n" for n, (r, g, b) in zip(NAMES, TABLE, strict=True)),
    "labelmap.txt": "# label:color_rgb:parts:actions\n"
    + "".join(f"{n}:{r},{g},{b}::\n" for n, (r, g, b) in zip(NAMES, TABLE, strict=True)),
    "label_colors.txt": "".join(f"{r} {g} {b}\t{n}\n" for n, (r, g, b) in zip(NAMES, TABLE, strict=True)),
    "masks/colormap.txt": "".join(
        f"{i} {n} {r} {g} {b}\n" for i, (n, (r, g, b)) in enumerate(zip(NAMES, TABLE, strict=True))
    ),
    "classes.json": json.dumps({"classes": [{"title": n, "color": h} for n, h in zip(NAMES, HEXES, strict=True)]}),
    "palette.json": json.dumps(dict(zip(HEXES, NAMES, strict=True))),
}
BY_ID = {
    "_classes.csv": "Pixel Value, Class\n" + "".join(f"{i}, {n}\n" for i, n in enumerate(NAMES)),
    "train/_classes.csv": "Pixel Value, Class\n" + "".join(f"{i}, {n}\n" for i, n in enumerate(NAMES)),
    "codes.txt": "\n".join(NAMES) + "\n",
    "classes.txt": "\r\n".join(NAMES) + "\r\n",
    "data.yaml": "path: .\nnc: 4\nnames: [sky, road, car, tree]\n",
    "dataset.yml": "names:\n" + "".join(f"  {i}: {n}\n" for i, n in enumerate(NAMES)),
    "dataset.json": json.dumps({"name": "x", "labels": {n: i for i, n in enumerate(NAMES)}}),
    "meta/labels.json": json.dumps({str(i): n for i, n in enumerate(NAMES)}),
}


@pytest.mark.parametrize("file", BY_COLOUR)
def test_names_and_colours_from(file: str, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data", exact=False)
    masks(png(lambda i, label: colours_of(label, TABLE)), exact=False)(tree)
    tree.text(file, BY_COLOUR[file])
    result = read_back(tree, tmp_path / "out")
    named = {leaf.name: leaf.colour for leaf in load_dataset(tmp_path / "out").classes.leaves}
    assert named == dict(zip(NAMES, TABLE, strict=True)), result.human()
    assert file in result.reasons["classes"]


@pytest.mark.parametrize("file", BY_ID)
def test_names_from(file: str, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    masks(png(lambda i, label: label))(tree)
    tree.text(file, BY_ID[file])
    result = read_back(tree, tmp_path / "out")
    assert {leaf.id: leaf.name for leaf in load_dataset(tmp_path / "out").classes.leaves} == dict(enumerate(NAMES))
    assert file in result.reasons["classes"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("classes.txt", "sky\nroad\n"),
        ("codes.txt", "a.jpg\nb.jpg\nc.jpg\nd.jpg\n"),
        ("class_dict.csv", "name,r,g,b\nsky,0,0,0\nroad,300,0,0\n"),
        ("data.yaml", "names: [sky, sky, sky, sky]\n"),
        ("dataset.json", "{" * 3000),
        ("labels.json", '{"0": "sky", "1": NaN, "2": 3}'),
        ("labels.yaml", "a: &a [x]\nb: *a\nc: !!python/object/apply:os.system ['true']\n"),
    ],
)
def test_a_table_that_does_not_fit_names_nothing(file: str, text: str, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    masks(png(lambda i, label: label))(tree)
    tree.text(file, text)
    result = read_back(tree, tmp_path / "out")
    assert "placeholders" in result.reasons["classes"]


def test_colours_that_no_class_has_are_not_given_to_the_nearest_in_silence(tmp_path: Path) -> None:
    """A colour of the masks that the table leaves out becomes a class of its own."""
    tree = Tree(tmp_path / "data", exact=False)
    masks(png(lambda i, label: colours_of(label, TABLE)), exact=False)(tree)
    tree.text("class_dict.csv", "".join(BY_COLOUR["class_dict.csv"].splitlines(True)[:-1]))
    read_back(tree, tmp_path / "out")
    assert "colour_14C814" in load_dataset(tmp_path / "out").classes.names


def test_shares_and_exactness_are_those_of_numpy(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    masks(png(lambda i, label: label))(tree)
    found = init(tree.root, out=tmp_path / "out").detection
    pixels = np.concatenate([truth.label.ravel() for truth in tree.truth.values() if truth.label is not None])
    assert found.exact == 1.0
    assert found.shares == {i: pytest.approx((pixels == i).mean()) for i in range(4)}
    assert not differences(tree, tmp_path / "out")
