"""The datasets and commands that `tools/same_numbers.py record` runs: small, seeded, made by the code below.

Only the command line is used, and what a user writes by hand (a dataset.yaml, a run.yaml, a study.yaml). So modules
may move and names inside the package may change, and this file still runs; where an option or a key of these files is
renamed, this file follows in the same commit.

Everything happens below one folder with relative paths, on one thread, and nothing is chosen by a measurement: lengths
are iterations, and precision, layout in memory and threads are fixed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
HEIGHT, WIDTH = 48, 64
IGNORE = 255
# The classes of all datasets by id: ground, disc, box, stripes.
COLOURS = np.array([(70, 90, 70), (200, 60, 50), (50, 80, 210), (225, 205, 90)], np.uint8)
COUNTS = {"train": 16, "val": 6, "test": 8}

TREE = """\
layout: split_folders
images: {folder: images}
masks: {folder: masks}
splits: {train: train, val: val, test: test}
classes:
  - {id: 0, name: ground}
  - name: thing
    children:
      - {id: 1, name: disc}
      - name: edged
        children: [{id: 2, name: box}, {id: 3, name: stripes}]
ignore: 255
"""

# What all trainings have in common; a network and a loss come on top.
BASE = """\
seed: 1
data: {root: %s, image_size: [48, 64]}
train: {iterations: 12, batch_size: 4, evaluate_every: 4, precision: float32, channels_last: true, threads: 1,
        workers: 0}
"""
UNET = "model: {name: UNet, args: {channels: [6, 8], bottleneck: 8, depth: 1}}\n"
UNET2 = "model: {name: UNet2, args: {channels: [4, 6], bottleneck: 6, depth: 1}}\n"
SEGNET = "model: {name: SegNet, args: {encoder_channels: [6, 8], decoder_channels: [6, 6], depth: 1}}\n"
AUGMENT = """\
augment:
  - {name: HorizontalFlip}
  - {name: Affine, p: 1.0}
  - {name: ElasticTransform, p: 0.3}
  - {name: PhotoMetricDistortion}
  - {name: RandomGamma}
  - {name: GaussNoise}
  - {name: CoarseDropout}
border: ignore
"""
RUNS = {
    "dice": BASE % "shapes" + UNET + "loss: [ce, dice]\noptimizer: {name: adamw, lr: 0.02}\n",
    "focal": BASE % "shapes" + UNET2 + "loss: [{name: focal, gamma: 1.5}, jaccard]\n"
    "optimizer: {name: sgd, lr: 0.05}\nschedule: {name: cosine, warmup: 3}\n",
    "lovasz": BASE % "shapes" + SEGNET + "loss: [ce, {name: lovasz, weight: 0.5}]\n"
    "optimizer: {name: adam, lr: 0.02}\nschedule: {name: one_cycle}\n",
    "boundary": BASE % "shapes" + UNET + "loss: [{name: ce, label_smoothing: 0.1}, {name: boundary, weight: 0.1}]\n"
    "optimizer: {name: adamw, lr: 0.02}\nschedule: {name: step}\n",
    "tversky": BASE % "shapes"
    + SEGNET
    + AUGMENT
    + "loss: [{name: tversky, class_weights: median_frequency}, {name: total_variation, weight: 0.1}]\n"
    "optimizer: {name: adamw, lr: 0.02}\nflip_average: true\n",
    "bce": (BASE % "shapes").replace("workers: 0", "workers: 0, ema: 0.8, early_stopping: 5")
    + UNET2
    + "loss: [{name: bce, class_weights: inverse_frequency}, correlation]\noptimizer: {name: adamw, lr: 0.02}\n",
    "tree": BASE % "tree" + UNET + "loss: [{name: ce, levels: equal}, {name: dice, levels: [0.2, 0.3, 1]}]\n"
    "optimizer: {name: adamw, lr: 0.02}\nselector: top_down\n",
    "stopped": (BASE % "shapes").replace("iterations: 12", "iterations: 60")
    + UNET
    + AUGMENT
    + "loss: [ce]\noptimizer: {name: adamw, lr: 0.02}\n",
}
STUDY = """\
base: study-base.yaml
matrix:
  model:
    unet: {name: UNet, args: {channels: [4, 6], bottleneck: 6, depth: 1}}
    segnet: {name: SegNet, args: {encoder_channels: [4, 6], decoder_channels: [4, 4], depth: 1}}
  loss:
    ce: ce
    ce-dice: [ce, dice]
