"""CVAT's and Pascal VOC's files: XML, label maps and lists that are broken, and shapes in them."""

from __future__ import annotations

import numpy as np

from broken.pixels import COLOURS, LABELS, UNREADABLE
from broken.table import Break, Row, cut, link_out, put, put_image, remove, several, swap

# -- CVAT for images ----------------------------------------------------------------------------------------------------

XML = "annotations.xml"
ROOT = "<annotations><version>1.1</version>"
LAUGHS = (
    '<!DOCTYPE a [<!ENTITY l0 "ha">' + "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12)) + "]>"
)
HUGE = "9" * 400


def element(tag: str, **attributes: object) -> Break:
    """One shape more, on the first image."""
    values = "".join(
        f' {name}="{value}"' for name, value in ({"label": "class_1"} | attributes).items() if value is not None
    )
    return swap(XML, "</image>", f"<{tag}{values}/></image>")


def box(**attributes: object) -> Break:
    return element("box", **({"xtl": 1, "ytl": 2, "xbr": 4, "ybr": 5} | attributes))


def mask(rle: str, width: object = 2, height: object = 2, left: object = 0) -> Break:
    return element("mask", rle=rle, left=left, top=0, width=width, height=height)


CVAT_ROWS = [
    *several(
        "annotation",
        "cvat_images",
        "refused",
        "has a document type (DOCTYPE)",
        {
            "entities that would grow (billion laughs)": put(XML, f"{LAUGHS}{ROOT}<meta>&l11;</meta></annotations>"),
            "entity that would read a file": put(
                XML, f'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>{ROOT}<meta>&x;</meta></annotations>'
            ),
            "document type of another file": put(
                XML, f'<!DOCTYPE annotations SYSTEM "file:///etc/passwd">{ROOT}</annotations>'
            ),
            "entities in UTF-16": put(
                XML, f"<?xml version='1.0' encoding='utf-16'?>{LAUGHS}{ROOT}</annotations>".encode("utf-16")
            ),
        },
    ),
    *several(
        "annotation",
        "cvat_images",
        "refused",
        "not readable as XML",
        {
            "empty file": put(XML, ""),
            "garbage": put(XML, "garbage"),
            "zeros": put(XML, b"\0" * 100),
            "cut off": cut(XML),
            "entity that is not declared": put(XML, f"{ROOT}<meta>&nothing;</meta></annotations>"),
            "text behind the end": swap(XML, "</annotations>", "</annotations>x"),
            "unknown encoding": put(XML, "<?xml version='1.0' encoding='no-such'?><annotations/>"),
            "bytes that are no UTF-8": put(XML, b"<annotations>\xff</annotations>"),
        },
    ),
    *(
        Row("annotation", "cvat_images", kind, breaks, "refused", says)
        for kind, breaks, says in [
            ("200,000 elements deep", put(XML, f"{ROOT}{'<x>' * 200_000}"), "nested more than 64 deep"),
            ("XML of something else", put(XML, "<annotation></annotation>"), "not with <annotations>"),
            (
                "tracks of a video among images",
                swap(XML, "<image", '<track id="0"/><image'),
                "holds the tracks of a video",
            ),
            ("no images", put(XML, f"{ROOT}</annotations>"), "no images found"),
            (
                "image above the folder",
                swap(XML, 'name="000.png"', 'name="../../../etc/passwd"'),
                "points to a parent folder",
            ),
            ("image of an absolute path", swap(XML, 'name="000.png"', 'name="/etc/passwd"'), "is absolute"),
            ("subset above the folder", swap(XML, 'subset="train"', 'subset="../.."'), "points to a parent folder"),
            ("annotation file that is a link out of the folder", link_out(XML), "symbolic link"),
            ("image that is a link out of the folder", link_out("images/train/000.png"), "symbolic link"),
        ]
    ),
    *(
        Row("annotation", "cvat_images", kind, breaks, "warning", says)
        for kind, breaks, says in [
            *(
                (f"box {kind}", breaks, f"{why}: 1")
                for kind, breaks, why in [
                    ("with NaN", box(xtl="nan"), "coordinates must be finite and within 1e+12 pixels (box)"),
                    ("with infinity", box(xbr="inf"), "coordinates must be finite and within 1e+12 pixels (box)"),
                    ("with 1e9", box(xtl="1e9", xbr="2e9"), "far outside (box)"),
                    (
                        "with a number of 400 digits",
                        box(xtl=HUGE),
                        "coordinates must be finite and within 1e+12 pixels (box)",
                    ),
                    ("with a word", box(xtl="x"), "no numbers in xtl, ytl, xbr, ybr (box)"),
                    ("without a corner", box(xtl=None), "no 'xtl' (box)"),
                    ("without an area", box(xbr=1), "no area (box)"),
                    ("turned by infinity", box(rotation="inf"), "(box)"),
                    ("without a label", box(label=None), "no 'label' (box)"),
                    ("whose order is a word", box(z_order="x"), "no numbers in z_order (box)"),
                ]
            ),
            *(
                (f"polygon {kind}", element("polygon", points=points), f"{why} (polygon): 1")
                for kind, points, why in [
                    ("with NaN", "nan,1;2,3;4,5", "far outside"),
                    ("with 1e9", "1e9,1;2,3;4,5", "far outside"),
                    ("of two points", "1,2;3,4", "fewer than 3 points"),
                    ("without points", "", "no pairs of numbers"),
                    ("of triples", "1,2,3;4,5,6;7,8,9", "no pairs of numbers"),
                ]
            ),
            (
                "ellipse of radius 0",
                element("ellipse", cx=1, cy=1, rx=0, ry=2),
                "radii outside 0 to 10000 (ellipse): 1",
            ),
            (
                "ellipse of radius 1e8",
                element("ellipse", cx=1, cy=1, rx=1e8, ry=2),
                "radii outside 0 to 10000 (ellipse): 1",
            ),
            *(
                (f"run lengths {kind}", breaks, f"{why} (mask): 1")
                for kind, breaks, why in [
                    ("that are letters", mask("a,b"), "no whole numbers"),
                    ("that are negative", mask("-1,5"), "do not fit their box"),
                    ("of too few pixels", mask("1,2"), "do not fit their box"),
                    (
                        "of a sum beyond 64 bits",
                        mask("9223372036854775807,1,9223372036854775807,5"),
                        "do not fit their box",
                    ),
                    ("of 400 digits", mask(HUGE), "no whole numbers"),
                    ("in a box of no size", mask("0", 0, 0), "without area, or far outside"),
                    ("in a box far outside", mask("1", 1, 1, 1e12), "without area, or far outside"),
                ]
            ),
            ("label that is no class", box(label="unicorn"), "'unicorn', which is no class"),
            ("line, points, cuboid", element("polyline", points="1,2;3,4"), "1 line is left out"),
            (
                "tag of the whole image",
                swap(XML, "</image>", '<tag label="x"/></image>'),
                "1 tag of a whole image is left out",
            ),
            ("element of an unknown kind", element("cloud"), "1 element of an unknown kind"),
            (
                "image of 1e6 x 1e6 pixels",
                swap(XML, 'width="64"', 'width="99999999"'),
                "no usable size (image): that of the file counts: 1",
            ),
            (
                "image of a size in words",
                swap(XML, 'width="64"', 'width="wide"'),
                "no usable size (image): that of the file counts: 1",
            ),
            (
                "image without a name",
                swap(XML, "</annotations>", '<image id="9" name="" width="1" height="1"/></annotations>'),
                "no usable name (image): 1",
            ),
            (
                "image that is listed again",
                swap(
                    XML,
                    "</annotations>",
                    '<image id="9" name="000.png" subset="train" width="64" height="48"/></annotations>',
                ),
                "1 image is listed again",
            ),
        ]
    ),
    Row(
        "annotation",
        "cvat_images",
        "image name of 5,000 characters",
        swap(XML, 'name="000.png"', f'name="{"x" * 5000}.png"'),
        "warning",
        "1 image file is not there",
        changes=True,
    ),
    Row(
        "annotation", "cvat_images", "image that is not there", remove("images/train/000.png"), "error", "no such file"
    ),
    Row(
        "annotation",
        "cvat_images",
        "image of another size than its file",
        swap(XML, 'width="64"', 'width="32"'),
        "error",
        "the mask is 32x48 but",
    ),
    Row(
        "annotation",
        "cvat_images",
        "polygon that reaches far outside",
        element("polygon", points="-999999,-999999;999999,0;0,999999"),
        "note",
        "1 shape reaches outside",
        changes=True,
    ),
    Row(
        "annotation",
        "cvat_images",
        "run lengths of 20 gigapixels outside",
        mask("0,4294967295,4294967295,0,1410065410", 10**5, 10**5),
        "note",
        "1 shape reaches outside",
        changes=True,
    ),
    Row(
        "annotation",
        "cvat_images",
        "attributes and occlusion",
        box(occluded=1),
        "note",
        "1 mark of occlusion is left out",
        changes=True,
    ),
]

