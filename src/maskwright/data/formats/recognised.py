"""Annotation formats that are recognised but not read, with the way to export something that is.

A row is told by what stands at the beginning or the end of a file. Kinds of files that are not only for annotations
(archives, arrays, volumes) count only in a folder without image files, where nothing else can be meant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from maskwright.core.image_files import holds_images
from maskwright.data.formats.contents import candidates, ends_of
from maskwright.errors import argument


@dataclass(frozen=True)
class Recognised:
    """A format by what it is called (`name`, to stand behind "is"), the `endings` of its files in lower case, patterns
    that must all be found in both ends of a file (none: the ending tells), and what to do (`fix`). `format` is the
    reader that takes such files where it is named; unasked, it found something in them that it does not expect."""

    name: str
    endings: tuple[str, ...]
    patterns: tuple[bytes, ...]
    fix: str
    format: str | None = None

    @property
    def tells_annotations(self) -> bool:
        """Whether it is more than the kind of a file."""
        return bool(self.patterns) and not self.patterns[0].startswith(b"^")


_COCO = "export it as COCO instead"
_JSON = (".json",)
_TABLE = (".csv", ".tsv", ".txt")
_PNG = "save its images and masks as PNG files in two folders, with the same names"

RECOGNISED: tuple[Recognised, ...] = (
    Recognised(
        "a table of Label Studio",
        _TABLE,
        (b"original_width", b"labels|annotation_id|annotator"),
        "export the project as JSON instead",
    ),
    Recognised(
        "an old export of Labelbox",
        (".csv", ".json"),
        (b"Labeled Data", b"DataRow ID|Label"),
        "export it again as NDJSON, in which polygons and boxes are read",
    ),
    Recognised(
        "a table of run lengths (EncodedPixels)",
        _TABLE,
        (b"(?i)encoded_?pixels|(^|[,;\t])(rle|segmentation)([,;\t\r\n])",),
        "decode it to a PNG mask for each image, in a folder of its own",
        "kaggle_rle",
    ),
    Recognised(
        "a table of masks of Open Images",
        _TABLE,
        (b"MaskPath", b"LabelName"),
        "name image and mask of each row in labels.csv, with the columns image and mask",
    ),
    Recognised(
        "a table of boxes",
        _TABLE,
        (b"(?i)x_?min", b"(?i)y_?min", b"(?i)x_?max|width", b"(?i)y_?max|height"),
        "convert it to COCO or Pascal VOC, whose boxes are read",
    ),
    Recognised(
        "COCO panoptic", _JSON, (b'"segments_info"',), "convert it to COCO instances with panopticapi", "coco_panoptic"
    ),
    Recognised(
        "a single result of Label Studio",
        _JSON,
        (b'"result"', b'"original_width"'),
        "export the project as JSON instead",
    ),
    Recognised("SuperAnnotate's JSON", _JSON, (b'"instances"', b'"className"'), _COCO),
    Recognised("Hasty's JSON", _JSON, (b'"export_format_version"', b'"label_classes"'), _COCO),
    Recognised("Encord's JSON", _JSON, (b'"data_units"', b'"(label_hash|data_hash|ontology_hash)"'), _COCO),
    Recognised("Kili's JSON", _JSON, (b'"jsonResponse"',), _COCO),
    Recognised("ISAT's JSON", _JSON, (b"ISAT", b'"objects"', b'"layer"'), "export it as COCO or Pascal VOC in ISAT"),
    Recognised(
        "a release of Segments.ai",
        _JSON,
        (b'"segmentation_bitmap"',),
        "export semantic PNG masks with its SDK (`export_dataset`)",
    ),
    Recognised("VoTT's JSON", _JSON, (b'"asset"', b'"regions"', b'"tags"'), "export it as Pascal VOC in VoTT"),
    Recognised(
        "polygons as Cityscapes has them",
        _JSON,
        (b'"imgHeight"', b'"polygon"'),
        "take the label images (…_labelIds.png) that come with them, or draw them with cityscapesScripts",
    ),
    Recognised("Scalabel's JSON (BDD100K)", _JSON, (b'"poly2d"|"box2d"',), "convert it with Scalabel's own `to_coco`"),
    Recognised(
        "GeoJSON (QuPath, maps)",
        (".json", ".geojson"),
        (b'"(Feature|FeatureCollection|Polygon|MultiPolygon)"', b'"(geometry|coordinates)"'),
        "export label images as PNG: in QuPath by a script, of maps with rasterize of GDAL",
    ),
    Recognised(
        "masks of Segment Anything, which have no classes",
        _JSON,
        (b'"predicted_iou"', b'"stability_score"'),
        "convert them to COCO with a category for each",
    ),
    Recognised(
        "a manifest of SageMaker Ground Truth",
        (".manifest", ".jsonl", ".json"),
        (b'"source-ref"',),
        "copy the masks that it names into a folder, and name image and mask of each line in labels.csv",
    ),
    Recognised(
        "a backup of a CVAT task",
        _JSON,
        (b'"shapes"', b'"tracks"', b'"frame"'),
        "export it as CVAT for images, COCO or a segmentation mask instead",
    ),
    Recognised(
        "CVAT for video",
        (".xml",),
        (b"<annotations", b"<track[ >]"),
        "export it as CVAT for images instead",
        "cvat_video",
    ),
    Recognised("ASAP's XML", (".xml",), (b"<ASAP_Annotations",), "export masks from ASAP as TIFF or PNG"),
    Recognised(
        "imglab's XML", (".xml",), (b"<dataset", b"<images?>", b"<box "), "convert it to Pascal VOC, or export COCO"
    ),
    Recognised(
        "annotations of NDP.view", (".ndpa",), (b"<annotations", b"ndpviewstate"), "open it in QuPath, and export masks"
    ),
    Recognised("an HDF5 file", (".h5", ".hdf5", ".hdf"), (b"^\x89HDF\r\n",), _PNG),
    Recognised("a Parquet file", (".parquet",), (b"^PAR1",), _PNG),
    Recognised("a DICOM file", (".dcm", ".dicom"), (b"^.{128}DICM",), _PNG),
    Recognised("a NIfTI volume", (".nii", ".nii.gz"), (), "save its slices as PNG images and masks in two folders"),
    Recognised("an NRRD volume", (".nrrd",), (b"^NRRD",), "save its slices as PNG images and masks in two folders"),
    Recognised("a TFRecord", (".tfrecord", ".tfrecords", ".record"), (), _PNG),
    Recognised("a store of arrays", (".npz", ".zarr", ".mdb", ".arrow"), (), _PNG),
    Recognised("a tar archive", (".tar", ".tar.gz", ".tgz"), (), "unpack it here"),
    Recognised("a zip archive", (".zip",), (b"^PK\x03\x04",), "unpack it here, or give the zip file to `convert`"),
    Recognised(
        "a whole-slide image", (".svs", ".ndpi", ".mrxs", ".scn"), (), "save the regions that count as TIFF or PNG"
    ),
    Recognised("regions of ImageJ", (".roi",), (b"^Iout",), "save masks as PNG in ImageJ (Create Mask)"),
    Recognised("a shapefile", (".shp",), (), "draw it with rasterize of GDAL, and save PNG masks"),
)


def recognised(root: Path) -> str | None:
    """One line about the annotation files in `root` that no reader takes; None where there are none."""
    pictures = holds_images(root, 5000)
    endings = tuple({ending for row in RECOGNISED for ending in row.endings})
    files = [(path, path.name.lower(), ends_of(path)) for path in islice(candidates(root, endings), 500)]
    for row in RECOGNISED:
        if pictures and not row.tells_annotations:
            continue
        patterns = [re.compile(pattern, re.DOTALL) for pattern in row.patterns]
        for path, name, ends in files:
            if name.endswith(row.endings) and all(pattern.search(ends) for pattern in patterns):
                said = f"{root}: {path.relative_to(root).as_posix()} is {row.name}"
                if row.format is None:
                    return f"{said}, which is not read; {row.fix}"
                return (
                    f"{said}, but not quite as expected; read it with {argument('format')} {row.format}, or {row.fix}"
                )
    return None