evaluate: [val, test]
"""
# A training of `suspects` and `decide`, whose length would be a wall time otherwise.
SHORT = [
    "--weights",
    "none",
    "--set",
    "model.name=UNet",
    "--set",
    "model.encoder=null",
    "--set",
    "model.args={channels: [4, 6], bottleneck: 6, depth: 1}",
    "--set",
    "data.image_size=[48, 64]",
    "--set",
    "train.budget=null",
    "--set",
    "train.iterations=12",
    "--set",
    "train.batch_size=4",
    "--set",
    "train.precision=float32",
    "--set",
    "train.channels_last=true",
    "--set",
    "train.threads=1",
    "--set",
    "train.workers=0",
]
FORMATS = (
    "index",
    "palette",
    "colour",
    "jpeg",
    "cvat_masks",
    "voc",
    "coco",
    "cvat_images",
    "labelme",
    "yolo_seg",
    "yolo",
)


@dataclass(frozen=True)
class Command:
    """What is given to the command line; `name` is that of the files which keep its output. With `stop` it is
    interrupted as soon as a log below the folder `stop` has two lines."""

    name: str
    arguments: tuple[str, ...]
    stop: str | None = None


def commands() -> list[Command]:
    """All commands in their order."""
    found: list[Command] = []

    def add(name: str, *arguments: str, stop: str | None = None) -> None:
        found.append(Command(name, arguments, stop))

    for folder in ("shapes", "faulty", "boxes"):
        add(f"init-{folder}", "init", folder, "--json")
    add("audit-shapes", "audit", "shapes", "--out", "audit-shapes")
    add("audit-shapes-json", "audit", "shapes", "--json")
    add("audit-tree", "audit", "tree", "--out", "audit-tree", "--json")
    add("audit-faulty", "audit", "faulty", "--out", "audit-faulty", "--overlays", "4")
    add("audit-faulty-fix", "audit", "faulty", "--fix", "--json")
    add("edits-faulty", "edits", "faulty")
    add("edits-faulty-undo", "edits", "faulty", "--undo")

    for name in FORMATS:
        add(f"convert-{name}", "convert", "shapes", f"formats/{name}", "--to", name)
        add(f"back-{name}", "convert", f"formats/{name}", f"back/{name}", "--to", "index", "--json")
    add("convert-zip", "convert", "tree", "formats/tree.zip", "--to", "cvat_masks", "--json")
    add(
        "convert-light",
        "convert",
        "shapes",
        "formats/light",
        "--to",
        "coco",
        "--polygons",
        "--tolerance",
        "1",
        "--no-images",
    )
    add(
        "convert-boxes",
        "convert",
        "boxes",
        "back/boxes",
        "--to",
        "palette",
        "--overlap",
        "larger_on_top",
        "--shrink",
        "0.1",
        "--outside",
        "ignore",
        "--json",
    )

    add(
        "plan",
        "plan",
        "shapes",
        "-o",
        "planned.yaml",
        "--budget",
        "90s",
        "--model",
        "UNet",
        "--weights",
        "none",
        "--set",
        "train.precision=float32",
        "--set",
        "train.channels_last=true",
        "--set",
        "train.threads=1",
    )
    for name in RUNS:
        if name != "stopped":
            add(f"train-{name}", "train", f"{name}.yaml", "--out", f"runs/{name}")
    add("preview", "train", "tversky.yaml", "--preview", "4", "--out", "preview")
    add("train-stopped", "train", "stopped.yaml", "--out", "runs/stopped", stop="runs/stopped")
    add("resume-stopped", "resume", "runs/stopped")
    for name in ("dice", "focal", "lovasz", "boundary", "bce", "stopped"):
        add(f"evaluate-{name}", "evaluate", f"runs/{name}")
    add("evaluate-tversky", "evaluate", "runs/tversky", "--boundary", "--calibration")
    add("evaluate-tversky-train", "evaluate", "runs/tversky", "--split", "train", "--json")
    add("evaluate-tree", "evaluate", "runs/tree", "--boundary", "--calibration", "--json")
    add("evaluate-tree-levels", "evaluate", "runs/tree", "--selector", "levels")
    add("evaluate-val", "evaluate", "runs/dice", "--split", "val", "--tolerance", "2")
    some = [f"runs/{name}" for name in ("dice", "focal", "lovasz", "boundary", "tversky", "bce")]
    add("compare", "compare", *some)
    add("compare-json", "compare", *some, "--score", "mDice", "--select", "val", "--json")
    add("explain-dice", "explain", "runs/dice")
    add("explain-tree", "explain", "runs/tree", "--by", "disc", "--top", "2", "--json")
    add("plot", "plot", *some, "--out", "plots/runs", "--quantity", "loss", "--quantity", "mIoU", "--png")
    add("plot-log", "plot", "runs/dice", "other-tool", "--by", "best", "--from", "25%", "--out", "plots/both", "--json")
    add("report-dice", "report", "runs/dice")
    add("report-tree", "report", "runs/tree")
    add("report-several", "report", *some, "--out", "several.html")
    add("predict", "predict", "runs/dice", "shapes/images/test", "--out", "predicted/dice")
    add("predict-tree", "predict", "runs/tree", "tree/images/val", "--out", "predicted/tree", "--levels", "--json")
    add("evaluate-masks", "evaluate", "predicted/dice/masks", "--data", "shapes", "--split", "test")

    add("study", "study", "study.yaml", "--out", "studies/matrix")
    add("study-status", "study", "status", "studies/matrix")
    add("compare-study", "compare", "studies/matrix")
    add("report-study", "report", "studies/matrix", "--out", "study.html")

    add("suspects", "suspects", "shapes", "--out", "suspects", "--folds", "2", "--other", "hurried", *SHORT)
    add(
        "suspects-self-test",
        "suspects",
        "shapes",
        "--out",
        "suspects-tested",
        "--folds",
        "2",
        "--self-test",
        "--json",
        *SHORT,
    )
    add("suspects-apply", "suspects", "shapes", "--out", "suspects", "--apply", "--min-confidence", "0.5")
    add("decide", "decide", "shapes", "--suspects", "suspects", "--repeats", "1", "--out", "decided", *SHORT)
    add("edits-shapes", "edits", "shapes", "--json")
    add("edits-shapes-undo", "edits", "shapes", "--undo")

    add("split-dry", "split", "shapes", "--dry-run", "--json", "--trusted", "6")
    add(
        "split",
        "split",
        "shapes",
        "--fractions",
        "0.6,0.2,0.2",
        "--seed",
        "3",
        "--group",
        "^([a-z]+_0[0-9])",
        "--out",
        "lists",
    )
    add("edits-split", "edits", "shapes")
    add("audit-split", "audit", "shapes", "--json")
    return found


def prepare(folder: Path) -> None:
    """Writes the datasets and configs that the commands speak of."""
    _write_pairs(folder / "shapes", 0)
    _spoil(folder / "shapes")
    _write_pairs(folder / "tree", 1)
    (folder / "tree" / "dataset.yaml").write_text(TREE)
    _write_pairs(folder / "hurried", 0)
    _each_mask(folder / "hurried", _hurried)
    _write_pairs(folder / "faulty", 2)
    _break(folder / "faulty")
    _write_boxes(folder / "boxes")
    for name, text in RUNS.items():
        (folder / f"{name}.yaml").write_text(text)
    (folder / "study-base.yaml").write_text(BASE % "shapes" + "optimizer: {name: adamw, lr: 0.02}\n")
    (folder / "study.yaml").write_text(STUDY)
    rows = ["epoch,train/seg_loss,val/seg_loss,metrics/mAP50(M)"]
    rows += [f"{epoch},{2 / epoch:.5f},{2.5 / epoch:.5f},{1 - 1 / epoch:.5f}" for epoch in range(1, 9)]
    (folder / "other-tool").mkdir()
    (folder / "other-tool" / "results.csv").write_text("\n".join(rows) + "\n")


def _draw(rng: np.random.Generator, number: int) -> tuple[Pixels, Pixels]:
    """An image (H, W, 3) of a disc, a box and a striped bar on a textured ground, and its mask (H, W); not every image
    has every class."""
    rows, columns = np.indices((HEIGHT, WIDTH))
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    if number % 4 != 3:
        row, column = rng.integers(12, HEIGHT - 12), rng.integers(12, WIDTH - 12)
        mask[(rows - row) ** 2 + (columns - column) ** 2 < rng.integers(6, 11) ** 2] = 1
    if number % 5 != 4:
        top, left = rng.integers(2, HEIGHT - 20), rng.integers(2, WIDTH - 24)
        mask[top : top + rng.integers(8, 16), left : left + rng.integers(8, 20)] = 2
    if number % 3 != 2:
        left = rng.integers(2, WIDTH - 10)
        mask[4 : HEIGHT - 4, left : left + rng.integers(4, 8)] = 3
    image = COLOURS[mask].astype(np.int64) + rng.integers(-18, 19, (HEIGHT, WIDTH, 3))
    image += np.where((mask == 3) & (rows // 3 % 2 == 0), -60, 0)[..., None]
    image += (8 * ((rows + 2 * columns) // 7 % 2))[..., None]
    return np.clip(image, 0, 255).astype(np.uint8), mask


def _write_pairs(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for split, count in COUNTS.items():
        for kind in ("images", "masks"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            image, mask = _draw(rng, number)
            if number % 6 == 5:
                mask[:8, :10] = IGNORE
            Image.fromarray(image).save(folder / "images" / split / f"{split}_{number:02d}.png")
            Image.fromarray(mask).save(folder / "masks" / split / f"{split}_{number:02d}.png")


def _each_mask(folder: Path, change: Callable[[Pixels], Pixels]) -> None:
    for file in sorted((folder / "masks").rglob("*.png")):
        Image.fromarray(change(_read(file))).save(file)


def _read(file: Path) -> Pixels:
    with Image.open(file) as image:
        return np.asarray(image).copy()


def _hurried(mask: Pixels) -> Pixels:
    """Drawn on a grid of 4 pixels."""
    return np.repeat(np.repeat(mask[::4, ::4], 4, axis=0), 4, axis=1)


def _spoil(folder: Path) -> None:
    """Wrong masks in train (moved, erased, another class) and a training image in test."""
    masks = folder / "masks" / "train"
    for number, change in (
        (2, lambda mask: np.roll(mask, 9, axis=1)),
        (6, lambda mask: np.where(mask == 2, 0, mask)),
        (10, lambda mask: np.where(mask == 1, 2, mask)),
    ):
        file = masks / f"train_{number:02d}.png"
        Image.fromarray(change(_read(file)).astype(np.uint8)).save(file)
    for kind in ("images", "masks"):
        (folder / kind / "test" / "test_07.png").write_bytes((folder / kind / "train" / "train_03.png").read_bytes())


def _break(folder: Path) -> None:
    """What an audit finds: a cut file, a mask of another size, an unknown id, copies, an empty and a missing mask."""
    images, masks = folder / "images" / "train", folder / "masks" / "train"
    cut = images / "train_01.png"
    cut.write_bytes(cut.read_bytes()[:200])
    Image.fromarray(np.ones((20, 30), np.uint8)).save(masks / "train_02.png")
    mask = _read(masks / "train_04.png")
    mask[20:24, 20:24] = 77
    Image.fromarray(mask).save(masks / "train_04.png")
    (images / "train_08.png").write_bytes((images / "train_07.png").read_bytes())
    (masks / "train_08.png").write_bytes((masks / "train_07.png").read_bytes())
    (images.parent / "val" / "val_00.png").write_bytes((images / "train_09.png").read_bytes())
    Image.fromarray(np.full((HEIGHT, WIDTH), IGNORE, np.uint8)).save(masks / "train_11.png")
    (masks / "train_12.png").unlink()
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)).save(images / "train_13.png")
    dots = _read(masks / "train_14.png")
    dots[1:45:11, 1:60:13] = 1
    Image.fromarray(dots).save(masks / "train_14.png")


def _write_boxes(folder: Path) -> None:
    """The same kind of images with boxes only, as COCO."""
    rng = np.random.default_rng(3)
    document: dict[str, list[dict[str, Any]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": number, "name": name} for number, name in enumerate(("disc", "box", "stripes"), start=1)],
    }
    (folder / "images").mkdir(parents=True)
    for number in range(6):
        image, mask = _draw(rng, number)
        name = f"boxed_{number}.png"
        Image.fromarray(image).save(folder / "images" / name)
        document["images"].append({"id": number + 1, "file_name": name, "width": WIDTH, "height": HEIGHT})
        for class_id in range(1, 4):
            rows, columns = np.nonzero(mask == class_id)
            if rows.size:
                left, top = int(columns.min()), int(rows.min())
                box = [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top]
                document["annotations"].append(
                    {
                        "id": len(document["annotations"]) + 1,
                        "image_id": number + 1,
                        "category_id": class_id,
                        "bbox": box,
                        "area": box[2] * box[3],
                        "iscrowd": 0,
                    }
                )
    (folder / "annotations.json").write_text(json.dumps(document, indent=1))
