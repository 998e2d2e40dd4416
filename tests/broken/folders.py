"""Good folders of every form, to be broken: four images of 48 x 64 with three classes, in three splits.

Those of JPEG masks and of boxes have findings of severity warning, all others have none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from broken.tools import TOOLS
from helpers import Pixels, draw_pair, encoded, make_dataset, write
from maskwright.data.convert import CERTIFICATE, convert
from maskwright.data.formats import FORMATS
from maskwright.data.init import init

SIZE = (48, 64)
NAMES = ("background", "class_1", "class_2")


def _folders(folder: Path) -> None:
    make_dataset(folder, images=4, size=SIZE, describe=True)


def _converted(form: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        source = folder.with_name(f"{folder.name}-source")
        _folders(source)
        convert(source, folder, to=form, progress=False)
        (folder / CERTIFICATE).unlink()

    return make


def _common_semantic(folder: Path) -> None:
    make_dataset(folder, images=4, size=SIZE, layout="flat")
    (folder / "dataset_meta.json").write_text(json.dumps({"label_map": {str(i): name for i, name in enumerate(NAMES)}}))
    init(folder)


def _plain(folder: Path) -> None:
    """Images and masks side by side, with lists of splits."""
    rng = np.random.default_rng(0)
    lists: dict[str, str] = {"train": "", "val": "", "test": ""}
    for number, split in enumerate(("train", "train", "test", "val")):
        image, mask = draw_pair(rng, SIZE)
        write(folder / f"photos/{number:03d}_rgb.png", image)
        write(folder / f"photos/{number:03d}_ids.png", mask)
        lists[split] += f"{number:03d}_rgb.png\n"
    (folder / "lists").mkdir()
    for split, text in lists.items():
        (folder / f"lists/{split}.txt").write_text(text)
    init(folder)


def _voc_boxes(folder: Path) -> None:
    """Pascal VOC without masks: what counts are the XML files."""
    rng = np.random.default_rng(0)
    (folder / "Annotations").mkdir(parents=True)
    for number in range(4):
        write(folder / "JPEGImages" / f"{number:03d}.png", draw_pair(rng, SIZE)[0])
        objects = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{left}</xmin><ymin>5</ymin><xmax>{left + 14}</xmax>"
            f"<ymax>{30 + number}</ymax></bndbox></object>"
            for name, left in (("class_1", 4 + number), ("class_2", 30 + number))
        )
        (folder / "Annotations" / f"{number:03d}.xml").write_text(
            f"<annotation><filename>{number:03d}.png</filename><size><width>64</width><height>48</height><depth>3</depth>"
            f"</size>{objects}</annotation>"
        )
    init(folder)


def pairs(folder: Path) -> Iterator[tuple[str, str, Path, Pixels]]:
    """Writes the images of four pairs as `{split}/{number}.png`: split, number, path and mask of each."""
    rng = np.random.default_rng(0)
    for number, split in enumerate(("train", "train", "val", "test")):
        image, mask = draw_pair(rng, SIZE)
        yield split, f"{number:03d}", write(folder / split / f"{number:03d}.png", image), mask


def _kaggle_rle(folder: Path) -> None:
    rows = ["ImageId,ClassId,EncodedPixels"]
    for _, number, _, mask in pairs(folder):
        for value in (1, 2):
            flat = np.concatenate([[0], (mask == value).T.reshape(-1), [0]])
            runs = np.flatnonzero(flat[1:] != flat[:-1]) + 1
            runs[1::2] -= runs[::2]
            rows.append(f"{number}.png,{value}," + " ".join(map(str, runs)))
    (folder / "masks.csv").write_text("\n".join(rows) + "\n")
    init(folder)


def _coco_panoptic(folder: Path) -> None:
    files: dict[str, dict[str, list[dict[str, object]]]] = {}
    for split, number, path, mask in pairs(folder):
        ids = np.array([70_000, 300, 5], np.int64)
        segments = [{"id": int(id_), "category_id": value} for value, id_ in enumerate(ids)]
        rgb = np.stack([ids[mask] >> shift & 255 for shift in (0, 8, 16)], 2).astype(np.uint8)
        write(folder / "annotations" / f"panoptic_{split}" / f"{number}.png", rgb)
        data = files.setdefault(split, {"images": [], "annotations": []})
        data["images"].append({"id": number, "file_name": path.name, "height": SIZE[0], "width": SIZE[1]})
        data["annotations"].append({"image_id": number, "file_name": f"{number}.png", "segments_info": segments})
    for split, found in files.items():
        found["categories"] = [{"id": value, "name": name} for value, name in enumerate(NAMES)]
        (folder / "annotations" / f"panoptic_{split}.json").write_text(json.dumps(found))
    init(folder)


def _cvat_video(folder: Path) -> None:
    """Without splits: a video has none."""
    boxes = ""
    for frame, (_, _, path, _) in enumerate(pairs(folder)):
        (folder / "images").mkdir(exist_ok=True)
        path.rename(folder / "images" / f"frame_{frame:06d}.png")
        corners = f"{5 + frame},4;30,4;30,20;{5 + frame},20"
        boxes += f'<polygon frame="{frame}" outside="0" occluded="0" keyframe="1" points="{corners}" z_order="0"/>'
    for split in ("train", "val", "test"):
        (folder / split).rmdir()
    labels = "".join(f"<label><name>{name}</name></label>" for name in NAMES[1:])
    (folder / "annotations.xml").write_text(
        f"<annotations><version>1.1</version><meta><task><size>4</size><labels>{labels}</labels><original_size><width>64"
        "</width><height>48</height></original_size></task></meta>"
        f'<track id="0" label="class_1">{boxes}</track><track id="1" label="class_2">'
        + "".join(
            f'<polygon frame="{frame}" outside="0" keyframe="1" points="40,{9 + frame};60,{9 + frame};60,40" z_order="0"/>'
            for frame in range(4)
        )
        + "</track></annotations>"
    )
    init(folder)


def _labelme_xml(folder: Path) -> None:
    """An outline and a mask file an image."""
    for split, number, path, mask in pairs(folder):
        image = folder / "Images" / split / path.name
        image.parent.mkdir(parents=True, exist_ok=True)
        path.rename(image)
        write(folder / "Masks" / split / f"{number}_mask_1.png", np.where(mask == 2, 255, 0).astype(np.uint8))
        points = "".join(
            f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in ((3, 4), (30, 4), (30, 20), (3, 20 + int(number)))
        )
        (folder / "Annotations" / split).mkdir(parents=True, exist_ok=True)
        (folder / "Annotations" / split / f"{number}.xml").write_text(
            f"<annotation><filename>{path.name}</filename><folder>{split}</folder><imagesize><nrows>48</nrows><ncols>64"
            "</ncols></imagesize><object><name>class_1</name><deleted>0</deleted><polygon><username/>"
            f"{points}</polygon></object><object><name>class_2</name><deleted>0</deleted><segm><mask>{number}_mask_1.png"
            "</mask></segm></object></annotation>"
        )
    for split in ("train", "val", "test"):
        (folder / split).rmdir()
    init(folder)


def _hf_parquet(folder: Path) -> None:
    """Without `dataset.yaml`: only `convert` reads it."""
    import pyarrow
    from pyarrow import parquet

    rows: dict[str, list[dict[str, list[object]]]] = {}
    for split, _, path, mask in pairs(folder):
        cells = {"image": path.read_bytes(), "label": encoded(mask, "PNG")}
        rows.setdefault(split, []).append({name: {"bytes": content, "path": None} for name, content in cells.items()})
        path.unlink()
    (folder / "data").mkdir()
    for split, found in rows.items():
        (folder / split).rmdir()
        parquet.write_table(pyarrow.Table.from_pylist(found), folder / "data" / f"{split}-00000-of-00001.parquet")


# Forms that need a library beyond those of the core, with its name.
NEEDS = {"hf_parquet": "pyarrow"}
# How each form is made; names are those of `FORMATS`, but for folders of splits and for VOC without masks.
GOOD: dict[str, Callable[[Path], None]] = {
    "folders": _folders,
    **{form: _converted(form) for form in FORMATS if FORMATS[form].write},
    "common_semantic": _common_semantic,
    "voc boxes": _voc_boxes,
    **TOOLS,
    "kaggle_rle": _kaggle_rle,
    "coco_panoptic": _coco_panoptic,
    "cvat_video": _cvat_video,
    "labelme_xml": _labelme_xml,
    "hf_parquet": _hf_parquet,
    "plain": _plain,
}
