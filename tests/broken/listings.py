"""Names and links of files, `dataset.yaml`, and `labels.csv`."""

from __future__ import annotations

import os
from pathlib import Path

from broken.pixels import IMAGE, LABELS, MASK, PICTURE
from broken.table import Break, Row, both, link_out, put, put_image, remove, rename, several, swap

YAML, TABLE = "dataset.yaml", "labels.csv"


def bytes_name(name: bytes) -> Break:
    """Renames the first image; not every file system takes every name."""
    return lambda folder: os.rename(os.fsencode(folder / IMAGE), os.fsencode((folder / IMAGE).parent) + b"/" + name)


def backslash_link(folder: Path) -> None:
    """A name that, with its backslash taken as a separator, would be checked at another place."""
    outside = folder.parent / "secret.png"
    (folder / MASK).rename(outside)
    (folder / "labels" / "train" / "x\\000.png").symlink_to(outside)


OUTSIDE = "through a symbolic link"
FILES = [
    *several(
        "name",
        "folders",
        "refused",
        "the name holds control characters or is not UTF-8",
        {
            "bytes that are no UTF-8": bytes_name(b"\xff\xfe.png"),
            "line break": bytes_name(b"a\nb.png"),
            "escape sequence of a terminal": bytes_name(b"a\x1b[31mb.png"),
        },
    ),
    Row(
        "name",
        "folders",
        "two images that differ in their ending",
        put_image("img/train/000.bmp", PICTURE, "BMP"),
        "refused",
        "has the same name as 000.bmp",
    ),
    Row(
        "name",
        "folders",
        "two masks that differ in their ending",
        put_image("labels/train/000.bmp", LABELS, "BMP"),
        "refused",
        "another mask has the same name",
    ),
    Row(
        "name",
        "folders",
        "two images that differ in case",
        both(put_image("img/train/A.png", PICTURE), put_image("img/train/a.png", 255 - PICTURE)),
        "note",
        "differ only by case",
    ),
    Row(
        "name",
        "folders",
        "space at the end, colon, letters beyond ASCII",
        rename("img/train/000.png", "img/train/é: .png"),
        "note",
        "odd file names",
        changes=True,
    ),
    *several(
        "name",
        "folders",
        "refused",
        OUTSIDE,
        {
            "image that is a link out of the folder": link_out(IMAGE),
            "mask that is a link out of the folder": link_out(MASK),
            "link out of the folder behind a backslash": backslash_link,
            "folder of images that is a link out of the folder": link_out("img"),
            "folder of a split that is a link out of the folder": link_out("img/train"),
        },
    ),
    Row(
        "name",
        "folders",
        "links in a circle",
        lambda d: ((d / "img").rename(d / "old"), (d / "img").symlink_to("img")),
        "refused",
        "leads outside through a symbolic link",
    ),
    Row(
        "name",
        "folders",
        "no images at all",
        lambda d: [path.unlink() for path in (d / "img").rglob("*.png")],
        "refused",
        "no images found",
    ),
]

