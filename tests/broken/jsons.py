"""COCO, LabelMe and the common semantic format: JSON files that are broken, and regions in them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np

from broken.pixels import LABELS, PICTURE, UNREADABLE
from broken.table import Break, Row, both, cut, edit, link_out, put, put_image, remove, several
from helpers import encoded

NAN, INF = float("nan"), float("inf")

# -- COCO ---------------------------------------------------------------------------------------------------------------

COCO = "annotations/instances_train.json"
SQUARE = [2, 1, 6, 1, 6, 5, 2, 5]
SIZE = [48, 64]


def region(segmentation: Any, **more: Any) -> Break:
    """One region more, on the first image."""
    return edit(
        COCO,
        lambda data: data["annotations"].append(
            {"id": 999, "image_id": data["images"][0]["id"], "category_id": 1, "segmentation": segmentation} | more
        ),
    )


def runs(counts: Any, size: Any = SIZE) -> Break:
    """A region of run lengths."""
    return region({"counts": counts, "size": size})


def image(**fields: Any) -> Break:
    """Other values for the first image."""
    return edit(COCO, lambda data: data["images"][0].update(fields))


def one_more(key: str, value: Any) -> Break:
    """An entry more in `images`, `annotations` or `categories`."""
    return edit(COCO, lambda data: data[key].append(value))


COCO_ROWS = [
    *several(
        "annotation",
        "coco",
        "refused",
        "not readable as JSON",
        {
            "empty file": put(COCO, ""),
            "binary": put(COCO, b"\x89PNG\r\n\x1a\n\xff"),
            "cut off": cut(COCO),
            "100,000 brackets deep": put(COCO, '{"images": ' + "[" * 100_000),
            "number of 5,000 digits": put(COCO, '{"images": [' + "9" * 5000 + "]}"),
        },
    ),
    Row(
        "annotation",
        "coco",
        "annotation file that is a link out of the folder",
        link_out(COCO),
        "refused",
        "symbolic link",
    ),
    Row(
        "annotation",
        "coco",
        "image that is a link out of the folder",
        link_out("images/train/000.png"),
        "refused",
        "symbolic link",
    ),
    Row(
        "annotation",
        "coco",
        "folder of annotations that is a link out of the folder",
        link_out("annotations"),
        "refused",
        "symbolic link",
    ),
    *(
        Row("annotation", "coco", kind, breaks, "warning", says)
        for kind, breaks, says in [
            ("polygon with NaN", region([[NAN, 1, 6, 1, 6, 5]]), "not finite or far too large (1)"),
            ("polygon with infinity", region([[2, 1, INF, 1, 6, 5]]), "not finite or far too large (1)"),
            ("polygon with 1e300", region([[2, 1, 1e300, 1, 6, 5]]), "not finite or far too large (1)"),
            ("polygon with a number of 30 digits", region([[10**30, 1, 6, 1, 6, 5]]), "no list of x and y (1)"),
            ("polygon of two points", region([[2, 1, 6, 1]]), "fewer than 3 points (1)"),
            ("polygon with an odd number of values", region([[2, 1, 6, 1, 6, 5, 2]]), "no list of x and y (1)"),
            ("polygon of texts", region([["2", "1", "6", "1", "6", "5"]]), "no list of x and y (1)"),
            ("polygon nested too deep", region([[[[[1, 2]], [[3, 4]], [[5, 6]]]]]), "no list of x and y (1)"),
            ("segmentation that is a word", region("polygon"), "no list of x and y (1)"),
            ("run lengths: garbage text", runs("\u00e9~~"), "whose text is damaged (1)"),
            ("run lengths: text that grows without end", runs("o" * 50), "whose text is damaged (1)"),
            ("run lengths: too few pixels", runs([0, 50, 151]), "do not fit their size (1)"),
            ("run lengths: negative", runs([0, -50, 48 * 64 + 50]), "do not fit their size (1)"),
            (
                "run lengths: sum beyond 64 bits",
                runs([2**62, 2**62, 2**62, 2**62, 48 * 64]),
                "do not fit their size (1)",
            ),
            ("run lengths: halves", runs([0.5, 48 * 64 - 0.5]), "no list of whole numbers (1)"),
            ("run lengths: bomb of 1e9 x 1e9 pixels", runs([0, 10**18], [10**9, 10**9]), "impossible one (1)"),
            ("run lengths: no size", region({"counts": [0, 9]}), "impossible one (1)"),
            ("box with NaN", region([], bbox=[1, 2, NAN, 4]), "boxes without an area"),
            ("box of no width", region([], bbox=[1, 2, 0, 4]), "boxes without an area"),
            ("box of three numbers", region([], bbox=[1, 2, 3]), "neither an outline nor a box (1)"),
            ("neither outline nor box", region([]), "neither an outline nor a box (1)"),
            (
                "region of an image that is not listed",
                region([SQUARE], image_id=12345),
                "images that are not listed (1)",
            ),
            ("region without a category", region([SQUARE], category_id=None), "without a category (1)"),
            (
                "region of a category that is not listed",
                region([SQUARE], category_id=77),
                "'category_77', which is no class",
            ),
            ("entry that is no object", one_more("annotations", 7), "images that are not listed (1)"),
            (
                "annotation id given twice",
                edit(COCO, lambda data: data["annotations"][1].update(id=data["annotations"][0]["id"])),
                "annotation ids, all of which are drawn (1)",
            ),
            ("image without a file name", one_more("images", {"id": 12345}), "images without an id or a file name (1)"),
            (
                "image name with a NUL",
                one_more("images", {"id": 12345, "file_name": "x\0.png"}),
                "images without an id or a file name (1)",
            ),
            (
                "image name of half a character",
                one_more("images", {"id": 12345, "file_name": "\ud800.png"}),
                "images without an id or a file name (1)",
            ),
            (
                "image id given twice",
                edit(COCO, lambda data: data["images"].append(dict(data["images"][0]))),
                "image ids, of which the first counts (1)",
            ),
            ("image of 1e9 x 1e9 pixels", image(height=10**9, width=10**9), "for which the file's own is used (1)"),
            ("image of no size", image(height=0), "for which the file's own is used (1)"),
            ("category without an id", one_more("categories", {"name": "x"}), "categories without an id (1)"),
            (
                "category id given twice",
                one_more("categories", {"id": 1, "name": "x"}),
                "category ids, of which the first counts (1)",
            ),
            (
                "category without a name",
                edit(COCO, lambda data: data["categories"].append({"id": 9})),
                "called category_9 now",
            ),
        ]
    ),
    *(
        Row("annotation", "coco", f"image name: {kind}", image(file_name=name), "error", "no such file", changes=True)
        for kind, name in [
            ("above the folder", "../../../etc/passwd.png"),
            ("absolute", "/etc/passwd"),
            ("a URL of a file", "file:///etc/passwd"),
            ("a share of the network", "\\\\host\\share\\b.png"),
            ("5,000 characters", "x" * 5000 + ".png"),
        ]
    ),
    Row(
        "annotation",
        "coco",
        "image of another size than its file",
        image(height=20, width=30),
        "error",
        "the mask is 30x20 but the image is 64x48",
    ),
    Row("annotation", "coco", "image that is not there", remove("images/train/000.png"), "error", "no such file"),
    Row(
        "annotation",
        "coco",
        "no annotations in the file",
        edit(COCO, lambda data: data.update(annotations=[])),
        "warning",
        "images without regions (2)",
        changes=True,
    ),
    Row(
        "annotation",
        "coco",
        "run lengths of another size than the image",
        runs([0, 100], [10, 10]),
        "warning",
        "run lengths of another size than their image (1)",
        changes=True,
    ),
    Row(
        "annotation",
        "coco",
        "captions beside the instances",
        put("annotations/captions_train.json", "{}"),
        "note",
        "not read: its name says",
    ),
    Row(
        "annotation",
        "coco",
        "polygon with 1e9",
        region([[15, 5, 1e9, 5, 1e9, 1e9, 15, 1e9]]),
        "note",
        "shapes (1)",
        changes=True,
    ),
    Row(
        "annotation",
        "coco",
        "polygon that reaches outside",
        region([[-5, -5, 6, -5, 6, 5, -5, 5]]),
        "note",
        "shapes (1)",
        changes=True,
    ),
    Row("annotation", "coco", "only a box", region([], bbox=[1, 2, 3, 4]), "note", "boxes (1)", changes=True),
    Row(
        "annotation",
        "coco",
        "run lengths beside the segmentation",
        region([SQUARE], counts=[1, 2, 3]),
        "note",
        "counts (1)",
        changes=True,
    ),
    Row(
        "annotation",
        "coco",
        "crowd, score and keypoints",
        region([SQUARE], iscrowd=1, score=0.5, keypoints=[1, 2, 2]),
        "note",
        "crowds, drawn below single objects (1)",
        changes=True,
    ),
]

# -- LabelMe ------------------------------------------------------------------------------------------------------------

SHEET = "train/000.json"


def shape(**fields: Any) -> Break:
    """One shape more."""
    return edit(
        SHEET,
        lambda data: data["shapes"].append(
            {"label": "class_1", "points": [[2, 1], [6, 1], [6, 5]], "shape_type": "polygon"} | fields
        ),
    )


def png(pixels: np.ndarray, form: str = "PNG") -> str:
    """As a mask is stored."""
    return base64.b64encode(encoded(pixels, form)).decode()


def sparse(name: str, size: int) -> Break:
    """Lets a file grow by zeros, which take no place on the disk."""

    def breaks(folder: Path) -> None:
        with (folder / name).open("r+b") as stream:
            stream.truncate(size)

    return breaks


CORNERS = [[0, 0], [3, 2]]
LABELME_ROWS = [
    *(
        Row("annotation", "labelme", kind, breaks, "refused", says)
        for kind, breaks, says in [
            ("empty file", put(SHEET, ""), "not readable as JSON"),
            ("binary", put(SHEET, b"\xff\xfe\0"), "not readable as JSON"),
            ("cut off", cut(SHEET), "not readable as JSON"),
            ("200,000 brackets deep", put(SHEET, '{"shapes": ' + "[" * 200_000), "not readable as JSON"),
            (
                "shapes that are no list",
                edit(SHEET, lambda data: data.update(shapes={"label": "x"})),
                "`shapes` is no list",
            ),
            (
                "400 labels",
                edit(
                    SHEET,
                    lambda data: data["shapes"].extend(
                        {"label": f"l{i}", "points": [[2, 1], [6, 1], [6, 5]]} for i in range(400)
                    ),
                ),
                "labels; at most 254 classes",
            ),
            ("JSON file that is a link out of the folder", link_out(SHEET), "symbolic link"),
            ("image that is a link out of the folder", link_out("train/000.png"), "symbolic link"),
            ("labels.txt that is no text", put("labels.txt", b"\xff\xfe\xff"), "cannot be read as UTF-8"),
        ]
    ),
    Row("annotation", "labelme", "file of 129 MiB", sparse(SHEET, 129 << 20), "refused", "larger than 128 MiB"),
    *(
        Row("annotation", "labelme", kind, breaks, "warning", says)
        for kind, breaks, says in [
            *(
                (f"polygon {kind}", shape(points=points), "1 shape has no label, too few points")
                for kind, points in {
                    "with NaN": [[NAN, 1], [6, 1], [6, 5]],
                    "with infinity": [[INF, 1], [6, 1], [6, 5]],
                    "with 1e300": [[1e300, 1], [6, 1], [6, 5]],
                    "of two points": [[2, 1], [6, 1]],
                    "of points with three numbers": [[2, 1, 0], [6, 1, 0], [6, 5, 0]],
                    "of texts": [["2", "1"], ["6", "1"], ["6", "5"]],
                    "without points": None,
                }.items()
            ),
            ("shape without a label", shape(label=None), "1 shape has no label"),
            ("shape that is no object", edit(SHEET, lambda data: data["shapes"].append("x")), "1 shape has no label"),
            ("shape of an unknown type", shape(shape_type="cloud"), "1 shape is of an unknown type"),
            ("point and line", shape(shape_type="line"), "1 point or line covers no pixels"),
            ("label that is no class", shape(label="unicorn"), "'unicorn', which is no class"),
            ("mask that is no PNG", shape(shape_type="mask", points=CORNERS, mask="!!!"), "1 mask is no PNG"),
            (
                "mask that is a GIF",
                shape(shape_type="mask", points=CORNERS, mask=png(LABELS[:3, :4], "GIF")),
                "1 mask is no PNG",
            ),
            (
                "mask of another size than its box",
                shape(shape_type="mask", points=CORNERS, mask=png(LABELS)),
                "1 mask is no PNG",
            ),
            (
                "mask with a box of 1e9 x 1e9 pixels",
                shape(shape_type="mask", points=[[0, 0], [1e9, 1e9]], mask=png(LABELS)),
                "1 mask is no PNG",
            ),
            (
                "image size of 1e9 x 1e9",
                edit(SHEET, lambda data: data.update(imageHeight=10**9, imageWidth=10**9)),
                "1 file has an image size that is none",
            ),
            (
                "image size as text",
                edit(SHEET, lambda data: data.update(imageHeight="8")),
                "1 file has an image size that is none",
            ),
        ]
    ),
    *(
        Row(
            "annotation",
            "labelme",
            f"imagePath: {kind}",
            both(edit(SHEET, lambda data, name=name: data.update(imagePath=name)), remove("train/000.png")),
            "error",
            "no such file",
        )
        for kind, name in {
            "above the folder": "../../../../etc/passwd",
            "5,000 folders deep": "x/" * 5000 + "a.png",
            "NUL": "a\0.png",
            "half a character": "\ud800.png",
        }.items()
    ),
    Row(
        "annotation",
        "labelme",
        "imagePath that names the JSON file itself",
        edit(SHEET, lambda data: data.update(imagePath="000.json")),
        "note",
        "1 file has an imagePath that leads elsewhere or to no image",
    ),
    Row(
        "annotation",
        "labelme",
        "imagePath of another machine",
        edit(SHEET, lambda data: data.update(imagePath="C:\\Users\\me\\000.png")),
        "note",
        "1 file has an imagePath that leads elsewhere or to no image",
    ),
    Row(
        "annotation",
        "labelme",
        "size of another image",
        edit(SHEET, lambda data: data.update(imageHeight=20, imageWidth=30)),
        "error",
        "the mask is 30x20 but",
    ),
    Row(
        "annotation",
        "labelme",
        "second file about the same image",
        lambda d: (d / "train/000 copy.json").write_bytes((d / SHEET).read_bytes()),
        "warning",
        "1 file annotates an image that another one annotates",
        changes=True,
    ),
    Row(
        "annotation",
        "labelme",
        "JSON file of something else",
        put("package.json", '{"name": 1}'),
        "note",
        "1 JSON file is not of LabelMe",
    ),
    Row(
        "annotation",
        "labelme",
        "polygon with 1e9",
        shape(points=[[1e9, 1], [6, 1], [6, 5]]),
        "note",
        "1 shape reaches outside",
        changes=True,
    ),
    Row(
        "annotation",
        "labelme",
        "group and description",
        shape(group_id=3, description="x"),
        "note",
        "2 groups, flags or descriptions are left out",
        changes=True,
    ),
    Row("annotation", "labelme", "JSON file removed", remove(SHEET), "warning", "the image has no mask"),
]

# -- the common semantic format -----------------------------------------------------------------------------------------

META = "dataset_meta.json"


def meta(**fields: Any) -> Break:
    """Other values in the meta file."""
    return edit(META, lambda data: data.update(fields))


SEMANTIC_ROWS = [
    *(
        Row("annotation", "common_semantic", kind, breaks, "refused", says)
        for kind, breaks, says in [
            ("meta file removed", remove(META), "dataset_meta.json"),
            ("meta file empty", put(META, ""), "not readable as JSON"),
            ("meta file that is a list", put(META, "[]"), "holds no object"),
            ("meta file without classes", put(META, "{}"), "names no classes"),
            ("class id that is a word", meta(label_map={"x": "cat"}), "is no class id"),
            ("class id beyond 16 bits", meta(label_map={"70000": "cat"}), "is no class id"),
            ("class name that is a number", meta(label_map={"0": 5}), "is no text"),
            ("class name of half a character", meta(label_map={"0": "\ud800"}), "is no text"),
            ("two classes of one name", meta(label_map={"0": "cat", "1": "cat"}), "stands there twice"),
            ("fewer colours than classes", meta(segmentation_colors=[[1, 2, 3]]), "one colour for each"),
            ("colour with NaN", meta(segmentation_colors=[[NAN, 0, 0]] * 3), "not three numbers"),
            ("colour with 1e9", meta(segmentation_colors=[[10**9, 0, 0]] * 3), "not three numbers"),
            ("meta file that is a link out of the folder", link_out(META), "symbolic link"),
            ("folder of masks that is a link out of the folder", link_out("masks"), "symbolic link"),
        ]
    ),
    Row("annotation", "common_semantic", "mask that is no image", put("masks/000.png", "garbage"), "error", UNREADABLE),
    Row(
        "annotation",
        "common_semantic",
        "mask of no image",
        put_image("masks/other.png", LABELS),
        "warning",
        "1 mask belongs to no image",
    ),
    Row(
        "annotation",
        "common_semantic",
        "mask in colours among masks of ids",
        put_image("masks/000.png", PICTURE),
        "error",
        "colour mask where class ids",
    ),
    Row(
        "annotation",
        "common_semantic",
        "two masks that differ in their ending",
        put_image("masks/000.bmp", LABELS, "BMP"),
        "warning",
        "1 file has the name of another one",
        changes=True,
    ),
    Row(
        "annotation",
        "common_semantic",
        "image that is not there",
        remove("images/000.png"),
        "warning",
        "1 mask belongs to no image",
        changes=True,
    ),
]
