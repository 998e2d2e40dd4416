"""The page of `next`: the images to draw, why, and what the run sees in them."""

from __future__ import annotations

from pathlib import Path

from maskwright.core.dataset import Dataset
from maskwright.core.mask_files import INDEX, read_mask
from maskwright.labels.choosing.results import NextResult
from maskwright.reporting.page import class_rows, write_page
from maskwright.reporting.pictures import labelled_overlay, numbered_boxes, picture, present

_CARDS = 100


def write_next(result: NextResult, dataset: Dataset, folder: Path, page: Path) -> Path:
    """Writes the page of a result whose masks lie in `folder`."""
    cards = []
    for one in result.images[:_CARDS]:
        image = dataset.read_image(dataset[one.sample])
        views = [picture(image, "image", f"{one.sample}: the image")]
        if one.mask is not None and one.region is not None:
            ids = read_mask(folder / "masks" / f"{one.sample}.png", INDEX, dataset.classes).ids
            mask = dataset.classes.to_indices(ids, one.mask)
            pixels = labelled_overlay(image, mask, dataset.classes)
            boxed = numbered_boxes(pixels, [one.region], image.shape[:2])
            views.append(
                picture(boxed, "prediction", f"{one.sample}: the prediction; {present(mask, dataset.classes)}")
            )
        cards.append({"sample": one.sample, "reasons": one.reasons, "views": views})
    content = {"result": result, "classes": class_rows(dataset.classes), "cards": cards}
    return write_page(page, "next.html.j2", content | {"more": len(result.images) - len(cards)})
