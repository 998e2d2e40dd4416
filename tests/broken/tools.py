"""Good folders as annotation tools export them, with the same pictures and much the same regions in each."""

from __future__ import annotations

import base64
import io
import itertools
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from helpers import draw_pair, write
from maskwright.core.polygons import outlines
from maskwright.core.rle import encode_counts, pack_counts
from maskwright.data.init import init

SIZE = (48, 64)
NAMES = ("background", "class_1", "class_2")
SPLITS = ("train", "train", "val", "test")
Points = list[list[float]]


def scenes() -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """(split, name without ending, image, mask) of four pictures."""
    rng = np.random.default_rng(0)
    for number, split in enumerate(SPLITS):
        image, mask = draw_pair(rng, SIZE)
        yield split, f"{number:03d}", image, mask


def rings(mask: np.ndarray) -> Iterator[tuple[str, Points]]:
    """The classes and outer rings of what is drawn."""
    for value in (1, 2):
        for part in outlines(mask == value):
            yield NAMES[value], part[0].tolist()


def put(folder: Path, name: str, data: Any) -> None:
    """Writes JSON, or text as it is."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(data if isinstance(data, str) else json.dumps(data), "utf-8")


def packed_bits(values: np.ndarray) -> list[int]:
    """Label Studio's run lengths of bytes (N,): runs of up to 65536, with sizes of 3, 4, 8 and 16 bits."""
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    ends = np.flatnonzero(np.diff(values)) + 1
    for start, end in zip([0, *ends], [*ends, len(values)], strict=True):
        for first in range(start, end, 1 << 16):
            length = min(end - first, 1 << 16)
            place, size = next((p, s) for p, s in enumerate((3, 4, 8, 16)) if length <= 1 << s)
            bits += f"1{place:02b}{length - 1:0{size}b}{values[start]:08b}"
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def label_studio(folder: Path) -> None:
    """A brush, and polygons in per cent."""
    tasks = []
    for number, (split, name, image, mask) in enumerate(scenes()):
        write(folder / f"images/{split}/{name}.png", image)
        results = []
        for label, points in rings(mask):
            value: dict[str, Any] = {"polygonlabels": [label], "closed": True}
            value["points"] = [[x / SIZE[1] * 100, y / SIZE[0] * 100] for x, y in points]
            results.append({"type": "polygonlabels", "value": value})
        if number % 2:
            alpha = np.repeat((mask == 1).reshape(-1), 4).astype(np.uint8) * 255
            value = {"format": "rle", "rle": packed_bits(alpha), "brushlabels": ["class_1"]}
            results.append({"type": "brushlabels", "value": value})
        shared = {"original_width": SIZE[1], "original_height": SIZE[0], "image_rotation": 0, "to_name": "image"}
        tasks.append(
            {
                "id": number + 1,
                "annotations": [
                    {
                        "id": number + 11,
                        "result": [one | shared | {"id": f"r{i}"} for i, one in enumerate(results)],
                        "was_cancelled": False,
                        "created_at": "2025-01-01T00:00:00Z",
                    }
                ],
                "predictions": [],
                "data": {"image": f"/data/local-files/?d=images/{split}/{name}.png"},
            }
        )
    put(folder, "project.json", tasks)


def label_studio_brush(folder: Path) -> None:
    """The brush PNG export with the JSON file that names the images."""
    tasks = []
    for number, (split, name, image, mask) in enumerate(scenes(), 1):
        write(folder / f"images/{split}/{name}.png", image)
        tasks.append(
            {
                "id": number,
                "annotations": [{"id": number + 10, "completed_by": 1}],
                "data": {"image": f"{split}/{name}.png"},
            }
        )
        for value in (1, 2):
            file = f"task-{number}-annotation-{number + 10}-by-1-tag-{NAMES[value]}-0.png"
            write(folder / "masks" / file, (mask == value).astype(np.uint8) * 255)
    put(folder, "project.json", tasks)


