"""Pairs and splits that are found from names, and read back: a row for each way to name files."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from folder_trees import Build, Tree, read_back
from PIL import Image

from maskwright.data.init import init

ROWS: dict[str, Build] = {}


def row(name: str) -> Callable[[Build], Build]:
    def add(build: Build) -> Build:
        assert name not in ROWS
        ROWS[name] = build
        return build

    return add


def plain(image: str, mask: str, count: int = 6) -> Build:
    """Pairs whose paths hold the number `i`, `hex`, and the word `word`."""

    def build(tree: Tree) -> None:
        for i in range(count):
            texts = {"i": i, "n": i + 97, "hex": f"{i * 2654435761 % 2**32:08x}", "word": WORDS[i]}
            tree.pair(image.format(**texts), mask.format(**texts))

    return build


WORDS = ["harbour", "bridge", "old mill", "field-3", "Quay", "lighthouse", "barn", "creek"]
NAMES = {
    "the same names": ("images/{i}.jpg", "masks/{i}.png"),
    "suffix": ("images/{word}.jpg", "masks/{word}_mask.png"),
    "suffix of no known word": ("a/{word}.jpg", "b/{word}_qqx.png"),
    "suffix of one letter": ("images/{i:05d}.jpg", "labels/{i:05d}_L.png"),
    "suffix without a sign": ("images/{i:03d}.jpg", "masks/{i:03d}mask.png"),
    "prefix": ("images/{word}.jpg", "masks/seg_{word}.png"),
    "prefixes on both sides": ("images/IMG_{i:04d}.jpg", "masks/MASK_{i:04d}.png"),
    "prefixes without a sign": ("images/img{i}.jpg", "masks/mask{i}.png"),
    "middle token": ("images/city_{i:04d}_rgb_v1.png", "labels/city_{i:04d}_ids_v1.png"),
    "other padding": ("images/{n}.jpg", "masks/{n:06d}.png"),
    "other padding on the side of the images": ("images/scan_{n:05d}.jpg", "masks/scan_{n}_gt.png"),
    "two endings": ("images/{word}.jpg", "masks/{word}.jpg.png"),
    "ome.tif": ("images/{word}.ome.tif", "masks/{word}.png"),
    "masks in ome.tif": ("images/{word}.png", "masks/{word}_seg.ome.tiff"),
    "gif": ("images/{i:02d}_test.tif", "masks/{i:02d}_manual1.gif"),
    "npy": ("images/{word}.jpg", "masks/{word}.npy"),
    "upper case": ("Images/{word}.JPG", "Masks/{word}.PNG"),
    "masks beside images": ("{word}.jpg", "{word}.png"),
    "masks beside images with the same ending": ("data/{word}.png", "data/{word}_labels.png"),
    "hexadecimal names": ("x/{hex}_sat.jpg", "x/{hex}_mask.png"),
    "a folder for each sample": ("{word}/image.png", "{word}/label.png"),
    "a folder for each sample, by numbers": ("case{i:02d}/img.png", "case{i:02d}/seg.png"),
    "the name twice": ("images/{i:04d}/{i:04d}.jpg", "masks/{i:04d}_label.png"),
    "points in names": ("images/v1.{i}.final.jpg", "masks/v1.{i}.final.png"),
    "spaces, brackets and quotes": ('my images/it\'s [{i}] "new" (1).jpg', 'my masks/it\'s [{i}] "new" (1).png'),
    "braces and stars": ("images/{{{i}}}*a.jpg", "masks/{{{i}}}*a.png"),
    "a brace in the suffix": ("images/{word}.jpg", "masks/{word}_{{m}}.png"),
    "a sign at the end": ("images/d_r_{i}_.jpg", "masks/d_r_{i}_.bmp"),
    "digits beyond ASCII": ("images/図{i}.jpg", "masks/図{i}_マスク.png"),
    "negative numbers": ("images/tile_{i}_-{i}.png", "masks/tile_{i}_-{i}_m.png"),
}
ROWS |= {name: plain(*patterns) for name, patterns in NAMES.items()}


@row("lossless webp")
def _(tree: Tree) -> None:
    for word in WORDS:
        tree.pair(f"images/{word}.webp", f"masks/{word}.webp", lossless=True)


@row("names in two forms of Unicode")
def _(tree: Tree) -> None:
    for i in range(5):
        name = f"Zürich_é{i}"
        tree.pair(f"images/{unicodedata.normalize('NFD', name)}.jpg", f"masks/{unicodedata.normalize('NFC', name)}.png")


@row("other case in the names")
def _(tree: Tree) -> None:
    for i in range(5):
        tree.pair(f"images/Scan_{i}.jpg", f"masks/SCAN_{i}_MASK.png")


@row("several endings")
def _(tree: Tree) -> None:
    for i, word in enumerate(WORDS):
        tree.pair(f"images/{word}{('.jpg', '.png', '.jpeg', '.bmp')[i % 4]}", f"masks/{word}.png")


@row("images without masks, masks without images")
def _(tree: Tree) -> None:
    for word in WORDS[:5]:
        tree.pair(f"images/{word}.jpg", f"masks/{word}.png")
    tree.save("images/lonely.jpg", tree.scene().rgb)
    tree.expect("images/lonely.jpg", None)
    tree.save("masks/orphan.png", tree.scene().label)


@row("the same names in the folders of two cameras")
def _(tree: Tree) -> None:
    for camera in ("left", "right"):
        for i in range(4):
            tree.pair(f"{camera}/images/{i}.jpg", f"{camera}/masks/{i}.png")


@row("numbers of which one is a part of another")
def _(tree: Tree) -> None:
    for i in (1, 11, 111, 2, 21, 12):
        tree.pair(f"images/{i}.jpg", f"masks/{i}_mask.png")


@row("the number of the mask set beside that of the image")
def _(tree: Tree) -> None:
    for i in (1, 2, 3, 10, 12):
        tree.pair(f"images/im{i}.jpg", f"masks/im{i}_gt1.png")


@row("one image alone")
def _(tree: Tree) -> None:
    tree.pair("images/only.jpg", "masks/only.png")


@row("two images")
def _(tree: Tree) -> None:
    for word in WORDS[:2]:
        tree.pair(f"{word}.jpg", f"{word}_mask.png")


@row("links to files inside")
def _(tree: Tree) -> None:
    for word in WORDS[:4]:
        tree.pair(f"images/{word}.jpg", f"all/{word}.png")
        (tree.root / "masks").mkdir(exist_ok=True)
        (tree.root / f"masks/{word}.png").symlink_to(f"../all/{word}.png")
        (tree.root / f"all/{word}.png").rename(tree.root / f"all/{word}.dat")
        (tree.root / f"masks/{word}.png").unlink()
        (tree.root / f"masks/{word}.png").symlink_to(f"../all/{word}.dat")


# --- splits ---


def in_splits(image: str, mask: str, words: dict[str, str]) -> Build:
    def build(tree: Tree) -> None:
        number = 0
        for split, word in words.items():
            for _ in range(4 if split == "train" else 2):
                number += 1
                tree.pair(image.format(s=word, i=number), mask.format(s=word, i=number), split)

    return build


TWO = {"train": "train", "val": "val"}
SPLITS = {
    "folders of splits above": ("{s}/images/{i}.jpg", "{s}/masks/{i}.png", {**TWO, "test": "test"}),
    "folders of splits below": ("images/{s}/{i}.jpg", "masks/{s}/{i}.png", {**TWO, "test": "test"}),
    "nested": ("data/v2/{s}/a/images/{i}.jpg", "data/v2/{s}/a/labels/{i}.png", TWO),
    "other words": (
        "images/{s}/{i}.jpg",
        "masks/{s}/{i}.png",
        {"train": "training", "val": "valid", "test": "testing"},
    ),
    "glued": ("{s}/{i}.png", "{s}annot/{i}.png", {**TWO, "test": "test"}),
    "train_img beside train_mask": ("{s}_img/{i}.jpg", "{s}_mask/{i}.png", {"train": "train", "test": "test"}),
    "Tr and Ts": ("images{s}/c{i}.png", "labels{s}/c{i}.png", {"train": "Tr", "test": "Ts"}),
    "in the names": ("images/{s}_{i:03d}.jpg", "masks/{s}_{i:03d}.png", {**TWO, "test": "test"}),
    "upper case": ("{s}/IMG/{i}.jpg", "{s}/GT/{i}.png", {"train": "TRAIN", "val": "VAL"}),
    "the same word twice": ("{s}/{s}_images/{i}.jpg", "{s}/{s}_masks/{i}.png", TWO),
}
ROWS |= {f"splits: {name}": in_splits(*found) for name, found in SPLITS.items()}


@row("splits: the same names in each")
def _(tree: Tree) -> None:
    for split in ("train", "val", "test"):
        for i in range(3):
            tree.pair(f"{split}/images/{i}.jpg", f"{split}/masks/{i}.png", split)


@row("splits: a split without masks")
def _(tree: Tree) -> None:
    for i in range(5):
        tree.pair(f"train/images/{i}.jpg", f"train/masks/{i}.png", "train")
    for i in range(3):
        tree.save(f"test/images/t{i}.jpg", tree.scene().rgb)
        tree.expect(f"test/images/t{i}.jpg", None, "test")


@row("splits: Tr alone is no split")
def _(tree: Tree) -> None:
    for i in range(4):
        tree.pair(f"imagesTr/c{i}.png", f"labelsTr/c{i}.png")


@row("splits: a word in one name says nothing")
def _(tree: Tree) -> None:
    for name in ("train station", "river", "test_tube", "bird", "cow"):
        tree.pair(f"images/{name}.jpg", f"masks/{name}.png")


def listed(files: dict[str, str], splits: dict[int, str | None]) -> Build:
    """Six images, 0 to 5, whose splits are told by files."""

    def build(tree: Tree) -> None:
        for i in range(6):
            tree.pair(f"images/a_{i:03d}.jpg", f"masks/a_{i:03d}.png", splits.get(i))
        for name, text in files.items():
            tree.text(name, text)

    return build


def names(form: str, which: range) -> str:
    return "".join(form.format(f"a_{i:03d}") + "\n" for i in which)


FOUR = {i: "train" if i < 4 else "val" for i in range(6)}
LISTS = {
    "txt": ({"train.txt": names("{}", range(4)), "val.txt": names("{}", range(4, 6))}, FOUR),
    "txt with paths of both": (
        {
            f"lists/{s}.txt": names("images/{0}.jpg masks/{0}.png", w)
            for s, w in (("train", range(4)), ("val", range(4, 6)))
        },
        FOUR,
    ),
    "lst with tabs": (
        {f"{s}.lst": names("images/{0}.jpg\tmasks/{0}.png", w) for s, w in (("train", range(4)), ("val", range(4, 6)))},
        FOUR,
    ),
    "txt of another machine": (
        {f"{s}.txt": names("C:\\data\\images\\{0}.jpg", w) for s, w in (("train", range(4)), ("val", range(4, 6)))},
        FOUR,
    ),
    "only a list of the validation": ({"valid.txt": names("{}.jpg", range(4, 6))}, FOUR),
    "csv with a column": (
        {"files.csv": "id,split\n" + names("{},training", range(4)) + names("{},validation", range(4, 6))},
        FOUR,
    ),
    "yaml": ({"folds.yaml": "train:\n" + names("- {}", range(4)) + "val:\n" + names("- {}", range(4, 6))}, FOUR),
    "json": (
        {"splits.json": '{"train": ["a_000", "a_001", "a_002", "a_003"], "val": ["a_004.jpg", "a_005.jpg"]}'},
        FOUR,
    ),
    "lists that overlap are none": (
        {"train.txt": names("{}", range(6)), "val.txt": names("{}", range(6))},
        dict.fromkeys(range(6), "train"),
    ),
    "a list of something else": ({"train.txt": "one\ntwo\nthree\n", "notes.txt": names("{}", range(6))}, {}),
    "csv with a header and a path": (
        {
            "meta.csv": "filename,width,subset\n"
            + names("images/{}.jpg,64,train", range(4))
            + names("images/{}.jpg,64,dev", range(4, 6))
        },
        FOUR,
    ),
}
ROWS |= {f"lists: {name}": listed(*found) for name, found in LISTS.items()}


@pytest.mark.parametrize("name", ROWS)
def test_names(name: str, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    ROWS[name](tree)
    result = read_back(tree, tmp_path / "out")
    assert result.detection.images == len(tree.truth)
    assert result.detection.pairs == sum(truth.label is not None for truth in tree.truth.values())


# --- what lies about ---


def _thumbnails(tree: Tree, name: str, rgb: np.ndarray, label: np.ndarray) -> None:
    Image.fromarray(rgb).resize((16, 12)).save(_made(tree, f"thumbnails/{name}.jpg"))


def _overlay(tree: Tree, name: str, rgb: np.ndarray, label: np.ndarray) -> None:
    tree.save(f"overlays/{name}.png", (rgb * 0.5 + label[..., None] * 60).astype(np.uint8))


def _overlay_among_masks(tree: Tree, name: str, rgb: np.ndarray, label: np.ndarray) -> None:
    tree.save(f"masks/{name}_overlay.jpg", (rgb * 0.5 + label[..., None] * 60).astype(np.uint8))


def _photo_among_masks(tree: Tree, name: str, rgb: np.ndarray, label: np.ndarray) -> None:
    tree.save(f"masks/{name}.jpg", rgb)


def _apple(tree: Tree, name: str, rgb: np.ndarray, label: np.ndarray) -> None:
    for path in (f"__MACOSX/masks/._{name}.png", f"masks/._{name}.png", "images/.DS_Store", "masks/Thumbs.db"):
        _made(tree, path).write_bytes(b"\0\5\x16\7junk")


def _predictions(tree: Tree, name: str, rgb: np.ndarray, label: np.ndarray) -> None:
    tree.save(f"output/pred/{name}.png", np.roll(label, 3, 1))


def _preview(tree: Tree, name: str, rgb: np.ndarray, label: np.ndarray) -> None:
    tree.save(f"masks_preview/{name}.png", (label * 100).astype(np.uint8))


def _empty(tree: Tree, name: str, rgb: np.ndarray, label: np.ndarray) -> None:
    for folder in ("labels", "annotations", "train", "val/images", "gt"):
        (tree.root / folder).mkdir(parents=True, exist_ok=True)


def _cache(tree: Tree, name: str, rgb: np.ndarray, label: np.ndarray) -> None:
    tree.text("labels.cache", "x")
    tree.text("images/desktop.ini", "x")
    tree.text(".git/HEAD", "x")
    tree.save(f".thumbs/{name}.png", rgb)


def _colours_too(tree: Tree, name: str, rgb: np.ndarray, label: np.ndarray) -> None:
    table = np.array([(0, 0, 0), (200, 10, 10), (10, 10, 200)], np.uint8)
    tree.save(f"masks_color/{name}.png", table[label])


def _icon(tree: Tree, name: str, rgb: np.ndarray, label: np.ndarray) -> None:
    tree.save("logo.png", np.kron(np.eye(4, dtype=np.uint8) * 200, np.ones((8, 8), np.uint8)))
    tree.save("sample_figure.jpg", rgb)


def _made(tree: Tree, path: str) -> Path:
    (tree.root / path).parent.mkdir(parents=True, exist_ok=True)
    return tree.root / path


@pytest.mark.parametrize(
    "clutter",
    [
        _thumbnails,
        _overlay,
        _overlay_among_masks,
        _photo_among_masks,
        _apple,
        _predictions,
        _preview,
        _empty,
        _cache,
        _colours_too,
    ],
)
@pytest.mark.parametrize("suffix", ["", "_mask"])
def test_clutter_does_not_confuse(clutter: Callable[..., None], suffix: str, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    for i in range(6):
        scene = tree.pair(f"images/p{i:02d}.jpg", f"masks/p{i:02d}{suffix}.png")
        clutter(tree, f"p{i:02d}", scene.rgb, scene.label)
    read_back(tree, tmp_path / "out")


def test_pictures_that_belong_to_nothing_are_images_without_masks_or_named(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    for i in range(6):
        scene = tree.pair(f"images/p{i:02d}.jpg", f"masks/p{i:02d}.png")
        _icon(tree, f"p{i:02d}", scene.rgb, scene.label)
    result = read_back(tree, tmp_path / "out")
    assert any("match no pattern" in text for text in result.detection.left_out), result.human()


def test_what_stays_unpaired_is_said(tmp_path: Path) -> None:
    """Ten times the number is no way to name a mask: 0.png and 00.png may be a pair, and nothing else."""
    tree = Tree(tmp_path / "data")
    for i in range(6):
        tree.save(f"images/{i}.png", tree.scene().rgb)
        tree.save(f"masks/{i}0.png", tree.scene().label)
    result = init(tree.root, out=tmp_path / "out")
    assert "1 of 6 images have a mask" in result.human() and "5 masks of no image" in result.human()
