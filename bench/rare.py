"""What helps classes with few pixels: a generated set of 12 classes, the smallest with about 0.3 % of the pixels, is
trained on as `plan` says, and in other ways; the IoU of each class on the validation images.

python bench/rare.py [--data DIR] [--out DIR] [--ways plan,plain,...] [--seeds 0] [--budget 300 | --iterations 150]
                     [--threads 1] [--images 92] [--weights none] [--json]

With --budget (seconds) the time is what is equal, as for a user; with --iterations the steps are, and other programs
may run. `plan` is the plan as it is, with whole images; `windows` trains on windows of them at their own size;
`plain` is the plan without what it has for rare classes; the others add one thing or several to `plain`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from maskwright import plan
from maskwright.config import RunConfig
from maskwright.demonstration.sweeps import noise
from maskwright.run import Run
from maskwright.training.train import train_or_resume

CLASSES = (
    *("sky", "building", "road", "pavement", "tree", "grass"),
    *("car", "person", "pole", "wire", "sign", "lamp"),
)
HEIGHT, WIDTH = 360, 480
VALIDATION = TEST = 30
Image = npt.NDArray[np.uint8]
Point = tuple[int, int]


class Scene:
    """A picture (360, 480, 3) uint8 and its mask, painted over from far to near."""

    def __init__(self, seed: int, index: int) -> None:
        self.rng = np.random.default_rng((seed, index))
        self.image = np.zeros((HEIGHT, WIDTH, 3), np.float32)
        self.mask = np.zeros((HEIGHT, WIDTH), np.uint8)

    def paint(self, name: str, where: Image, colour: tuple[float, ...], rough: float, grain: float) -> None:
        """Fills `where` (H, W), 0 or 255, with a colour (0..255) in a texture of `grain` pixels."""
        tone = rough * noise(self.rng, (HEIGHT, WIDTH), grain, 3)[..., None] if rough else np.float32(0)
        tint = self.rng.normal(0, 8, 3)
        inside = where > 0
        # Soft edges, as a camera makes them.
        share = cv2.GaussianBlur(where, (0, 0), 0.7)[..., None].astype(np.float32) / 255
        painted = np.asarray(colour, np.float32) + tint.astype(np.float32) + tone
        self.image = self.image * (1 - share) + painted * share
        self.mask[inside] = CLASSES.index(name)

    def shape(self, draw: Callable[[Image], object]) -> Image:
        """A stencil (H, W) on which `draw` paints 255."""
        stencil = np.zeros((HEIGHT, WIDTH), np.uint8)
        draw(stencil)
        return stencil

    def box(self, left: float, top: float, right: float, bottom: float) -> Image:
        """A filled rectangle."""
        corners = (round(left), round(top)), (round(right) - 1, round(bottom) - 1)
        return self.shape(lambda s: cv2.rectangle(s, *corners, 255, -1))

    def disc(self, x: float, y: float, radius: float) -> Image:
        """A filled circle."""
        return self.shape(lambda s: cv2.circle(s, (round(x), round(y)), round(radius), 255, -1))


def scene(seed: int, index: int) -> tuple[Image, Image]:
    """Image (360, 480, 3) RGB and mask (360, 480), a function of the arguments alone."""
    s = Scene(seed, index)
    rng = s.rng
    horizon = int(rng.uniform(150, 200))
    light = rng.uniform(0.75, 1.2)
    s.paint("sky", s.box(0, 0, WIDTH, horizon), (150, 180, 215), 14, 90)
    s.paint("grass", s.box(0, horizon, WIDTH, HEIGHT), (96, 120, 66), 22, 5)
    middle, near = rng.uniform(180, 300), rng.uniform(120, 180)
    for name, wide, colour in (("pavement", 1.45, (150, 145, 138)), ("road", 1.0, (98, 98, 102))):
        corners = np.array(
            [
                *([middle - 12 * wide, horizon], [middle + 12 * wide, horizon]),
                *([middle + near * wide, HEIGHT], [middle - near * wide, HEIGHT]),
            ]
        ).astype(np.int32)
        s.paint(name, s.shape(lambda m, corners=corners: cv2.fillPoly(m, [corners], 255)), colour, 9, 3)
    left = 0.0
    while left < WIDTH:
        wide = rng.uniform(50, 130)
        if rng.random() < 0.75:
            top = horizon - rng.uniform(50, 140)
            s.paint("building", s.box(left, top, left + wide, horizon + 4), tuple(rng.uniform(90, 190, 3)), 12, 14)
            for y in range(int(top) + 10, horizon - 12, 22):  # windows are of the building
                for x in range(int(left) + 8, int(left + wide) - 12, 20):
                    cv2.rectangle(s.image, (x, y), (x + 9, y + 12), (58, 64, 74), -1)
        left += wide + rng.uniform(0, 40)
    for _ in range(rng.integers(1, 4)):
        x, y, size = rng.uniform(0, WIDTH), horizon - rng.uniform(10, 50), rng.uniform(20, 48)
        crown = s.shape(
            lambda m, x=x, y=y, size=size: [
                cv2.circle(m, (int(x + dx * size), int(y + dy * size)), int(size * 0.6), 255, -1)
                for dx, dy in rng.uniform(-0.6, 0.6, (7, 2))
            ]
        )
        s.paint("tree", crown, (58, 92, 48), 28, 6)
    for _ in range(rng.integers(0, 3)):
        y = rng.uniform(horizon + 25, HEIGHT - 20)
        size = 8 + (y - horizon) * 0.28
        x = middle + rng.uniform(-0.7, 0.7) * near * (y - horizon) / (HEIGHT - horizon)
        colour = tuple(rng.uniform(30, 210, 3))
        body = s.box(x - size, y - size * 0.8, x + size, y) | s.box(x - size * 0.7, y - size * 1.3, x + size * 0.7, y)
        s.paint("car", body, colour, 6, 20)
    for _ in range(rng.integers(0, 3)):  # clothes of any colour
        x, y = rng.uniform(10, WIDTH - 10), rng.uniform(horizon + 15, HEIGHT - 5)
        tall = 26 + (y - horizon) * 0.3
        body = s.box(x - tall * 0.13, y - tall * 0.8, x + tall * 0.13, y) | s.disc(x, y - tall * 0.9, tall * 0.1)
        s.paint("person", body, tuple(rng.uniform(20, 200, 3)), 5, 4)
    if rng.random() < 0.8:
        y = rng.uniform(20, horizon - 60)
        for k in range(int(rng.integers(1, 3))):
            ends = (0, int(y + 16 * k + rng.normal(0, 12))), (WIDTH, int(y + 16 * k + rng.normal(0, 12)))
            s.paint("wire", s.shape(lambda m, ends=ends: cv2.line(m, *ends, 255, 2)), (46, 46, 50), 0, 1)
    for _ in range(rng.integers(0, 4)):
        x, foot = rng.uniform(20, WIDTH - 20), horizon + rng.uniform(15, 90)
        top = foot - rng.uniform(110, 170)
        s.paint("pole", s.box(x - 2, top, x + 2, foot), (112, 114, 118), 5, 6)
        if rng.random() < 0.5:
            shade = ((190, 40, 44), (36, 72, 170))[int(rng.integers(2))]
            s.paint("sign", s.disc(x, top + 12, rng.uniform(11, 17)), shade, 0, 1)
            cv2.circle(s.image, (round(x), round(top + 12)), 5, (235, 235, 235), -1)
        elif rng.random() < 0.9:
            s.paint("lamp", s.box(x - 36, top - 6, x + 6, top + 10), (214, 208, 170), 0, 1)
    grain = rng.normal(0, 5, s.image.shape)
    return np.clip(s.image * light + grain, 0, 255).astype(np.uint8), s.mask


def write(folder: Path, train: int, seed: int = 0) -> Path:
    """The set, as a folder of splits; as it is where it is there already."""
    if not (folder / "classes.txt").is_file():
        index = 0
        for split, images in (("train", train), ("val", VALIDATION), ("test", TEST)):
            for kind in ("img", "labels"):
                (folder / kind / split).mkdir(parents=True, exist_ok=True)
            for number in range(images):
                image, mask = scene(seed, index)
                cv2.imwrite(str(folder / f"img/{split}/{number:03d}.jpg"), image[..., ::-1])
                cv2.imwrite(str(folder / f"labels/{split}/{number:03d}.png"), mask)
                index += 1
        (folder / "classes.txt").write_text("\n".join(CLASSES) + "\n", "utf-8")
    return folder


# --- ways ------------------------------------------------------------------------------------------------

Data = dict[str, Any]


def plain(data: Data) -> Data:
    """Without anything for rare classes."""
    data["data"]["repeat_rare"] = None
    data["augment"] = [term for term in data["augment"] if term["name"] != "ClassCrop"]
    for term in data["loss"]:
        term["class_weights"] = "none"
    return data


def windows(data: Data) -> Data:
    """Windows of the images at their own size in place of whole ones."""
    data["data"] |= {"crop": {}, "keep_ratio": False}
    return data


def weighted(kind: str) -> Callable[[Data], Data]:
    """Class weights of a kind in the cross entropy."""

    def change(data: Data) -> Data:
        data["loss"][0]["class_weights"] = kind
        return data

    return change


def repeated(below: float) -> Callable[[Data], Data]:
    """Images with classes that few images have, more often."""

    def change(data: Data) -> Data:
        data["data"]["repeat_rare"] = below
        return data

    return change


def cropped(p: float) -> Callable[[Data], Data]:
    """Crops around a random class."""

    def change(data: Data) -> Data:
        data["augment"].insert(0, {"name": "ClassCrop", "p": p, "scale": [0.5, 1.0]})
        return data

    return change


def enlarged(factor: float) -> Callable[[Data], Data]:
    """A larger image_size: so many times the height and width."""

    def change(data: Data) -> Data:
        data["data"]["image_size"] = [round(side * factor / 32) * 32 for side in data["data"]["image_size"]]
        return data

    return change


WAYS: dict[str, list[Callable[[Data], Data]]] = {
    "plan": [],
    "windows": [windows],
    "plain": [plain],
    "root": [plain, weighted("inverse_root")],
    "median": [plain, weighted("median_frequency")],
    "inverse": [plain, weighted("inverse_frequency")],
    "repeat": [plain, repeated(0.5)],
    "crop": [plain, cropped(0.5)],
    "root+crop": [plain, weighted("inverse_root"), cropped(0.5)],
    "root+repeat": [plain, weighted("inverse_root"), repeated(0.5)],
    "root+repeat+crop": [plain, weighted("inverse_root"), repeated(0.5), cropped(0.5)],
    "large": [plain, enlarged(1.5)],
    "root+large": [plain, weighted("inverse_root"), enlarged(1.5)],
}


def config(data: Path, way: str, seed: int, given: argparse.Namespace) -> RunConfig:
    """The plan for the set, changed as the way says."""
    planned = plan(data, weights=given.weights).config.to_dict()
    for change in WAYS[way]:
        planned = change(planned)
    planned["seed"] = seed
    planned["train"] |= (
        {"budget": None, "iterations": given.iterations, "evaluate_every": max(1, given.iterations // 4)}
        if given.iterations
        else {"budget": f"{given.budget}s"}
    )
    planned["train"] |= {"threads": given.threads, "precision": "float32"} if given.threads else {}
    return RunConfig.model_validate(planned)


def ious(run: Run) -> list[float]:
    """Of each class, in the evaluation that has chosen the checkpoint."""
    best = [row for row in run.metrics.read() if row.get("best")][-1]
    return [float("nan") if value is None else value for value in best["val_iou"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--ways", default="plain,plan")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--budget", type=int, default=300)
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--images", type=int, default=92)
    parser.add_argument("--weights", default="none")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        data = write(given.data or Path(temporary) / "data", given.images)
        out = given.out or Path(temporary) / "runs"
        masks = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in sorted(data.glob("labels/train/*.png"))]
        counts = np.array([np.bincount(mask.reshape(-1), minlength=len(CLASSES)) for mask in masks])
        rows: dict[str, list[float]] = {
            "pixels %": list(100 * counts.sum(0) / counts.sum()),
            "images %": list(100 * (counts > 0).mean(0)),
        }
        if not given.json:
            print(f"{'':<24}" + "".join(f"{name[:8]:>9}" for name in (*CLASSES, "mean")))
            for name, row in rows.items():
                print(f"{name:<24}" + "".join(f"{value:>9.2f}" for value in row))
        for seed in map(int, given.seeds.split(",")):
            for way in given.ways.split(","):
                run = train_or_resume(config(data, way, seed, given), out=out / f"{way}-{seed}")
                row = rows[f"{way}, seed {seed}"] = ious(run)
                if not given.json:
                    shown = "".join(f"{value:>9.3f}" for value in (*row, float(np.nanmean(row))))
                    print(f"{f'{way}, seed {seed}':<24}{shown}", flush=True)
        if given.json:
            print(json.dumps({"classes": CLASSES, "rows": rows}))


if __name__ == "__main__":
    main()