def supervisely(folder: Path) -> None:
    """A bitmap of the first class, polygons of the second."""
    for split, name, image, mask in scenes():
        write(folder / f"{split}/img/{name}.png", image)
        stream = io.BytesIO()
        Image.fromarray(mask == 1).save(stream, "PNG")
        objects: list[dict[str, Any]] = [
            {
                "classTitle": "class_1",
                "geometryType": "bitmap",
                "bitmap": {"data": base64.b64encode(zlib.compress(stream.getvalue())).decode(), "origin": [0, 0]},
                "tags": [],
            }
        ]
        objects += [
            {
                "classTitle": "class_2",
                "geometryType": "polygon",
                "points": {"exterior": points[:, 0].tolist(), "interior": []},
                "tags": [],
            }
            for points in cv2.findContours((mask == 2).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
        ]
        put(
            folder,
            f"{split}/ann/{name}.png.json",
            {"size": {"height": 48, "width": 64}, "tags": [], "objects": objects},
        )
    classes = [
        {"title": name, "shape": "any", "color": colour}
        for name, colour in zip(NAMES[1:], ("#D0021B", "#4A90E2"), strict=True)
    ]
    put(folder, "meta.json", {"classes": classes, "tags": []})


def via(folder: Path) -> None:
    """A file in each folder of images."""
    files: dict[str, dict[str, Any]] = {}
    for split, name, image, mask in scenes():
        path = write(folder / f"{split}/{name}.png", image)
        size = path.stat().st_size
        regions = [
            {
                "shape_attributes": {
                    "name": "polygon",
                    "all_points_x": [x for x, _ in points],
                    "all_points_y": [y for _, y in points],
                },
                "region_attributes": {"class": label},
            }
            for label, points in rings(mask)
        ]
        files.setdefault(split, {})[f"{name}.png{size}"] = {
            "filename": f"{name}.png",
            "size": size,
            "regions": regions,
            "file_attributes": {},
        }
    for split, data in files.items():
        put(folder, f"{split}/via_region_data.json", data)


def datumaro(folder: Path) -> None:
    """Masks of the first class, polygons of the second."""
    items: dict[str, list[dict[str, Any]]] = {}
    for split, name, image, mask in scenes():
        write(folder / f"images/{split}/{name}.png", image)
        annotations: list[dict[str, Any]] = [
            {
                "id": 0,
                "type": "mask",
                "label_id": 0,
                "z_order": 0,
                "attributes": {},
                "rle": {"counts": pack_counts(encode_counts(mask == 1)), "size": [*SIZE]},
            }
        ]
        annotations += [
            {
                "id": 1,
                "type": "polygon",
                "label_id": 1,
                "z_order": 1,
                "attributes": {},
                "points": np.ravel(points).tolist(),
            }
            for label, points in rings(mask)
            if label == "class_2"
        ]
        items.setdefault(split, []).append(
            {"id": name, "annotations": annotations, "image": {"path": f"{name}.png", "size": [*SIZE]}}
        )
    labels = [{"name": name, "parent": "", "attributes": []} for name in NAMES[1:]]
    for split, listed in items.items():
        data = {"info": {}, "categories": {"label": {"labels": labels, "attributes": []}}, "items": listed}
        put(folder, f"annotations/{split}.json", data)


def darwin(folder: Path) -> None:
    """A layer of masks for the first class, polygons of the second."""
    for split, name, image, mask in scenes():
        write(folder / f"images/{split}/{name}.png", image)
        flat = (mask == 1).reshape(-1).astype(int)
        ends = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), flat.size]
        dense = [int(n) for start, end in itertools.pairwise(ends) for n in (flat[start], end - start)]
        annotations: list[dict[str, Any]] = [
            {"id": "m", "name": "class_1", "mask": {}, "slot_names": ["0"]},
            {
                "id": "l",
                "name": "__raster_layer__",
                "slot_names": ["0"],
                "raster_layer": {
                    "dense_rle": dense,
                    "mask_annotation_ids_mapping": {"m": 1},
                    "total_pixels": flat.size,
                },
            },
        ]
        annotations += [
            {
                "id": "p",
                "name": label,
                "slot_names": ["0"],
                "polygon": {"paths": [[{"x": x, "y": y} for x, y in points]]},
                "bounding_box": {"x": 0, "y": 0, "w": 1, "h": 1},
            }
            for label, points in rings(mask)
            if label == "class_2"
        ]
        slot = {"type": "image", "slot_name": "0", "width": SIZE[1], "height": SIZE[0], "source_files": []}
        item = {"name": f"{name}.png", "path": f"/{split}", "slots": [slot]}
        put(
            folder,
            f"releases/latest/annotations/{split}_{name}.json",
            {"version": "2.0", "item": item, "annotations": annotations},
        )


def labelbox(folder: Path) -> None:
    """Polygons, one image a line."""
    lines = []
    for split, name, image, mask in scenes():
        write(folder / f"images/{split}/{name}.png", image)
        objects = [
            {"name": label, "annotation_kind": "ImagePolygon", "polygon": [{"x": x, "y": y} for x, y in points]}
            for label, points in rings(mask)
        ]
        label = {"label_details": {"created_at": "2025"}, "annotations": {"objects": objects, "classifications": []}}
        row = {
            "data_row": {
                "id": name,
                "external_id": f"{split}/{name}.png",
                "row_data": f"https://example.org/{name}.png",
            },
            "media_attributes": {"height": SIZE[0], "width": SIZE[1]},
            "projects": {"p": {"name": "x", "labels": [label]}},
        }
        lines.append(json.dumps(row))
    put(folder, "export.ndjson", "\n".join(lines) + "\n")


def imagescope(folder: Path) -> None:
    """A layer a class."""
    for split, name, image, mask in scenes():
        write(folder / f"{split}/images/{name}.png", image)
        layers = ""
        for number, label in enumerate(NAMES[1:], 1):
            regions = "".join(
                '<Region Type="0" NegativeROA="0"><Vertices>'
                + "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in points)
                + "</Vertices></Region>"
                for name_, points in rings(mask)
                if name_ == label
            )
            layers += f'<Annotation Id="{number}" Name="{label}"><Regions>{regions}</Regions></Annotation>'
        put(
            folder,
            f"{split}/annotations/{name}.xml",
            f'<?xml version="1.0"?><Annotations MicronsPerPixel="0.25">{layers}</Annotations>',
        )


def described(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """With `dataset.yaml`."""

    def made(folder: Path) -> None:
        make(folder)
        init(folder)

    return made


TOOLS: dict[str, Callable[[Path], None]] = {
    "label_studio": described(label_studio),
    "label_studio_brush": described(label_studio_brush),
    "supervisely": described(supervisely),
    "via": described(via),
    "datumaro": described(datumaro),
    "darwin": described(darwin),
    "labelbox": described(labelbox),
    "imagescope": described(imagescope),
}