# -- label maps and lists of CVAT's mask zip ----------------------------------------------------------------------------

MAP, LIST, CLASS = "labelmap.txt", "ImageSets/Segmentation/train.txt", "SegmentationClass/000.png"
MAPS: dict[str, tuple[Break, str]] = {
    "removed": (remove(MAP), MAP),
    "empty": (put(MAP, ""), "holds no labels"),
    "binary": (put(MAP, b"\xff\xfe\0c"), "not readable as UTF-8"),
    "two numbers for a colour": (put(MAP, "cat:1,2::"), "is no `label:red,green,blue"),
    "colour of 256": (put(MAP, "cat:256,0,0::"), "is no `label:red,green,blue"),
    "colour of -1": (put(MAP, "cat:-1,0,0::"), "is no `label:red,green,blue"),
    "colour of NaN": (put(MAP, "cat:nan,0,0::"), "is no `label:red,green,blue"),
    "line without a name": (put(MAP, ":1,2,3::"), "is no `label:red,green,blue"),
    "name given twice": (put(MAP, "a:1,2,3::\na:4,5,6::"), "stands there twice"),
    "70,000 labels": (
        put(MAP, "".join(f"c{i}:{i % 256},{i // 256},1::\n" for i in range(70_000))),
        "labels; at most 254",
    ),
    "link out of the folder": (link_out(MAP), "symbolic link"),
}
CVAT_MASK_ROWS = [
    *(
        Row("annotation", "cvat_masks", f"label map: {kind}", breaks, "refused", says)
        for kind, (breaks, says) in MAPS.items()
    ),
    *(
        Row("annotation", "cvat_masks", f"list: {kind}", put(LIST, line), "refused", says)
        for kind, line, says in [
            ("name above the folder", "../a\n", "points to a parent folder"),
            ("absolute name", "/etc/passwd\n", "is absolute"),
            ("control character", "a\x01b\n", "holds control characters"),
            ("binary", b"\xff\xff", "not readable as UTF-8"),
        ]
    ),
    Row("annotation", "cvat_masks", "list: link out of the folder", link_out(LIST), "refused", "symbolic link"),
    Row(
        "annotation",
        "cvat_masks",
        "list: image without a mask",
        swap(LIST, "000", "nothing\n000"),
        "warning",
        "1 image is not there",
        changes=True,
    ),
    Row(
        "annotation",
        "cvat_masks",
        "list: name of 5,000 characters",
        swap(LIST, "000", "x" * 5000 + "\n000"),
        "warning",
        "1 image is not there",
        changes=True,
    ),
    Row(
        "annotation",
        "cvat_masks",
        "list: name given twice",
        swap(LIST, "000", "000\n000"),
        "warning",
        "1 image is listed again",
    ),
    Row(
        "annotation",
        "cvat_masks",
        "list: mask that is in none",
        swap(LIST, "000\n", ""),
        "warning",
        "1 mask is in no list",
        changes=True,
    ),
    Row("annotation", "cvat_masks", "mask: no image", put(CLASS, "garbage"), "error", UNREADABLE),
    Row(
        "annotation",
        "cvat_masks",
        "mask: grey among masks in colours",
        put_image(CLASS, LABELS),
        "warning",
        "1 of 4 masks are grey",
        changes=True,
    ),
    Row(
        "annotation",
        "cvat_masks",
        "mask: colours of no label",
        put_image(CLASS, COLOURS[LABELS]),
        "warning",
        "moved to the nearest class colour",
        changes=True,
    ),
    Row(
        "annotation",
        "cvat_masks",
        "mask: another size",
        put_image(CLASS, np.zeros((3, 4, 3), np.uint8)),
        "error",
        "the mask is 4x3 but",
    ),
    Row("annotation", "cvat_masks", "mask: link out of the folder", link_out(CLASS), "refused", "symbolic link"),
    Row(
        "annotation",
        "cvat_masks",
        "mask: two that differ in their ending",
        put_image("SegmentationClass/000.bmp", COLOURS[LABELS], "BMP"),
        "warning",
        "1 file has the name of another one",
        changes=True,
    ),
    Row("annotation", "cvat_masks", "image that is not there", remove("JPEGImages/000.png"), "error", "no such file"),
]

