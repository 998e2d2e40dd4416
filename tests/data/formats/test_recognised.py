"""Formats that are recognised and not read: each row by a file of its kind, and what is not to be taken for one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from helpers import make_dataset, write
from maskwright.data.formats import FORMATS
from maskwright.data.formats.recognised import RECOGNISED, recognised
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError

# The name of a file and its content, by the first words of the row that it is.
FILES: dict[str, tuple[str, bytes | str]] = {
    "a table of Label Studio": (
        "export.csv",
        'image,id,label,annotator\na.png,1,"[{""original_width"": 5, ""polygonlabels"": [""a""]}]",1\n',
    ),
    "an old export of Labelbox": ("export.csv", '"ID","DataRow ID","Labeled Data","Label"\n'),
    "a table of run lengths": ("train.csv", "ImageId,ClassId,EncodedPixels\na.png,1,5 6\n"),
    "a table of masks of Open Images": ("masks.csv", "MaskPath,ImageID,LabelName,BoxID\n"),
    "a table of boxes": ("labels/boxes.csv", "filename,class,xmin,ymin,xmax,ymax\n"),
    "COCO panoptic": ("panoptic.json", json.dumps({"annotations": [{"segments_info": []}]})),
    "a single result of Label Studio": ("1", ""),
    "SuperAnnotate's JSON": ("a.json", '{"metadata": {}, "instances": [{"className": "a"}]}'),
    "Hasty's JSON": ("a.json", '{"export_format_version": "1.1", "label_classes": []}'),
    "Encord's JSON": ("a.json", '[{"label_hash": "x", "data_units": {}}]'),
    "Kili's JSON": ("a.json", '[{"jsonResponse": {}}]'),
    "ISAT's JSON": ("a.json", '{"info": {"description": "ISAT"}, "objects": [{"layer": 1}]}'),
    "a release of Segments.ai": ("r.json", '{"dataset": {"samples": [{"labels": {"segmentation_bitmap": 1}}]}}'),
    "VoTT's JSON": ("a.json", '{"asset": {}, "regions": [{"tags": ["a"]}]}'),
    "polygons as Cityscapes has them": ("a_polygons.json", '{"imgHeight": 5, "objects": [{"polygon": []}]}'),
    "Scalabel's JSON": ("bdd.json", '[{"name": "a", "labels": [{"poly2d": []}]}]'),
    "GeoJSON": ("a.geojson", '{"type": "FeatureCollection", "features": [{"geometry": {}}]}'),
    "masks of Segment Anything": ("a.json", '{"annotations": [{"predicted_iou": 1, "stability_score": 1}]}'),
    "a manifest of SageMaker": ("output.manifest", '{"source-ref": "s3://a.png", "x-ref": "s3://b.png"}'),
    "a backup of a CVAT task": ("annotations.json", '[{"shapes": [{"frame": 0}], "tracks": []}]'),
    "CVAT for video": ("annotations.xml", '<annotations><track id="0"></track></annotations>'),
    "ASAP's XML": ("a.xml", "<ASAP_Annotations></ASAP_Annotations>"),
    "imglab's XML": ("a.xml", "<dataset><images><image><box top='1'/></image></images></dataset>"),
    "annotations of NDP.view": ("a.ndpa", "<annotations><ndpviewstate/></annotations>"),
    "an HDF5 file": ("a.h5", b"\x89HDF\r\n\x1a\n"),
    "a Parquet file": ("data/a.parquet", b"PAR1"),
    "a DICOM file": ("a.dcm", bytes(128) + b"DICM"),
    "a NIfTI volume": ("a.nii.gz", b"x"),
    "an NRRD volume": ("a.nrrd", b"NRRD0004\n"),
    "a TFRecord": ("a.tfrecord", b"x"),
    "a store of arrays": ("a.npz", b"x"),
    "a tar archive": ("a.tar.gz", b"x"),
    "a zip archive": ("a.zip", b"PK\x03\x04"),
    "a whole-slide image": ("a.svs", b"x"),
    "regions of ImageJ": ("a.roi", b"Iout"),
    "a shapefile": ("a.shp", b"x"),
}
FILES["a single result of Label Studio"] = ("7.json", '{"id": 7, "result": [{"original_width": 5}], "task": {}}')


def put(folder: Path, name: str, content: bytes | str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("words", FILES)
def test_each_row_is_found_by_its_content(words: str, tmp_path: Path) -> None:
    name, content = FILES[words]
    put(tmp_path, name, content)
    line = recognised(tmp_path)
    assert line is not None and line.startswith(f"{tmp_path}: {name} is {words}") and line.isprintable()
    assert re.search(r", which is not read; \w|, but not quite as expected; read it with `format` \w+, or \w", line)


def test_every_row_has_a_file() -> None:
    assert len(FILES) == len(RECOGNISED)
    assert all(any(row.name.startswith(words) for words in FILES) for row in RECOGNISED)
    assert all(FORMATS[row.format].read for row in RECOGNISED if row.format)


@pytest.mark.parametrize("words", FILES)
def test_beside_images_only_annotations_count(words: str, tmp_path: Path) -> None:
    name, content = FILES[words]
    put(tmp_path, name, content)
    write(tmp_path / "images/a.png", np.zeros((5, 5, 3), np.uint8))
    row = next(row for row in RECOGNISED if row.name.startswith(words))
    assert bool(recognised(tmp_path)) is row.tells_annotations
    if not row.tells_annotations:
        assert [sample.labelled for sample in load_dataset(tmp_path).samples] == [False]


def test_it_is_said_instead_of_inventing_a_dataset(tmp_path: Path) -> None:
    put(tmp_path, *FILES["a table of Label Studio"])
    write(tmp_path / "a.png", np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(DataError, match=r"export.csv is a table of Label Studio, which is not read; export"):
        load_dataset(tmp_path)


def test_nothing_is_said_of_other_files_and_of_what_is_read(tmp_path: Path) -> None:
    for name, content in {
        "readme.txt": "hello",
        "a.json": '{"a": 1}',
        "b.xml": "<a/>",
        "c.csv": "image,mask\n",
    }.items():
        put(tmp_path, name, content)
    assert recognised(tmp_path) is None
    make_dataset(tmp_path / "good", images=2, describe=True)
    assert recognised(tmp_path / "good") is None
    put(tmp_path / "good", *FILES["a table of boxes"])
    assert len(load_dataset(tmp_path / "good")) == 2


def test_broken_and_odd_files_do_no_harm(tmp_path: Path) -> None:
    for name, content in {"a.json": b"\xff" * 9000, "b.csv": b"", "c.xml": b"<" * 9000}.items():
        put(tmp_path, name, content)
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere")
    assert recognised(tmp_path) is None and recognised(tmp_path / "nowhere") is None
    for name in ("label_studio", "supervisely", "via", "datumaro", "darwin", "labelbox", "imagescope"):
        detect = FORMATS[name].detect
        assert detect is not None and detect(tmp_path) is None and detect(tmp_path / "nowhere") is None
