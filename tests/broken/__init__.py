"""The table of broken inputs: every kind that was tried, and what comes of it. `judge` runs a row."""

from broken.archives import ARCHIVES
from broken.exported import EXPORT_ROWS
from broken.jsons import COCO_ROWS, LABELME_ROWS, SEMANTIC_ROWS
from broken.listings import DESCRIPTIONS, FILES, TABLES
from broken.pixels import IMAGES, MASKS
from broken.plain import PLAIN_ROWS
from broken.readers import KAGGLE_ROWS, LABELME_XML_ROWS, PANOPTIC_ROWS, PARQUET_ROWS, VIDEO_ROWS
from broken.table import Row, joined
from broken.texts import YOLO_ROWS
from broken.xmls import CVAT_MASK_ROWS, CVAT_ROWS, VOC_ROWS

TABLE: tuple[Row, ...] = joined(
    IMAGES,
    MASKS,
    FILES,
    DESCRIPTIONS,
    TABLES,
    COCO_ROWS,
    CVAT_ROWS,
    CVAT_MASK_ROWS,
    VOC_ROWS,
    YOLO_ROWS,
    LABELME_ROWS,
    SEMANTIC_ROWS,
    EXPORT_ROWS,
    KAGGLE_ROWS,
    PANOPTIC_ROWS,
    VIDEO_ROWS,
    LABELME_XML_ROWS,
    ARCHIVES,
    PARQUET_ROWS,
    PLAIN_ROWS,
)
