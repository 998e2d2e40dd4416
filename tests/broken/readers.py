"""Formats that are only read: tables of run lengths and others, broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from broken.pixels import PICTURE, UNREADABLE
from broken.table import Break, Row, cut, edit, link_out, put, put_image, remove, several, swap
from broken.xmls import HUGE, LAUGHS, ROOT, XML
from helpers import encoded

# -- Kaggle's tables ------------------------------------------------------------------------------------------------------

TABLE_FILE = "masks.csv"


def row(text: str) -> Break:
    """One row more."""

    def breaks(folder: Path) -> None:
        with (folder / TABLE_FILE).open("a") as stream:
            stream.write(text + "\n")

    return breaks


KAGGLE_ROWS = [
    *several(
        "annotation",
        "kaggle_rle",
        "refused",
        "no CSV file with a column of images and one of run lengths",
        {
            "empty table": put(TABLE_FILE, ""),
            "only a head": put(TABLE_FILE, "ImageId,EncodedPixels\n"),
            "no run lengths": put(TABLE_FILE, "ImageId,EncodedPixels\n000.png,a\n001.png,b\n"),
            "zeros": put(TABLE_FILE, b"\0" * 100),
        },
    ),
    *several(
        "annotation",
        "kaggle_rle",
        "refused",
        "cannot be read as a UTF-8 table",
        {
            "binary table": put(TABLE_FILE, b"\x89PNG\r\n\x1a\n\xff"),
            "quote that is not closed": row('000.png,1,"1 2'),
            "text behind a quote": row('000.png,1,"1 2"x'),
        },
    ),
    *(
        Row("annotation", "kaggle_rle", kind, link_out(name), "refused", "symbolic link")
        for kind, name in [
            ("table that is a link out of the folder", TABLE_FILE),
            ("image that is a link out of the folder", "train/000.png"),
        ]
    ),
    *(
        Row("annotation", "kaggle_rle", f"run lengths {kind}", row(f"000.png,1,{cell}"), "warning", says)
        for kind, cell, says in [
            (kind, cell, "1 row holds no run lengths")
            for kind, cell in [
                ("of an odd count", "1 2 3"),
                ("that are letters", "a b"),
                ("that are negative", "-5 2"),
                ("that begin at 0", "0 5"),
                ("of length 0", "5 0"),
                ("that lie on each other", "1 5 3 9"),
                ("that are not ascending", "90 5 3 9"),
                ("of 400 digits", "9" * 400 + " 1"),
                ("of more pixels than any image", "4000000000 1"),
                ("in other digits", "١ ٢"),
            ]
        ]
    ),
    Row(
        "annotation",
        "kaggle_rle",
        "run lengths that reach behind the image",
        row("000.png,1,3070 9"),
        "error",
        "run lengths reach pixel 3078, but the image of 64x48 has 3072",
    ),
    *(
        Row("annotation", "kaggle_rle", kind, row(text), "warning", says)
        for kind, text, says in [
            ("image that is not there", "x.png,1,1 2", "1 image of a table is not in the folder"),
            ("image above the folder", "../../etc/passwd,1,1 2", "1 image of a table is not in the folder"),
            ("image of an absolute path", "/etc/passwd,1,1 2", "1 image of a table is not in the folder"),
            ("image with an escape sequence", "\x1b[31m.png,1,1 2", "1 image of a table is not in the folder"),
            ("row without an image", ",1,1 2", "1 row has no image"),
            ("row without a class", "000.png,,1 2", "1 row has no image, no class"),
            ("row of too few cells", "000.png", "1 row has no image"),
            ("row of too many cells", "000.png,1,1 2,3", "1 row has no image"),
        ]
    ),
    Row(
        "annotation",
        "kaggle_rle",
        "class that is not in dataset.yaml",
        row("000.png,unicorn,1 2"),
        "warning",
        "'unicorn'",
    ),
]

# -- COCO panoptic --------------------------------------------------------------------------------------------------------

PANOPTIC, SEGMENTS = "annotations/panoptic_train.json", "annotations/panoptic_train/000.png"


def segment(**more: object) -> Break:
    """One segment more, of the first image."""
    return edit(
        PANOPTIC, lambda data: data["annotations"][0]["segments_info"].append({"id": 9, "category_id": 1} | more)
    )


def listed(**fields: object) -> Break:
    """Other values for the first image."""
    return edit(PANOPTIC, lambda data: data["images"][0].update(fields))


PANOPTIC_ROWS = [
    *several(
        "annotation",
        "coco_panoptic",
        "refused",
        "not readable as JSON",
        {
            "empty file": put(PANOPTIC, ""),
            "binary": put(PANOPTIC, b"\x89PNG\r\n\x1a\n\xff"),
            "cut off": cut(PANOPTIC),
            "100,000 brackets deep": put(PANOPTIC, '{"annotations": ' + "[" * 100_000),
        },
    ),
    *(
        Row("annotation", "coco_panoptic", kind, link_out(name), "refused", "symbolic link")
        for kind, name in [
            ("annotation file that is a link out of the folder", PANOPTIC),
            ("image that is a link out of the folder", "train/000.png"),
            ("PNG of segments that is a link out of the folder", SEGMENTS),
        ]
    ),
    *(
        Row("annotation", "coco_panoptic", f"segment {kind}", breaks, "warning", says)
        for kind, breaks, says in [
            ("of the id 0, which is void", segment(id=0), "1 entry has no id"),
            ("of an id of 25 bits", segment(id=1 << 24), "1 entry has no id"),
            ("of an id that is a word", segment(id="x"), "1 entry has no id"),
            ("without a category", segment(category_id=None), "1 entry has no id, no name or no category"),
            ("given twice", segment(id=300), "1 entry is given twice"),
        ]
    ),
    Row(
        "annotation",
        "coco_panoptic",
        "segment of the PNG that is not listed",
        edit(PANOPTIC, lambda data: data["annotations"][0]["segments_info"].pop()),
        "error",
        "pixels of segments that are not listed",
    ),
    Row(
        "annotation", "coco_panoptic", "PNG that is not there", remove(SEGMENTS), "warning", "1 PNG of segments is not"
    ),
    Row("annotation", "coco_panoptic", "PNG that cannot be read", put(SEGMENTS, "x"), "error", UNREADABLE),
    Row(
        "annotation",
        "coco_panoptic",
        "PNG of another size",
        put_image(SEGMENTS, PICTURE[:5, :6]),
        "error",
        "is 6x5 where 64x48 is expected",
    ),
    Row(
        "annotation",
        "coco_panoptic",
        "JPEG in place of the PNG",
        put_image(SEGMENTS, PICTURE, "JPEG"),
        "error",
        "where ids of segments in an RGB PNG are expected",
    ),
    Row(
        "annotation",
        "coco_panoptic",
        "grey PNG",
        put_image(SEGMENTS, PICTURE[..., 0]),
        "error",
        "where ids of segments in an RGB PNG are expected",
    ),
    Row(
        "annotation",
        "coco_panoptic",
        "image above the folder",
        listed(file_name="../../etc/passwd"),
        "warning",
        "1 image is not in the folder",
        changes=True,
    ),
    Row(
        "annotation",
        "coco_panoptic",
        "image of 1e9 x 1e9 pixels",
        listed(height=10**9, width=10**9),
        "warning",
        "1 image has no size or an impossible one",
    ),
    Row(
        "annotation",
        "coco_panoptic",
        "image of another size than the file says",
        listed(height=47),
        "error",
        "is 64x48 where 64x47 is expected",
    ),
]

# -- CVAT for video -------------------------------------------------------------------------------------------------------


def placed(tag: str = "box", **attributes: object) -> Break:
    """A track of one shape more, in the first frame."""
    values = {"frame": 0, "xtl": 1, "ytl": 2, "xbr": 4, "ybr": 5, "z_order": 0} | attributes
    text = " ".join(f'{key}="{value}"' for key, value in values.items() if value is not None)
    end = f'<{tag} frame="1" outside="1" xtl="1" ytl="2" xbr="4" ybr="5" z_order="0"/>'
    return swap(XML, "</annotations>", f'<track label="class_1"><{tag} {text}/>{end}</track></annotations>')


VIDEO_ROWS = [
    *several(
        "annotation",
        "cvat_video",
        "refused",
        "has a document type (DOCTYPE)",
        {
            "entities that would grow (billion laughs)": put(XML, f"{LAUGHS}{ROOT}<track>&l11;</track></annotations>"),
            "entity that would read a file": put(
                XML, f'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>{ROOT}<track>&x;</track></annotations>'
            ),
        },
    ),
    *several(
        "annotation",
        "cvat_video",
        "refused",
        "holds no XML file with tracks",
        {"empty file": put(XML, ""), "garbage": put(XML, "garbage"), "no tracks": put(XML, f"{ROOT}</annotations>")},
    ),
    *(
        Row("annotation", "cvat_video", kind, breaks, "refused", says)
        for kind, breaks, says in [
            ("cut off", cut(XML, 0.9), "not readable as XML"),
            (
                "bytes that are no UTF-8",
                put(XML, f"{ROOT}<track>".encode() + b"\xff</track></annotations>"),
                "not readable",
            ),
            ("200,000 elements deep", put(XML, f"{ROOT}<track>{'<x>' * 200_000}"), "nested more than 64 deep"),
            (
                "two tasks in one file",
                swap(XML, '<track id="1"', '<track task_id="7" id="1"'),
                "holds the tracks of several tasks",
            ),
            (
                "no frames",
                lambda folder: [path.unlink() for path in (folder / "images").iterdir()],
                "0 image files whose names do not tell the frames",
            ),
            ("annotation file that is a link out of the folder", link_out(XML), "symbolic link"),
            ("image that is a link out of the folder", link_out("images/frame_000000.png"), "symbolic link"),
        ]
    ),
    *(
        Row("annotation", "cvat_video", f"box {kind}", breaks, "warning", says)
        for kind, breaks, says in [
            ("with NaN", placed(xtl="nan"), "(box): 1"),
            ("with a number of 400 digits", placed(xtl=HUGE), "(box): 1"),
            ("with a word", placed(xtl="x"), "no numbers in xtl, ytl, xbr, ybr (box): 1"),
            ("without a corner", placed(xtl=None), "no 'xtl' (box): 1"),
            ("without an area", placed(xbr=1), "no area (box): 1"),
            ("without a frame", placed(frame=None), "no number of a frame (box): 1"),
            ("in a frame of 400 digits", placed(frame=HUGE), "no number of a frame (box): 1"),
            ("in a frame that is negative", placed(frame=-1), "no number of a frame (box): 1"),
            ("in a frame that is not there", placed(frame=9_999_999), "1 frame with shapes has no image file"),
        ]
    ),
    Row("annotation", "cvat_video", "points", placed("points"), "warning", "2 sets of points are left out"),
    Row(
        "annotation",
        "cvat_video",
        "track without a label",
        swap(XML, ' label="class_1"', ""),
        "warning",
        "no label",
        changes=True,
    ),
    Row(
        "annotation",
        "cvat_video",
        "frame without an image",
        remove("images/frame_000003.png"),
        "warning",
        "1 frame with shapes has no image file (3)",
    ),
    Row(
        "annotation",
        "cvat_video",
        "image that is no frame",
        put_image("images/frame_000099.png", PICTURE),
        "warning",
        "1 image file has a number that is no frame of the task",
        changes=True,
    ),
    Row(
        "annotation",
        "cvat_video",
        "image that cannot be read",
        put("images/frame_000000.png", "x"),
        "error",
        UNREADABLE,
    ),
]

# -- LabelMe 3.0 ----------------------------------------------------------------------------------------------------------

LABELME_XML, LABELME_MASK = "Annotations/train/000.xml", "Masks/train/000_mask_1.png"


def thing(points: str, name: str = "class_1") -> Break:
    """A polygon more; `points` as in `1,2 3,4`."""
    pairs = "".join("<pt><x>{}</x><y>{}</y></pt>".format(*pair.split(",")) for pair in points.split())
    added = f"<object><name>{name}</name><polygon>{pairs}</polygon></object>"
    return swap(LABELME_XML, "</annotation>", added + "</annotation>")


LABELME_XML_ROWS = [
    *several(
        "annotation",
        "labelme_xml",
        "refused",
        "has a DTD, entities or zero bytes",
        {
            "entities that would grow (billion laughs)": put(LABELME_XML, f"{LAUGHS}<annotation>&l11;</annotation>"),
            "entity that would read a file": put(
                LABELME_XML, '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>'
            ),
        },
    ),
    *(
        Row("annotation", "labelme_xml", kind, breaks, "refused", says)
        for kind, breaks, says in [
            ("cut off", cut(LABELME_XML), "not readable as XML"),
            ("bytes that are no UTF-8", put(LABELME_XML, b"<annotation>\xff</annotation>"), "not readable as XML"),
            ("annotation file that is a link out of the folder", link_out(LABELME_XML), "symbolic link"),
            ("image that is a link out of the folder", link_out("Images/train/000.png"), "symbolic link"),
            ("mask file that is a link out of the folder", link_out(LABELME_MASK), "symbolic link"),
        ]
    ),
    *(
        Row("annotation", "labelme_xml", kind, breaks, "warning", says)
        for kind, breaks, says in [
            ("polygon with NaN", thing("nan,1 2,3 4,5"), "1 object has no name, too few points"),
            ("polygon with infinity", thing("inf,1 2,3 4,5"), "1 object has no name, too few points"),
            ("polygon with 1e300", thing("1e300,1 2,3 4,5"), "1 object has no name, too few points"),
            ("polygon with a word", thing("x,1 2,3 4,5"), "1 object has no name, too few points"),
            ("polygon of two points", thing("1,2 3,4"), "1 object has no name, too few points"),
            ("object without a name", thing("1,2 3,4 5,9", ""), "1 object has no name"),
            ("label that is no class", thing("1,2 3,4 5,9", "unicorn"), "'unicorn', which is no class"),
            (
                "image of 1e6 x 1e6 pixels",
                swap(LABELME_XML, "<nrows>48", "<nrows>9999999"),
                "1 file has an image size that is none",
            ),
        ]
    ),
    *(
        Row("annotation", "labelme_xml", kind, breaks, "warning", "1 object names a mask file", changes=True)
        for kind, breaks in [
            ("mask file that is not there", remove(LABELME_MASK)),
            ("mask file above the folder", swap(LABELME_XML, "000_mask_1.png", "../../../x.png")),
        ]
    ),
    Row("annotation", "labelme_xml", "mask file that cannot be read", put(LABELME_MASK, "x"), "error", UNREADABLE),
    Row(
        "annotation",
        "labelme_xml",
        "mask file of another size",
        put_image(LABELME_MASK, PICTURE[:5, :6]),
        "error",
        "is 6x5 where 64x48 is expected",
    ),
    Row(
        "annotation",
        "labelme_xml",
        "image that is not there",
        remove("Images/train/000.png"),
        "warning",
        "1 image is not in the folder",
        changes=True,
    ),
    Row("annotation", "labelme_xml", "other XML", put("x.xml", "<x/>"), "note", "1 XML file is not of LabelMe"),
    Row(
        "annotation",
        "labelme_xml",
        "deleted object",
        swap(LABELME_XML, "<deleted>0", "<deleted>1"),
        "note",
        "1 object is marked as deleted",
        changes=True,
    ),
]

# -- Hugging Face ---------------------------------------------------------------------------------------------------------

PARQUET = "data/train-00000-of-00001.parquet"


def of_folder(breaks: Break) -> Break:
    """The folder itself is what `convert` gets."""

    def broken(folder: Path) -> Path:
        breaks(folder)
        return folder

    return broken


def rows(change: Callable[[list[Any]], object]) -> Break:
    """Other rows in a parquet file."""

    def breaks(folder: Path) -> None:
        import pyarrow
        from pyarrow import parquet

        found = parquet.read_table(folder / PARQUET).to_pylist()
        change(found)
        parquet.write_table(pyarrow.Table.from_pylist(found), folder / PARQUET)

    return breaks


def bytes_of(column: str, content: bytes | None) -> Break:
    """Other bytes in the second row."""
    return rows(lambda found: found[1].update({column: {"bytes": content, "path": "a.png"}}))


PARQUET_ROWS = [
    *(
        Row("archive", "hf_parquet", kind, of_folder(breaks), "refused", says)
        for kind, breaks, says in [
            ("parquet file that is cut off", cut(PARQUET), "cannot be read as parquet"),
            ("parquet file of zeros", put(PARQUET, b"PAR1" + bytes(500) + b"PAR1"), "cannot be read as parquet"),
            ("parquet file that is a link out of the folder", link_out(PARQUET), "symbolic link"),
            ("row without an image", bytes_of("image", None), "row 1 holds no bytes of an image"),
            ("row whose image is text", bytes_of("image", b"text"), "row 1 holds bytes that are no picture"),
            (
                "no column of masks",
                rows(lambda found: [row.pop("label") for row in found]),
                "are not one of images and one of masks",
            ),
            (
                "two columns of masks",
                rows(lambda found: [row.update(mask=row["label"]) for row in found]),
                "are not one of images and one of masks",
            ),
            ("names of classes that are no JSON", put("id2label.json", "{"), "not readable as JSON"),
        ]
    ),
    Row(
        "archive",
        "hf_parquet",
        "mask that is cut off",
        of_folder(bytes_of("label", encoded(PICTURE, "PNG")[:90])),
        "error",
        "cannot be decoded",
    ),
]