DESCRIPTIONS = [
    *(
        Row("description", "folders", kind, breaks, "refused", says, code=2)
        for kind, breaks, says in [
            ("no YAML", put(YAML, "classes: [a\n }"), "not valid YAML"),
            ("tab as indentation", put(YAML, "images:\n\tfolder: x\n"), "not valid YAML"),
            ("binary", put(YAML, b"\x89PNG\r\n\x1a\n\xff"), "cannot be read as UTF-8"),
            ("NUL", swap(YAML, 'folder: "img"', 'folder: "a\\0"'), "text with NUL"),
            ("list at the top", put(YAML, "- a\n- b\n"), "expected `key: value` lines"),
            ("empty", put(YAML, ""), "is missing; add it"),
            ("mistyped key", swap(YAML, "masks:", "maks:"), "did you mean 'masks'?"),
            ("key given twice", swap(YAML, "images:", "layout: flat\nimages:"), "'layout' is given twice"),
            (
                "anchors that would grow (billion laughs)",
                put(YAML, "a: &a [x, x]\nb: &b [*a, *a]\nclasses: [*b, *b]\n"),
                "anchors and aliases",
            ),
            ("tag that would run code", put(YAML, "classes: !!python/object/apply:os.system ['true']\n"), "tag"),
            ("500 levels deep", put(YAML, "classes: " + "[" * 500), "nested more than 32 deep"),
            ("5 MiB", put(YAML, "#" * (5 << 20)), "larger than 4 MiB"),
            ("unknown layout", swap(YAML, "split_folders", "split_folder"), "did you mean 'split_folders'?"),
            ("no classes", swap(YAML, "classes:", "classes: []\nclass:"), "classes"),
            ("two classes of one id", swap(YAML, "id: 1", "id: 2"), "2"),
            ("two classes of one name", swap(YAML, '"class_1"', '"class_2"'), "class_2"),
            ("class of the ignore id", swap(YAML, "ignore: 255", "ignore: 1"), "1"),
            ("negative id", swap(YAML, "id: 1", "id: -1"), "greater than or equal to 0"),
            ("id beyond 16 bits", swap(YAML, "id: 1", "id: 70000"), "less than or equal to"),
            ("id as text", swap(YAML, "id: 1", "id: one"), "integer"),
            ("id that is not a number (NaN)", swap(YAML, "id: 1", "id: .nan"), "integer"),
            ("colour that is none", swap(YAML, '"#', '"#GG'), "pattern"),
            (
                "levels without `encoding: levels`",
                swap(YAML, "  encoding: index", "  encoding: index\n  levels: {0: 0, 255: 1}"),
                "masks.levels",
            ),
            ("`encoding: levels` without levels", swap(YAML, "encoding: index", "encoding: levels"), "masks.levels"),
            (
                "level that is no class",
                swap(YAML, "  encoding: index", "  encoding: levels\n  levels: {0: 0, 255: 7}"),
                "no class ids",
            ),
            (
                "grey value of more than 16 bits as a level",
                swap(YAML, "  encoding: index", "  encoding: levels\n  levels: {0: 0, 70000: 1}"),
                "70000 is no grey value",
            ),
            (
                "colour of ignored pixels in index masks",
                swap(YAML, "  encoding: index", '  encoding: index\n  ignore_colour: "#FFFFFF"'),
                "ignore_colour",
            ),
        ]
    ),
    *(
        Row("description", "folders", kind, breaks, "refused", says)
        for kind, breaks, says in [
            (
                "folder of images above the dataset",
                swap(YAML, 'folder: "img"', 'folder: "../img"'),
                "points to a parent folder",
            ),
            ("absolute folder of masks", swap(YAML, 'folder: "labels"', 'folder: "/etc"'), "is absolute"),
            ("folder of another drive", swap(YAML, 'folder: "labels"', 'folder: "C:\\\\x"'), "is absolute"),
            ("split whose folder is not there", swap(YAML, 'val: "val"', 'val: "valid"'), "no such folder"),
            (
                "split whose folder leads outside",
                swap(YAML, 'val: "val"', 'val: "../../.."'),
                "points to a parent folder",
            ),
            ("root that is not there", swap(YAML, 'root: "."', 'root: "gone"'), "no such folder"),
        ]
    ),
    Row(
        "description",
        "folders",
        "folder of masks that is not there",
        swap(YAML, 'folder: "labels"', 'folder: "label"'),
        "error",
        "it has no masks",
        changes=True,
    ),
    Row(
        "description",
        "folders",
        "split of two names for one folder",
        swap(YAML, 'val: "val"', 'val: "train"'),
        "error",
        "has the same pixels as val/000",
        changes=True,
    ),
    Row(
        "description",
        "folders",
        "class that no mask has",
        swap(YAML, "ignore: 255", "  - {id: 9, name: unicorn}\nignore: 255"),
        "warning",
        "unicorn",
    ),
    Row(
        "description",
        "coco",
        "class that the annotations lack, and one less",
        swap(YAML, '"class_1"', '"other"'),
        "warning",
        "'class_1', which is no class",
        changes=True,
    ),
    Row(
        "description",
        "coco",
        "shrink of a box beyond 1",
        swap(YAML, "shrink: 0.0", "shrink: 1.5"),
        "refused",
        "less than 1",
        code=2,
    ),
    Row(
        "description",
        "coco",
        "unknown rule for boxes",
        swap(YAML, "overlap: smaller_on_top", "overlap: smaler_on_top"),
        "refused",
        "did you mean 'smaller_on_top'?",
        code=2,
    ),
]

