"""The usual names of folders: of images, of masks, and of splits, in lower case."""

from __future__ import annotations

IMAGE_FOLDERS = ("img", "images", "image", "imgs", "img_dir", "jpegimages", "photos")
MASK_FOLDERS = ("labels", "label", "masks", "mask", "ann_dir", "annotations", "ann", "gt", "segmentationclass")
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