# -- Pascal VOC ---------------------------------------------------------------------------------------------------------

SHEET = "Annotations/000.xml"
WIDE = "<size><width>64</width><height>48</height>"


def bound(left: object = 1, top: object = 1, right: object = 5, bottom: object = 5, name: str = "class_1") -> Break:
    """One object more."""
    return swap(
        SHEET,
        "</annotation>",
        f"<object><name>{name}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>"
        f"{right}</xmax><ymax>{bottom}</ymax></bndbox></object></annotation>",
    )


VOC_ROWS = [
    *(
        Row("annotation", "voc boxes", kind, breaks, "refused", says)
        for kind, breaks, says in [
            ("empty file", put(SHEET, ""), "not readable as XML"),
            ("garbage", put(SHEET, b"\x89PNG\r\n\x1a\n"), "not readable as XML"),
            ("cut off", cut(SHEET), "not readable as XML"),
            ("200,000 elements deep", put(SHEET, "<annotation>" + "<a>" * 200_000), "not readable as XML"),
            (
                "entities that would grow (billion laughs)",
                put(SHEET, LAUGHS + "<annotation>&l11;</annotation>"),
                "has a DTD, entities or zero bytes",
            ),
            (
                "entity that would read a file",
                put(SHEET, '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>'),
                "has a DTD, entities or zero bytes",
            ),
            (
                "entities in UTF-16",
                put(SHEET, (LAUGHS + "<annotation/>").encode("utf-16")),
                "has a DTD, entities or zero bytes",
            ),
            ("entity that is not declared", put(SHEET, "<annotation>&nothing;</annotation>"), "not readable as XML"),
            ("XML of something else", put(SHEET, "<annotations/>"), "not <annotation>"),
            ("XML file that is a link out of the folder", link_out(SHEET), "symbolic link"),
            ("folder of images that is a link out of the folder", link_out("JPEGImages"), "symbolic link"),
        ]
    ),
    *(
        Row("annotation", "voc boxes", kind, breaks, "warning", says)
        for kind, breaks, says in [
            ("box with NaN", bound(left="nan"), "coordinates that are missing"),
            ("box with infinity", bound(right="inf"), "coordinates that are missing"),
            ("box with 5,000 digits", bound(left="1" * 5000), "coordinates that are missing"),
            ("box with a word", bound(left="x"), "coordinates that are missing"),
            ("box with its sides exchanged", bound(9, 9, 2, 2), "in the wrong order"),
            ("box with 1e300", bound(right=1e300), "coordinates that are missing"),
            (
                "object without a box",
                swap(SHEET, "</annotation>", "<object><name>class_1</name></object></annotation>"),
                "1 without a box",
            ),
            ("object without a name", bound(name=""), "1 without a name"),
            ("object that is no class", bound(name="unicorn"), "'unicorn', which is no class"),
            (
                "polygon of two points",
                swap(
                    SHEET,
                    "</annotation>",
                    "<object><name>class_1</name><polygon><x1>1</x1><y1>1</y1><x2>3</x2><y2>3</y2></polygon></object></annotation>",
                ),
                "fewer than 3 points",
            ),
        ]
    ),
    Row(
        "annotation",
        "voc boxes",
        "image of 1e9 x 1e9 pixels",
        swap(SHEET, WIDE, "<size><width>1000000000</width><height>1000000000</height>"),
        "note",
        "1 size that no image has",
    ),
    Row(
        "annotation",
        "voc boxes",
        "box with 1e9",
        bound(1, 1, "1e9", "1e9"),
        "note",
        "1 object reaches outside",
        changes=True,
    ),
    Row(
        "annotation",
        "voc boxes",
        "pose, parts and the like",
        swap(SHEET, "</annotation>", "<cloud>x</cloud></annotation>"),
        "note",
        "1 <cloud>",
    ),
    Row(
        "annotation",
        "voc boxes",
        "image of another size than its file",
        swap(SHEET, WIDE, "<size><width>32</width><height>48</height>"),
        "error",
        "the mask is 32x48 but",
    ),
    Row("annotation", "voc boxes", "image that is not there", remove("JPEGImages/000.png"), "error", "no such file"),
    Row("annotation", "voc boxes", "XML file removed", remove(SHEET), "warning", "the image has no mask"),
    *(
        Row("annotation", "voc", f"label map: {kind}", breaks, "refused", says)
        for kind, (breaks, says) in MAPS.items()
        if kind != "removed"
    ),
    Row("annotation", "voc", "label map: removed", remove(MAP), "warning", "the classes have no names"),
    Row("annotation", "voc", "list: binary", put(LIST, b"\xff\xff"), "refused", "not readable as UTF-8"),
    Row("annotation", "voc", "list: link out of the folder", link_out(LIST), "refused", "symbolic link"),
    Row(
        "annotation",
        "voc",
        "list: image that is not there",
        swap(LIST, "000", "../../etc/passwd\n000"),
        "warning",
        "1 line names no image of this folder",
    ),
    Row(
        "annotation",
        "voc",
        "list: image of two splits",
        lambda d: (d / "ImageSets/Segmentation/val.txt").write_text("000\n002\n"),
        "warning",
        "1 image is in several splits",
    ),
    Row("annotation", "voc", "mask: no image", put(CLASS, "garbage"), "error", UNREADABLE),
    Row(
        "annotation",
        "voc",
        "mask: colours among masks of ids",
        put_image(CLASS, COLOURS[LABELS]),
        "error",
        "colour mask where class ids",
    ),
    Row("annotation", "voc", "mask: id that is no class", put_image(CLASS, LABELS + 7), "error", "unknown class ids"),
    Row("annotation", "voc", "mask: link out of the folder", link_out(CLASS), "refused", "symbolic link"),
]