FIRST = "train/000.png,train/000.png,train,keep,hand"
TABLES = [
    *(
        Row("description", "index", f"labels.csv: {kind}", breaks, "refused", says)
        for kind, breaks, says in [
            ("removed", remove(TABLE), "cannot be read as a UTF-8 table"),
            ("empty", put(TABLE, ""), "needs the columns image and mask"),
            ("other columns", swap(TABLE, "image,mask", "picture,label"), "needs the columns image and mask"),
            ("a column twice", swap(TABLE, "provenance", "split"), "twice"),
            (
                "semicolons",
                lambda d: (d / TABLE).write_text((d / TABLE).read_text().replace(",", ";")),
                "needs the columns image and mask",
            ),
            (
                "UTF-16",
                lambda d: (d / TABLE).write_text((d / TABLE).read_text(), "utf-16"),
                "cannot be read as a UTF-8 table",
            ),
            ("binary", put(TABLE, b"\xff\xfe\0\0"), "cannot be read as a UTF-8 table"),
            ("quotes that do not end", swap(TABLE, "train/000.png", '"train/000.png'), "cannot be read"),
            ("line break in a name", swap(TABLE, "train/000.png", '"train/00\n0.png"'), "control characters"),
            ("NUL in a path", swap(TABLE, FIRST, "a\0.png,train/000.png,train"), "holds a NUL byte"),
            ("row without an image", swap(TABLE, FIRST, ",train/000.png,train"), "names no image"),
            ("more cells than columns", swap(TABLE, FIRST, FIRST + ",x"), "cells"),
            ("unknown status", swap(TABLE, FIRST, FIRST.replace("keep", "keeep")), "status 'keeep' is not known"),
            (
                "unknown provenance",
                swap(TABLE, FIRST, FIRST.replace("hand", "human")),
                "provenance 'human' is not known",
            ),
            ("path above the dataset", swap(TABLE, "train/000.png", "../../000.png"), "points to a parent folder"),
            ("absolute path of a mask", swap(TABLE, ",train/000.png", ",/etc/passwd"), "is absolute"),
            ("path of another system", swap(TABLE, "train/000.png", "C:\\data\\000.png"), "is absolute"),
            ("the same image twice", swap(TABLE, FIRST, f"{FIRST}\n{FIRST}"), "has the same name as"),
            ("larger than any table", swap(TABLE, FIRST, f"{'x' * 200_000},y"), "cannot be read"),
        ]
    ),
    Row(
        "description",
        "index",
        "labels.csv: image that is not there",
        swap(TABLE, "train/000.png", "train/gone.png"),
        "error",
        "no such file",
        changes=True,
    ),
    Row(
        "description",
        "index",
        "labels.csv: mask that is not there",
        swap(TABLE, ",train/000.png", ",train/gone.png"),
        "error",
        "no such file",
    ),
    Row(
        "description",
        "index",
        "labels.csv: row without a mask",
        swap(TABLE, FIRST, "train/000.png,,train"),
        "warning",
        "the image has no mask",
    ),
    Row(
        "description",
        "index",
        "labels.csv: row without a split",
        swap(TABLE, FIRST, "train/000.png,train/000.png"),
        "warning",
        "samples without a split: 1 of 4",
    ),
    Row(
        "description",
        "index",
        "labels.csv: row left out",
        swap(TABLE, FIRST + "\n", ""),
        "warning",
        "1 image file is not in labels.csv",
        changes=True,
    ),
    Row(
        "description",
        "index",
        "labels.csv: folder in place of an image",
        lambda d: ((d / "img/train/000.png").unlink(), (d / "img/train/000.png").mkdir()),
        "error",
        "Is a directory",
    ),
]
