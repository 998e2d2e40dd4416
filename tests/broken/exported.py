"""Exports of annotation tools: files that are broken, and regions in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from broken.jsons import sparse
from broken.pixels import LABELS
from broken.table import Break, Row, both, cut, edit, link_out, put, put_image, remove, several, swap

NAN, INF = float("nan"), float("inf")
BAD_POINTS = {
    "with NaN": [[NAN, 1], [6, 1], [6, 5]],
    "with infinity": [[INF, 1], [6, 1], [6, 5]],
    "with 1e300": [[1e300, 1], [6, 1], [6, 5]],
    "of two points": [[2, 1], [6, 1]],
    "of texts": [["2", "1"], ["6", "1"], ["6", "5"]],
    "of single numbers": [2, 1, 6],
    "of nothing": None,
}
SHAPE, MASK = "1 region has too few points", "1 mask is damaged"


def broken_files(form: str, file: str, wording: str = "not readable as JSON") -> list[Row]:
    """What every reader of one or more files refuses."""
    return [
        *several("annotation", form, "refused", wording, {"cut off": cut(file, 0.6)}),
        Row(
            "annotation",
            form,
            "annotation file that is a link out of the folder",
            link_out(file),
            "refused",
            "symbolic",
        ),
    ]


def rows(form: str, verdict: str, kinds: dict[str, tuple[Break, str]], **more: Any) -> list[Row]:
    """One row for each kind, with what is said."""
    return [Row("annotation", form, kind, breaks, verdict, says, **more) for kind, (breaks, says) in kinds.items()]


# -- Label Studio -------------------------------------------------------------------------------------------------------

TASKS = "project.json"


def task(change: Callable[[dict[str, Any]], object]) -> Break:
    """Changes the first task."""
    return edit(TASKS, lambda data: change(data[0]))


def result(value: Any, **more: Any) -> Break:
    """One region more, on the first image."""
    one = {"id": "more", "type": "polygonlabels", "original_width": 64, "original_height": 48, "value": value} | more
    return task(lambda data: data["annotations"][0]["result"].append(one))


def labelled(**value: Any) -> dict[str, Any]:
    return {"polygonlabels": ["class_1"], **value}


def brush(rle: Any) -> Break:
    return result({"format": "rle", "rle": rle, "brushlabels": ["class_1"]}, type="brushlabels")


HEAD = [0, 0, 48, 0, 57, 27]  # 48 * 64 * 4 values of 8 bits, sizes of 3, 4, 8 and 16 bits
SQUARE = [[10, 10], [20, 10], [20, 20]]

LABEL_STUDIO_ROWS = [
    *broken_files("label_studio", TASKS),
    Row("annotation", "label_studio", "file of 513 MiB", sparse(TASKS, 513 << 20), "refused", "larger than 512 MiB"),
    Row("annotation", "label_studio", "empty file", put(TASKS, ""), "refused", "holds no file of Label Studio's tasks"),
    *rows(
        "label_studio",
        "warning",
        {
            **{f"polygon {kind}": (result(labelled(points=points)), SHAPE) for kind, points in BAD_POINTS.items()},
            "rectangle of no width": (result(labelled(x=1, y=1, width=0, height=5)), SHAPE),
            "ellipse with a radius of 1e9": (result(labelled(x=1, y=1, radiusX=1e9, radiusY=5)), SHAPE),
            "ellipse turned by NaN": (result(labelled(x=1, y=1, radiusX=1, radiusY=5, rotation=NAN)), SHAPE),
            "brush of nothing": (brush([]), MASK),
            "brush that is a text": (brush("AAAA"), MASK),
            "brush of numbers beyond bytes": (brush([*HEAD, 248, 300]), MASK),
            "brush of another size": (brush([0, 0, 1, 0, 57, 27, 248, 0]), MASK),
            "brush that ends too early": (brush([*HEAD, 248, 255, 255]), MASK),
            "brush with runs beyond the image": (brush([*HEAD, *[255] * 20]), MASK),
            "region without a label": (result({"points": SQUARE}), "1 region has no class"),
            "region of two labels": (
                result(labelled(points=[[1, 1], [1, 1], [1, 1]]) | {"polygonlabels": ["class_1", "class_2"]}),
                "1 region has several labels",
            ),
            "label that is no class": (
                result({"points": SQUARE, "polygonlabels": ["unicorn"]}),
                "'unicorn', which is no",
            ),
            "keypoint": (
                result({"x": 1, "y": 2, "keypointlabels": ["class_1"]}, type="keypointlabels"),
                "(keypointlabels)",
            ),
            "region of an image size of 1e9": (
                result(labelled(points=SQUARE), original_width=10**9),
                "a size that is none",
            ),
            "region drawn on a turned image": (
                result(labelled(points=SQUARE), image_rotation=90),
                "1 region was drawn on",
            ),
            "region of a second image": (
                result(labelled(points=SQUARE), to_name="image2"),
                "1 task shows several images",
            ),
            "second task of an image": (
                edit(TASKS, lambda data: data.append(data[0] | {"id": 77})),
                "1 image is annotated twice",
            ),
            "task without an image": (task(lambda data: data.update(data={"text": "a"})), "1 entry names no image"),
        },
    ),
    *rows(
        "label_studio",
        "warning",
        {
            "second annotation of a task": (
                task(lambda data: data["annotations"].append(data["annotations"][0] | {"id": 99, "result": []})),
                "1 image has several annotations",
            )
        },
        changes=True,
    ),
    Row(
        "annotation",
        "label_studio",
        "cancelled annotation",
        task(lambda data: data["annotations"][0].update(was_cancelled=True)),
        "note",
        "1 annotation was cancelled",
    ),
    Row(
        "annotation",
        "label_studio",
        "prediction",
        task(lambda data: data["predictions"].append({"result": []})),
        "note",
        "1 prediction is no annotation",
    ),
    Row(
        "annotation", "label_studio", "image that is not there", remove("images/train/000.png"), "error", "no such file"
    ),
    Row(
        "annotation",
        "label_studio",
        "image path above the folder",
        both(task(lambda data: data.update(data={"image": "../../../etc/x.png"})), remove("images/train/000.png")),
        "warning",
        "1 image is not in the folder",
        changes=True,
    ),
    Row(
        "annotation",
        "label_studio_brush",
        "no JSON file that says the images",
        remove(TASKS),
        "refused",
        "its number says a task, not an image",
    ),
    *rows(
        "label_studio_brush",
        "warning",
        {
            "mask that is no image": (put("masks/task-1-annotation-11-by-1-tag-class_1-1.png", "garbage"), MASK),
            "mask of a task that is not there": (
                put_image("masks/task-99-annotation-11-by-1-tag-class_1-0.png", LABELS),
                "1 mask is of no task",
            ),
        },
    ),
    Row(
        "annotation",
        "label_studio_brush",
        "mask of an annotation that does not count",
        put_image("masks/task-1-annotation-99-by-1-tag-class_1-0.png", LABELS),
        "note",
        "1 mask file is not read",
    ),
]

# -- Supervisely --------------------------------------------------------------------------------------------------------

SHEET = "train/ann/000.png.json"


def thing(**fields: Any) -> Break:
    """One object more, on the first image."""
    return edit(SHEET, lambda data: data["objects"].append({"classTitle": "class_1", **fields}))


def bitmap(data: Any, origin: Any = (1, 1)) -> Break:
    return thing(geometryType="bitmap", bitmap={"data": data, "origin": origin})


def outline(points: Any, interior: Any = ()) -> Break:
    return thing(geometryType="polygon", points={"exterior": points, "interior": interior})


SUPERVISELY_ROWS = [
    *broken_files("supervisely", SHEET),
    Row(
        "annotation",
        "supervisely",
        "no objects",
        edit(SHEET, lambda data: data.update(objects=1)),
        "refused",
        "no list",
    ),
    *rows(
        "supervisely",
        "warning",
        {
            **{f"polygon {kind}": (outline(points), SHAPE) for kind, points in BAD_POINTS.items()},
            "polygon with an interior of two points": (outline([[1, 1], [9, 1], [9, 9]], [[[1, 1], [2, 2]]]), SHAPE),
            "polygon with 1e9": (outline([[1, 1], [1e9, 1], [9, 9]]), SHAPE),
            "rectangle of one corner": (thing(geometryType="rectangle", points={"exterior": [[1, 1]]}), SHAPE),
            "bitmap that is no base64": (bitmap("!"), MASK),
            "bitmap that is a number": (bitmap(7), MASK),
            "bitmap that is no PNG": (bitmap("eJwLdw13BQADKgFW"), MASK),
            "bitmap without an origin": (bitmap("eJwLdw13BQADKgFW", None), MASK),
            "bitmap 1e9 pixels away": (bitmap("eJwLdw13BQADKgFW", [1e9, 1]), MASK),
            "object without a class": (
                thing(geometryType="rectangle", points={"exterior": [[1, 1], [2, 2]]}, classTitle=None),
                "1 region has no class",
            ),
            "line": (thing(geometryType="line", points={"exterior": [[1, 1], [2, 2]]}), "(line)"),
            "class that is not in meta.json": (
                thing(geometryType="rectangle", points={"exterior": [[1, 1], [2, 2]]}, classTitle="unicorn"),
                "'unicorn', which is no class",
            ),
            "object that is no object": (edit(SHEET, lambda data: data["objects"].append(7)), SHAPE),
        },
    ),
    Row("annotation", "supervisely", "empty file", put(SHEET, ""), "warning", "1 file is empty"),
    Row("annotation", "supervisely", "file removed", remove(SHEET), "warning", "the image has no mask"),
    Row(
        "annotation",
        "supervisely",
        "size of another image",
        edit(SHEET, lambda data: data.update(size={"height": 20, "width": 30})),
        "error",
        "the mask is 30x20 but",
    ),
    Row(
        "annotation",
        "supervisely",
        "tag",
        edit(SHEET, lambda data: data["tags"].append({"name": "night"})),
        "note",
        "1 tag says what no mask can hold",
    ),
    Row("annotation", "supervisely", "meta.json that is no JSON", put("meta.json", "x"), "refused", "not readable"),
]

# -- VIA ----------------------------------------------------------------------------------------------------------------

VIA = "train/via_region_data.json"


def via(shape: Any, attributes: Any = None) -> Break:
    """One region more, on the first image."""
    region = {"shape_attributes": shape, "region_attributes": attributes or {"class": "class_1"}}
    return edit(VIA, lambda data: next(iter(data.values()))["regions"].append(region))


def via_polygon(points: Any) -> Break:
    pairs = points if isinstance(points, list) and all(isinstance(point, list) for point in points) else None
    xs, ys = ([x for x, _ in pairs], [y for _, y in pairs]) if pairs else (points, points)
    return via({"name": "polygon", "all_points_x": xs, "all_points_y": ys})


def swap_all(name: str) -> Break:
    """Another name for the attribute."""
    return lambda folder: (folder / name).write_text((folder / name).read_text().replace('"class"', '"one"'))


CIRCLE = {"name": "circle", "cx": 5, "cy": 5, "r": 2}
VIA_ROWS = [
    *broken_files("via", VIA),
    Row("annotation", "via", "empty file", put(VIA, ""), "warning", "1 file is empty", changes=True),
    Row(
        "annotation",
        "via",
        "JSON file of something else",
        put("package.json", "{}"),
        "note",
        "1 file holds something else",
    ),
    Row(
        "annotation",
        "via",
        "attributes that leave open which is the class",
        both(
            via(CIRCLE, {"two": "x"}),
            *(swap_all(f"{split}/via_region_data.json") for split in ("train", "val", "test")),
        ),
        "refused",
        "have several attributes",
    ),
    *rows(
        "via",
        "warning",
        {
            **{
                f"polygon {kind}": (via_polygon(points), SHAPE)
                for kind, points in BAD_POINTS.items()
                if kind != "of single numbers"
            },
            "polygon of more x than y": (
                via({"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1]}),
                SHAPE,
            ),
            "circle of 1e9": (via(CIRCLE | {"r": 1e9}), SHAPE),
            "ellipse turned by NaN": (
                via({"name": "ellipse", "cx": 5, "cy": 5, "rx": 2, "ry": 3, "theta": NAN}),
                SHAPE,
            ),
            "rectangle of no height": (via({"name": "rect", "x": 5, "y": 5, "width": 2, "height": 0}), SHAPE),
            "shape that is no object": (via("circle"), SHAPE),
            "shape of an unknown name": (via({"name": "cloud"}), SHAPE),
            "point": (via({"name": "point", "cx": 5, "cy": 5}), "(point)"),
            "region without the attribute": (via(CIRCLE, {"class": ""}), "1 region has no class"),
            "image that is not there": (remove("train/000.png"), "1 image is not in the folder"),
        },
    ),
    Row(
        "annotation",
        "via",
        "image without regions",
        edit(VIA, lambda data: next(iter(data.values())).update(regions=[])),
        "note",
        "1 image has not one region",
    ),
    Row(
        "annotation",
        "via",
        "second attribute",
        via({"name": "point", "cx": 5, "cy": 5}, {"class": "class_1", "colour": "red"}),
        "note",
        "1 attribute says what no mask can hold (colour)",
    ),
]

# -- Datumaro -----------------------------------------------------------------------------------------------------------

ITEMS = "annotations/train.json"


def item(**fields: Any) -> Break:
    """One annotation more, on the first image."""
    one = {"id": 9, "label_id": 0, "z_order": 0, "attributes": {}, **fields}
    return edit(ITEMS, lambda data: data["items"][0]["annotations"].append(one))


def flat(points: Any) -> Any:
    if not isinstance(points, list) or not all(isinstance(point, list) for point in points):
        return points
    return [number for point in points for number in point]


DATUMARO_ROWS = [
    *broken_files("datumaro", ITEMS),
    Row(
        "annotation",
        "datumaro",
        "items that are no list",
        edit(ITEMS, lambda d: d.update(items=1)),
        "refused",
        "no list",
    ),
    *rows(
        "datumaro",
        "warning",
        {
            **{f"polygon {kind}": (item(type="polygon", points=flat(p)), SHAPE) for kind, p in BAD_POINTS.items()},
            "box of three numbers": (item(type="bbox", bbox=[1, 2, 3]), SHAPE),
            "box of no width": (item(type="bbox", bbox=[1, 2, 0, 3]), SHAPE),
            "ellipse turned inside out": (item(type="ellipse", points=[9, 9, 1, 1]), SHAPE),
            "run lengths that are garbage": (item(type="mask", rle={"counts": "~~~", "size": [48, 64]}), MASK),
            "run lengths of 1e9 x 1e9 pixels": (item(type="mask", rle={"counts": "01", "size": [10**9, 10**9]}), MASK),
            "run lengths without a size": (item(type="mask", rle={"counts": "01"}), MASK),
            "mask without run lengths": (item(type="mask"), MASK),
            "label id that is not listed": (item(type="bbox", bbox=[1, 2, 3, 4], label_id=99), "1 region has no class"),
            "polyline": (item(type="polyline", points=[1, 2, 3, 4]), "(polyline)"),
            "z_order that is a text": (item(type="bbox", bbox=[1, 2, 0, 4], z_order="top"), "z_order"),
            "item that is no object": (edit(ITEMS, lambda data: data["items"].append(7)), "1 entry names no image"),
        },
    ),
    *rows(
        "datumaro",
        "note",
        {
            "tag": (item(type="label"), "(label)"),
            "attribute": (item(type="points", attributes={}, points=[1, 2]) and item(type="caption"), "(caption)"),
        },
    ),
    Row("annotation", "datumaro", "image that is not there", remove("images/train/000.png"), "error", "no such file"),
    Row(
        "annotation",
        "datumaro",
        "size of another image",
        edit(ITEMS, lambda data: data["items"][0]["image"].update(size=[20, 30])),
        "error",
        "the mask is 30x20 but",
    ),
]

# -- Darwin -------------------------------------------------------------------------------------------------------------

V7 = "releases/latest/annotations/train_000.json"


def note(**fields: Any) -> Break:
    """One annotation more, on the first image."""
    return edit(V7, lambda data: data["annotations"].append({"name": "class_1", "slot_names": ["0"], **fields}))


def layer(**fields: Any) -> Break:
    return edit(V7, lambda data: data["annotations"][1]["raster_layer"].update(fields))


def paths(points: Any) -> Any:
    pairs = isinstance(points, list) and all(isinstance(point, list) for point in points)
    return {"paths": [[{"x": x, "y": y} for x, y in points] if pairs else points]}


DARWIN_ROWS = [
    *broken_files("darwin", V7),
    Row("annotation", "darwin", "no annotations", edit(V7, lambda d: d.update(annotations=1)), "refused", "no list"),
    Row("annotation", "darwin", "empty file", put(V7, ""), "warning", "1 file is empty"),
    *rows(
        "darwin",
        "warning",
        {
            **{f"polygon {kind}": (note(polygon=paths(points)), SHAPE) for kind, points in BAD_POINTS.items()},
            "polygon without paths": (note(polygon={}), SHAPE),
            "box of no width": (note(bounding_box={"x": 1, "y": 1, "w": 0, "h": 2}), SHAPE),
            "annotation without a name": (note(name="", bounding_box={"x": 1, "y": 1, "w": 1, "h": 2}), "has no class"),
            "ellipse": (note(ellipse={"center": {"x": 1, "y": 1}}), "(ellipse)"),
            "mask that no layer names": (note(id="x", mask={}), "1 mask is named in no layer"),
            "annotation of a video": (note(frames={"0": {}}), "1 annotation is of a video"),
            "annotation of another slot": (
                note(slot_names=["1"], polygon=paths([])),
                "1 annotation is of another slot",
            ),
        },
    ),
    *rows(
        "darwin",
        "warning",
        {
            "layer of too few pixels": (layer(dense_rle=[0, 5]), MASK),
            "layer of half pairs": (layer(dense_rle=[0, 5, 1]), MASK),
            "layer of negative lengths": (layer(dense_rle=[0, -5, 1, 48 * 64 + 5]), MASK),
            "layer of 1e30": (layer(dense_rle=[0, 10**30]), MASK),
            "layer of texts": (layer(dense_rle="0,1"), MASK),
        },
        changes=True,
    ),
    Row("annotation", "darwin", "tag", note(tag={}), "note", "(tag)"),
]

# -- Labelbox -----------------------------------------------------------------------------------------------------------

LINES = "export.ndjson"


def line(change: Callable[[dict[str, Any]], object]) -> Break:
    """Changes the first line."""

    def breaks(folder: Path) -> None:
        first, *others = (folder / LINES).read_text().splitlines()
        data = json.loads(first)
        change(data)
        (folder / LINES).write_text("\n".join([json.dumps(data), *others]))

    return breaks


def row_object(**fields: Any) -> Break:
    """One object more, on the first image."""
    one = {"name": "class_1", **fields}
    return line(lambda data: data["projects"]["p"]["labels"][0]["annotations"]["objects"].append(one))


LABELBOX_ROWS = [
    *broken_files("labelbox", LINES),
    *rows(
        "labelbox",
        "warning",
        {
            **{f"polygon {kind}": (row_object(polygon=p), SHAPE) for kind, p in BAD_POINTS.items()},
            "box of no width": (row_object(bounding_box={"left": 1, "top": 1, "width": 0, "height": 1}), SHAPE),
            "mask that is an address": (row_object(mask={"url": "https://example.org/m"}), "1 mask is only an address"),
            "object without a name": (
                row_object(name="", bounding_box={"left": 1, "top": 1, "width": 1, "height": 1}),
                "1 region has no class",
            ),
            "line on the image": (row_object(line=[], annotation_kind="ImageLine"), "(ImageLine)"),
            "label of a video": (
                line(lambda data: data["projects"]["p"]["labels"][0]["annotations"].update(frames={})),
                "1 label is of a video",
            ),
            "row without an image": (line(lambda data: data.update(data_row={})), "1 entry names no image"),
        },
    ),
    Row(
        "annotation",
        "labelbox",
        "second label of an image",
        line(
            lambda d: d["projects"]["p"]["labels"].append({"label_details": {"created_at": "1999"}, "annotations": {}})
        ),
        "warning",
        "1 image has several labels",
    ),
    Row(
        "annotation",
        "labelbox",
        "nothing but masks that are addresses",
        put(
            LINES,
            json.dumps(
                {
                    "data_row": {"external_id": "train/000.png"},
                    "media_attributes": {},
                    "projects": {
                        "p": {"labels": [{"annotations": {"objects": [{"name": "a", "mask": {"url": "x"}}]}}]}
                    },
                }
            ),
        ),
        "refused",
        "its masks are only addresses",
    ),
]

# -- ImageScope ---------------------------------------------------------------------------------------------------------

XML = "train/annotations/000.xml"


def region(vertices: str, **attributes: Any) -> Break:
    """One region more, in the first layer."""
    said = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return swap(XML, "<Regions>", f"<Regions><Region{said}><Vertices>{vertices}</Vertices></Region>")


def vertices(*points: tuple[Any, Any]) -> str:
    return "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in points)


TRIANGLE = vertices((1, 1), (9, 1), (9, 9))
IMAGESCOPE_ROWS = [
    *broken_files("imagescope", XML, "not readable as XML"),
    Row("annotation", "imagescope", "empty file", put(XML, ""), "warning", "1 file is empty"),
    Row(
        "annotation", "imagescope", "XML file of something else", put("a.xml", "<a/>"), "note", "1 file holds something"
    ),
    Row(
        "annotation",
        "imagescope",
        "entities that grow without end",
        swap(XML, '<?xml version="1.0"?>', '<!DOCTYPE a [<!ENTITY x "y">]>'),
        "refused",
        "has a DTD",
    ),
    *rows(
        "imagescope",
        "warning",
        {
            "region of two vertices": (region(vertices((1, 1), (2, 2))), SHAPE),
            "region without vertices": (region(""), SHAPE),
            "vertex with NaN": (region(vertices((1, 1), ("NaN", 2), (3, 3))), SHAPE),
            "vertex with 1e300": (region(vertices((1, 1), ("1e300", 2), (3, 3))), SHAPE),
            "vertex with a word": (region(vertices((1, 1), ("x", 2), (3, 3))), SHAPE),
            "vertex without Y": (region('<Vertex X="1"/>' * 3), SHAPE),
            "arrow": (region(TRIANGLE, Type=3), "1 arrow or ruler covers no pixels"),
            "region that takes away, of two vertices": (region(vertices((1, 1), (2, 2)), NegativeROA=1), SHAPE),
        },
    ),
    Row(
        "annotation",
        "imagescope",
        "layer without a name",
        both(swap(XML, ' Name="class_1"', ""), region("", Type=3)),
        "warning",
        "has no class",
        changes=True,
    ),
    Row("annotation", "imagescope", "image that is not there", remove("train/images/000.png"), "error", "no such file"),
]

EXPORT_ROWS = [
    *LABEL_STUDIO_ROWS,
    *SUPERVISELY_ROWS,
    *VIA_ROWS,
    *DATUMARO_ROWS,
    *DARWIN_ROWS,
    *LABELBOX_ROWS,
    *IMAGESCOPE_ROWS,
]
