"""CVAT's tracks, held against CVAT's own rule of interpolation (`TrackManager.simple_interpolation`), written out here."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.formats.roundtrip import named
from helpers import write
from maskwright.core.dataset import Dataset
from maskwright.core.polygons import box_ring, ellipse_ring, rasterise
from maskwright.data.formats.cvat_video import detect, read
from maskwright.data.init import init
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError

SIZE = (40, 60)
LABELS = "<labels><label><name>cat</name><color>#ff0000</color></label><label><name>dog</name></label></labels>"


def shape(frame: object, tag: str = "box", **attributes: object) -> str:
    values: dict[str, object] = {"frame": frame, "outside": 0, "occluded": 0, "keyframe": 1, "z_order": 0}
    return f"<{tag} " + " ".join(f'{key}="{value}"' for key, value in (values | attributes).items()) + "/>"


def box(frame: object, left: float, top: float, right: float, bottom: float, **more: object) -> str:
    return shape(frame, xtl=left, ytl=top, xbr=right, ybr=bottom, **more)


def polygon(frame: int, *points: float, **more: object) -> str:
    pairs = ";".join(f"{x},{y}" for x, y in zip(points[::2], points[1::2], strict=True))
    return shape(frame, "polygon", points=pairs, **more)


def track(*shapes: str, label: str = "cat", **more: object) -> str:
    extra = "".join(f' {key}="{value}"' for key, value in more.items())
    return f'<track id="0" label="{label}" source="manual"{extra}>{"".join(shapes)}</track>'


def document(*tracks: str, frames: int | None = 10, meta: str = "") -> str:
    size = f"<size>{frames}</size><mode>interpolation</mode><start_frame>0</start_frame>" if frames else ""
    return (
        f'<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta><task>{size}{meta}{LABELS}'
        f"<original_size><width>{SIZE[1]}</width><height>{SIZE[0]}</height></original_size><source>clip.mp4</source></task>"
        f"</meta>{''.join(tracks)}</annotations>"
    )


def make(folder: Path, text: str, names: Iterable[str] | None = None, file: str = "annotations.xml") -> Path:
    for name in names if names is not None else (f"images/frame_{number:06d}.png" for number in range(10)):
        write(folder / name, np.zeros((*SIZE, 3), np.uint8))
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(text)
    return folder


def masks(dataset: Dataset) -> list[np.ndarray]:
    return [named(dataset.read(sample)[1], dataset.classes) for sample in dataset.samples]


# -- CVAT's rule ------------------------------------------------------------------------------------------------------


def find_angle_diff(right: float, left: float) -> float:
    return (right - left + 180) % 360 - 180


def interpolated(places: list[dict[str, Any]], end: int) -> Iterator[dict[str, Any]]:
    """As `TrackManager.get_interpolated_shapes` does it for rectangles and ellipses: `points`, `rotation`, `frame`,
    `outside` of each shape that is shown before the frame `end`."""
    previous = None
    for place in [*places, None]:
        current = place
        if previous is not None and not previous["outside"]:
            if current is None:
                current = copy.deepcopy(previous) | {"frame": end}
            distance = current["frame"] - previous["frame"]
            difference = np.subtract(current["points"], previous["points"])
            for frame in range(previous["frame"] + 1, current["frame"]):
                offset = (frame - previous["frame"]) / distance
                turn = find_angle_diff(current["rotation"], previous["rotation"]) * offset
                yield previous | {
                    "frame": frame,
                    "points": (previous["points"] + difference * offset).tolist(),
                    "rotation": (previous["rotation"] + turn + 360) % 360,
                }
        if place is not None and not place["outside"]:
            yield place
        previous = place


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("tag", ["box", "ellipse", "polygon"])
def test_shapes_between_keyframes_are_those_of_cvat(tmp_path: Path, tag: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    keys = sorted(rng.choice(10, 4, replace=False).tolist())
    places = []
    for number, frame in enumerate(keys):
        x, y, wide, high = rng.uniform(12, 30), rng.uniform(12, 20), rng.uniform(6, 12), rng.uniform(4, 9)
        points = {
            "box": [x, y, x + wide, y + high],
            "ellipse": [x, y, wide, high],
            "polygon": rng.uniform(3, 37, 10).tolist(),
        }[tag]
        turn = float(rng.choice([0, 10, 350, 180])) if tag != "polygon" else 0.0
        places.append({"frame": frame, "points": points, "rotation": turn, "outside": number == 2 and bool(seed % 2)})
    elements = []
    for place in places:
        more = {"outside": int(place["outside"]), "rotation": place["rotation"]}
        if tag == "box":
            elements.append(box(place["frame"], *place["points"], **more))
        elif tag == "ellipse":
            elements.append(
                shape(
                    place["frame"],
                    "ellipse",
                    **dict(zip(("cx", "cy", "rx", "ry"), place["points"], strict=True)),
                    **more,
                )
            )
        else:
            elements.append(polygon(place["frame"], *place["points"], outside=more["outside"]))
    wanted = np.zeros((10, *SIZE), bool)
    for place in interpolated(places, 10):
        ring = {
            "box": lambda p: box_ring(*p["points"], p["rotation"]),
            "ellipse": lambda p: ellipse_ring(*p["points"], p["rotation"]),
            "polygon": lambda p: np.reshape(p["points"], (-1, 2)),
        }[tag](place)
        wanted[place["frame"]] |= rasterise([ring], *SIZE)
    found = masks(load_dataset(make(tmp_path, document(track(*elements)))))
    assert all(((mask == "cat") == truth).all() for mask, truth in zip(found, wanted, strict=True))


def test_what_cvat_writes_is_taken_as_it_is(tmp_path: Path) -> None:
    """All frames are there, and the last one says that the object has left."""
    shapes = [box(frame, frame, 2, frame + 5, 8, keyframe=int(frame in (0, 4))) for frame in range(5)]
    text = document(
        track(*shapes, box(5, 4, 2, 9, 8, outside=1)),
        track(*(polygon(f, 30, 5, 40, 5, 40, 9) for f in range(10)), label="dog"),
    )
    assert detect(make(tmp_path, text)) == "CVAT's tracks of a video in annotations.xml"
    dataset = load_dataset(tmp_path)
    assert dataset.notes == () and dataset.classes.names == ["background", "cat", "dog"] and len(dataset) == 10
    assert dataset.classes.leaves[1].colour == (255, 0, 0)
    for frame, mask in enumerate(masks(dataset)):
        cat = np.zeros(SIZE, bool)
        cat[2:8, frame : frame + 5] = frame < 5
        assert ((mask == "cat") == cat).all() and (mask == "dog").any()
    assert init(tmp_path).dataset.layout == "cvat_video" and load_dataset(tmp_path).version() == dataset.version()


def test_what_is_interpolated_is_said(tmp_path: Path) -> None:
    dataset = load_dataset(make(tmp_path, document(track(box(2, 0, 0, 5, 5), box(6, 8, 0, 13, 5)))))
    assert [(note.code, note.evidence["count"]) for note in dataset.notes] == [("annotation.interpolated", 3)] * 2
    assert [note.message for note in dataset.notes] == [
        "annotations.xml: 3 shapes lie between two that are listed and are interpolated in a straight line",
        "annotations.xml: 3 shapes lie behind the last of their tracks and are as that is",
    ]
    assert [sample.provenance for sample in dataset.samples] == ["hand"] * 2 + ["box"] * 8


def test_frames_between_polygons_of_other_numbers_of_points_are_not_labelled(tmp_path: Path) -> None:
    text = document(
        track(polygon(1, 0, 0, 9, 0, 9, 9), polygon(4, 0, 0, 9, 0, 9, 9, 0, 9), box(9, 0, 0, 1, 1, outside=1))
    )
    dataset = load_dataset(make(tmp_path, text))
    assert [sample.labelled for sample in dataset.samples] == [
        True,
        True,
        False,
        False,
        True,
        False,
        False,
        False,
        False,
        True,
    ]
    assert [note.message for note in dataset.notes] == [
        "annotations.xml: 6 frames lie between masks, or polygons of different numbers of points; not labelled"
    ]


def test_masks_stay_where_they_are_listed(tmp_path: Path) -> None:
    rle = {"rle": "0, 4", "left": 3, "top": 2, "width": 2, "height": 2}
    text = document(track(shape(0, "mask", **rle), shape(1, "mask", **rle), shape(2, "mask", outside=1, **rle)))
    dataset = load_dataset(make(tmp_path, text))
    assert [int((mask == "cat").sum()) for mask in masks(dataset)] == [4, 4, *[0] * 8] and not dataset.notes


def test_orders(tmp_path: Path) -> None:
    text = document(
        track(*(box(f, 0, 0, 9, 9, z_order=1) for f in range(10)), label="dog"),
        track(*(polygon(f, 0, 0, 9, 0, 9, 9, 0, 9) for f in range(10))),
    )
    assert {mask[3, 3] for mask in masks(load_dataset(make(tmp_path, text)))} == {"dog"}


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([f"images/frame_{n:06d}.PNG" for n in range(10)], None),
        ([f"{n}.png" for n in range(10)], None),
        ([f"images/clip7_{n}.png" for n in range(10)], None),
        ([f"images/frame_{n:04d}.png" for n in range(1, 11)], "10 image files are taken for the frames in order"),
        ([f"images/{n}.png" for n in "abcdefghij"], "10 image files are taken for the frames in order"),
        ([f"images/frame_{n}.png" for n in range(0, 50, 5)], "10 image files are taken for the frames in order"),
        ([f"images/frame_{n}.png" for n in range(1, 8)], "3 frames with shapes have no image file (0, 8, 9)"),
        ([f"images/frame_{n}.png" for n in range(12)], "2 image files have numbers that are no frame of the task"),
    ],
)
def test_frames_are_found_by_number_or_order(tmp_path: Path, names: list[str], says: str | None) -> None:
    shapes = [box(frame, frame, 2, frame + 5, 8) for frame in range(10)]
    dataset = load_dataset(make(tmp_path, document(track(*shapes)), names))
    assert any(says in note.message for note in dataset.notes) if says else not dataset.notes, dataset.notes
    files = sorted(
        (sample.image for sample in dataset.samples),
        key=lambda path: names.index(path.relative_to(tmp_path).as_posix()),
    )
    first = 1 if len(files) == 7 else 0
    by_file = {sample.image: mask for sample, mask in zip(dataset.samples, masks_or_none(dataset), strict=True)}
    for number, file in enumerate(files):
        if number < 10:
            assert np.flatnonzero((by_file[file] == "cat").any(0))[0] == number + first
        else:
            assert by_file[file] is None


def masks_or_none(dataset: Dataset) -> list[np.ndarray | None]:
    return [named(dataset.read(s)[1], dataset.classes) if s.labelled else None for s in dataset.samples]


def test_a_step_between_frames(tmp_path: Path) -> None:
    text = document(
        track(box(10, 0, 0, 4, 4), box(20, 10, 0, 14, 4)), frames=3, meta="<frame_filter>step=5</frame_filter>"
    )
    text = text.replace("<start_frame>0<", "<start_frame>10<")
    dataset = load_dataset(make(tmp_path, text, [f"images/frame_{n:06d}.png" for n in (10, 15, 20)]))
    assert [np.flatnonzero((mask == "cat").any(0))[0] for mask in masks(dataset)] == [0, 5, 10]
    assert [note.code for note in dataset.notes] == ["annotation.interpolated"]


@pytest.mark.parametrize("names", [[], [f"images/{n}.png" for n in "abc"], ["images/a1.png", "images/b1.png"]])
def test_frames_that_cannot_be_told(tmp_path: Path, names: list[str]) -> None:
    make(tmp_path, document(track(box(0, 0, 0, 4, 4))), names)
    with pytest.raises(
        DataError, match=r"image files? whose names do not tell .* save those of clip\.mp4 there"
    ) as error:
        read(tmp_path, None, None)
    assert str(tmp_path) in str(error.value)


def test_two_videos_in_folders_and_several_tasks_in_one_file(tmp_path: Path) -> None:
    for name, left in (("one", 0), ("two", 20)):
        make(tmp_path / name, document(track(*(box(f, left, 0, left + 4, 4) for f in range(10)))))
    dataset = load_dataset(tmp_path, "cvat_video")
    assert (
        len(dataset) == 20
        and dataset.samples[0].name == "one/frame_000000"
        and dataset.samples[-1].name == "two/frame_000009"
    )
    text = document(track(box(0, 0, 0, 1, 1), task_id=1), track(box(0, 0, 0, 1, 1), task_id=2))
    make(tmp_path / "three", text)
    with pytest.raises(DataError, match="holds the tracks of several tasks"):
        load_dataset(tmp_path, "cvat_video")


def test_a_subset_is_a_split(tmp_path: Path) -> None:
    dataset = load_dataset(
        make(tmp_path, document(track(*(box(f, 0, 0, 4, 4) for f in range(10)), subset="Validation")))
    )
    assert {sample.split for sample in dataset.samples} == {"val"} and dataset.samples[0].name == "val/frame_000000"


def test_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    whole = [box(f, 1, 1, 4, 4) for f in range(10)]
    text = document(
        track(
            *whole,
            box(0, "nan", 1, 2, 2),
            box("x", 1, 1, 2, 2),
            box(3, 1, 1, 2, 2, z_order="x"),
            shape(9, "points", points="1,2"),
        ),
        track(polygon(0, 0, 0, 1, 1), box(1, 0, 0, 1, 1, outside=1)),
        track(box(0, 0, 0, 1, 1), label=""),
    )
    source = read(make(tmp_path, text), None, None)
    told = {note.code: note.message for note in source.notes}
    assert "1 set of points is left out" in told["annotation.dropped"]
    for part in ("no number of a frame (box): 1", "no label (track): 1"):
        assert part in told["annotation.invalid"], told
    text = document(track(polygon(0, 0, 0, 1, 1), box(1, 0, 0, 1, 1, outside=1)))
    (note,) = read(make(tmp_path, text), None, None).notes
    assert "fewer than 3 points (polygon): 1" in note.message


def test_images_and_tracks_are_told_apart(tmp_path: Path) -> None:
    image = '<image id="0" name="a.png" width="60" height="40"/>'
    make(tmp_path, document().replace("</meta>", "</meta>" + image), ["images/a.png"])
    assert detect(tmp_path) is None and load_dataset(tmp_path, "cvat_images")
    many = "".join(f"<label><name>n{i}</name></label>" for i in range(9000))
    (tmp_path / "annotations.xml").write_text(
        document(track(box(0, 0, 0, 1, 1))).replace("<labels>", f"<labels>{many}")
    )
    assert detect(tmp_path) is not None
    with pytest.raises(DataError, match="give the format `cvat_video`"):
        load_dataset(tmp_path, "cvat_images")
    (tmp_path / "annotations.xml").write_text("<annotations><version>1.1</version></annotations>")
    assert detect(tmp_path) is None
    with pytest.raises(DataError, match="holds no XML file with tracks"):
        load_dataset(tmp_path, "cvat_video")
