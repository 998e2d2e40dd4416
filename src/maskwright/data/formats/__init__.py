"""Annotation formats: one module each, one table.

A reader turns a folder into a `AnnotationSet`; `opening` makes a Dataset of it, with classes and splits. A writer takes
samples with their masks one by one; `conversion` feeds it and then proves what was written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from maskwright.core.classes import ClassTree
from maskwright.data.formats import (
    coco,
    coco_panoptic,
    cvat_images,
    cvat_masks,
    cvat_video,
    darwin,
    datumaro,
    folders,
    hf_parquet,
    imagescope,
    kaggle_rle,
    label_studio,
    labelbox,
    labelme,
    labelme_xml,
    semantic,
    supervisely,
    via,
    voc,
    yolo,
)
from maskwright.data.formats.source import AnnotationSet, WriteOptions, Writer


@dataclass(frozen=True)
class Format:
    """A format in one sentence, with what reads and writes it.

    `detect(folder)` gives the reason why a folder is in this format, or None. `read(folder, annotations, images)`
    takes the annotation file or folder, and the folder of images, inside `folder` where the user named them.
    `masks` says that it stores masks as images, so that a folder of its kind is not taken for a plain one.
    """

    meaning: str
    write: Callable[[Path, ClassTree, WriteOptions], Writer] | None = None
    read: Callable[[Path, str | None, str | None], AnnotationSet] | None = None
    detect: Callable[[Path], str | None] | None = None
    masks: bool = False


FORMATS: dict[str, Format] = {
    "index": Format("folders of images and of grey PNG masks whose values are class ids", folders.IndexWriter),
    "palette": Format("as `index`, with the class colours as palette", folders.PaletteWriter),
    "colour": Format("as `index`, with RGB masks in the class colours", folders.ColourWriter),
    "jpeg": Format("as `index`, with grey JPEG masks: lossy", folders.JpegWriter),
    "cvat_masks": Format(
        "CVAT's segmentation mask zip: labelmap.txt, SegmentationClass, SegmentationObject",
        cvat_masks.CvatMasksWriter,
        cvat_masks.read,
        cvat_masks.detect,
        masks=True,
    ),
    "labelme_xml": Format(
        "LabelMe 3.0: one XML file an image, read only", None, labelme_xml.read, labelme_xml.detect, masks=True
    ),
    "voc": Format(
        "Pascal VOC: JPEGImages, SegmentationClass, Annotations, ImageSets",
        voc.VocWriter,
        voc.read,
        voc.detect,
        masks=True,
    ),
    "common_semantic": Format(
        "images, masks and dataset_meta.json, read only", None, semantic.read, semantic.detect, masks=True
    ),
    "coco_panoptic": Format(
        "COCO panoptic: segments in JSON and their PNG files, read only",
        None,
        coco_panoptic.read,
        coco_panoptic.detect,
        masks=True,
    ),
    "coco": Format("COCO instances: polygons, run lengths, crowd", coco.CocoWriter, coco.read, coco.detect),
    "cvat_video": Format("CVAT for video XML: tracks, read only", None, cvat_video.read, cvat_video.detect),
    "cvat_images": Format(
        "CVAT for images XML: masks, polygons, boxes, ellipses",
        cvat_images.CvatImagesWriter,
        cvat_images.read,
        cvat_images.detect,
    ),
    "labelme": Format("LabelMe: one JSON file an image", labelme.LabelMeWriter, labelme.read, labelme.detect),
    "label_studio_brush": Format(
        "Label Studio's brush labels, PNG or NumPy files, with the JSON of the project, read only",
        None,
        label_studio.read,
        label_studio.detect_brush,
        masks=True,
    ),
    "label_studio": Format("Label Studio's JSON, read only", None, label_studio.read, label_studio.detect),
    "supervisely": Format(
        "Supervisely: meta.json, img and ann folders, read only", None, supervisely.read, supervisely.detect, masks=True
    ),
    "via": Format("VGG Image Annotator's JSON or CSV, read only", None, via.read, via.detect),
    "datumaro": Format("Datumaro's JSON, read only", None, datumaro.read, datumaro.detect),
    "darwin": Format("V7's Darwin JSON, read only", None, darwin.read, darwin.detect),
    "labelbox": Format("Labelbox's NDJSON: polygons and boxes, read only", None, labelbox.read, labelbox.detect),
    "imagescope": Format("Aperio ImageScope's XML, read only", None, imagescope.read, imagescope.detect),
    "kaggle_rle": Format("tables of run lengths: a CSV file, read only", None, kaggle_rle.read, kaggle_rle.detect),
    "hf_parquet": Format(
        "parquet files of Hugging Face with the pictures inside: only `convert` reads them",
        None,
        hf_parquet.read,
        hf_parquet.detect,
    ),
    "yolo_seg": Format("YOLO polygons: one text file an image", yolo.PolygonWriter, yolo.read, yolo.detect_polygons),
    "yolo": Format("YOLO boxes: one text file an image; shapes are lost", yolo.BoxWriter, yolo.read, yolo.detect_boxes),
}
