"""Folders as people have them, described by patterns: `photos/000_rgb.png` beside `photos/000_ids.png`, lists of splits."""

from __future__ import annotations

from broken.pixels import LABELS, PICTURE
from broken.table import Row, both, cut, link_out, put, put_image, remove, rename, several, swap

YAML = "dataset.yaml"
IMAGE, MASK = "photos/000_rgb.png", "photos/000_ids.png"

PLAIN_ROWS = [
    *(
        Row("description", "plain", kind, breaks, "refused", says, code=code)
        for kind, breaks, says, code in [
            ("no pattern of images", swap(YAML, '    - "photos/{1}_rgb.png"\n', ""), "files", 2),
            ("pattern of 13 slots", swap(YAML, '"photos/{1}_rgb.png"', f'"{"*" * 13}"'), "more than 12 slots", 2),
            (
                "pattern of a parent folder",
                swap(YAML, '"photos/{1}_rgb.png"', '"../{1}_rgb.png"'),
                "no images found",
                3,
            ),
            ("absolute pattern", swap(YAML, '"photos/{1}_rgb.png"', '"/photos/{1}_rgb.png"'), "no images found", 3),
            ("pattern that is a number", swap(YAML, '"photos/{1}_rgb.png"', "3"), "string", 2),
            (
                "list of a parent folder",
                swap(YAML, '"lists/train.txt"', '"../train.txt"'),
                "points to a parent folder",
                3,
            ),
            ("absolute list", swap(YAML, '"lists/train.txt"', '"/etc/passwd"'), "is absolute", 3),
            ("list that is not there", remove("lists/train.txt"), "cannot be read as a list of images", 3),
            ("list that is no text", put("lists/train.txt", b"\xff\xfe\x00"), "cannot be read as a list of images", 3),
            ("part of no class", swap(YAML, "  encoding:", '  parts: {"a": 9}\n  encoding:'), "masks.parts", 2),
            (
                "channels of levels",
                swap(YAML, "  encoding: index", "  encoding: index\n  channels: rg"),
                "masks.channels",
                2,
            ),
            ("no channel", swap(YAML, "  encoding: index", '  encoding: colour\n  channels: ""'), "masks.channels", 2),
        ]
    ),
    Row(
        "description",
        "plain",
        "list of names that are no images",
        put("lists/val.txt", "nobody\n003_rgb.png\n"),
        "warning",
        "1 entry names no image",
    ),
    Row(
        "name",
        "plain",
        "two masks of one number",
        put_image("photos/0_ids.png", LABELS),
        "refused",
        "is a mask of the same image",
    ),
    Row("name", "plain", "mask without its image", remove(IMAGE), "warning", "no image", changes=True),
    *several(
        "name",
        "plain",
        "refused",
        "through a symbolic link",
        {
            "image that is a link out of the folder": link_out(IMAGE),
            "mask that is a link out of the folder": link_out(MASK),
        },
    ),
    Row("mask", "plain", "half a mask", cut(MASK), "error", "000_ids.png"),
    Row("image", "plain", "half an image", cut(IMAGE), "error", "000_rgb.png"),
    Row("mask", "plain", "mask of another size", put_image(MASK, LABELS[:40]), "error", "the mask is 64x40"),
    Row(
        "mask",
        "plain",
        "photograph as a mask",
        put_image(MASK, PICTURE),
        "error",
        "a colour mask where class ids are expected",
    ),
    Row(
        "name",
        "plain",
        "mask of another name",
        rename(MASK, "photos/000_idz.png"),
        "warning",
        "in no pattern",
        changes=True,
    ),
    Row(
        "name", "plain", "image of no pattern", both(put_image("photos/extra.png", PICTURE)), "warning", "in no pattern"
    ),
]
