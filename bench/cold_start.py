"""From a folder of images without one mask to masks of all of them: ten are scribbled, a model learns them, and what it
proposes for the rest is accepted.

    python bench/cold_start.py --images DIR --truth DIR --work W [--draw 10] [--strokes 8] [--budget 120s]

`--truth` holds NAME.png of class indices for each image NAME. Which images are drawn first is what `next` says. The
person is simulated, through the routes of the review page: strokes go where most is wrong, as in `bench/assist.py`,
until the mean IoU of the objects is .9 or there were as many strokes as allowed; then the mask is taken. `init`,
`split`, `plan`, `train` and `next` are those of the command line. Of the rest each mask of the model is taken as it is.

Minutes of the person are those of the keystroke-level model (Card, Moran and Newell 1980): 0.28 s a key or button,
1.1 s to point or to drag, 1.35 s to look and decide, once an image and once a stroke. mIoU counts all pixels of all
images. JSON goes to stdout.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from assist import largest, mean_iou, stroke
from fastapi.testclient import TestClient
from PIL import Image

from maskwright import load_dataset
from maskwright.base.storage import dump_json, read_json
from maskwright.core.masks import Mask
from maskwright.evaluation.metrics import confusion_matrix, mIoU
from maskwright.labels.choosing.results import FILE, newest_next
from maskwright.reviewing.assisting import NO_STROKE
from maskwright.reviewing.server import Server, build_app

KEY, POINT, THINK = 0.28, 1.1, 1.35
GOOD = 0.9


class Person:
    """Draws and accepts through the routes of the page."""

    def __init__(self, data: Path, truth: dict[str, Mask]) -> None:
        self.truth = truth
        self.open(data)
        self.numbers = {sample.name: number for number, sample in enumerate(self.server.store.now()[0])}
        self.seconds, self.strokes = 0.0, 0

    def open(self, data: Path) -> None:
        """As a new start of the page."""
        self.server = Server(data)
        self.client = TestClient(build_app(self.server))

    def ask(self, name: str, what: str, body: dict[str, Any] | None = None) -> Mask:
        address = f"/api/samples/{self.numbers[name]}/{what}"
        answer = self.client.get(address) if body is None else self.client.post(address, json=body)
        if answer.status_code != 200:
            raise SystemExit(f"{name}: {what}: {answer.text}")
        return np.frombuffer(answer.content, np.uint8).reshape(self.truth[name].shape)

    def save(self, name: str, mask: Mask) -> None:
        number = self.numbers[name]
        revision = self.server.store.revision(self.server.store.sample(number))
        body = {"revision": revision, "status": "keep", "runs": runs(mask)}
        answer = self.client.post(f"/api/samples/{number}/edit", json=body)
        if answer.status_code != 200:
            raise SystemExit(f"{name}: {answer.text}")

    def scribble(self, name: str, most: int) -> None:
        """Strokes until the mask is good, which is then taken."""
        truth = self.truth[name]
        strokes = np.full(truth.shape, NO_STROKE, np.uint8)

        def draw(region: npt.NDArray[np.bool_], index: int) -> None:
            middle, radius = stroke(region)
            disc = cv2.circle(np.zeros(truth.shape, np.uint8), middle, round(radius), 1, -1) > 0
            strokes[disc & (truth == index)] = index
            strokes[middle[1], middle[0]] = index
            self.strokes += 1
            self.seconds += THINK + KEY + POINT + KEY + POINT  # its class, to it, and along it

        for index in np.unique(truth).tolist():
            draw(largest(truth == index), index)
        for _ in range(most):
            found = self.ask(name, "scribble", {"runs": runs(strokes)})
            wrong = found != truth
            if mean_iou(found, truth, 0) >= GOOD or not wrong.any() or len(np.unique(truth)) < 2:
                break
            part = largest(wrong)
            index = int(np.bincount(truth[part]).argmax())
            draw(largest(part & (truth == index)), index)
        self.save(name, found)
        self.seconds += THINK + 2 * KEY  # take it, and the next image

    def accept(self, name: str) -> None:
        """All of the model's mask, as it is."""
        self.save(name, self.ask(name, "prediction"))
        self.seconds += THINK + 2 * KEY


def runs(mask: Mask) -> list[int]:
    """[class, length, class, length, …] along the rows."""
    flat = mask.reshape(-1)
    starts = np.append(0, np.flatnonzero(np.diff(flat)) + 1)
    return np.stack([flat[starts], np.diff(np.append(starts, flat.size))], 1).reshape(-1).tolist()


def call(*words: object) -> None:
    command = [sys.executable, "-m", "maskwright", *map(str, words)]
    print("maskwright", *map(str, words), file=sys.stderr, flush=True)
    if subprocess.run(command, check=False, stdout=sys.stderr).returncode:
        raise SystemExit("stopped")


def chosen(data: Path) -> list[str]:
    """What the newest `next` has chosen."""
    folder = newest_next(data)
    assert folder
    return [row["sample"] for row in read_json(folder / FILE)["images"]]


def score(data: Path, truth: dict[str, Mask], names: list[str], classes: int) -> float:
    dataset = load_dataset(data)
    return float(mIoU(sum(confusion_matrix(truth[name], dataset.read_mask(dataset[name]), classes) for name in names)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("images", "truth", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--draw", type=int, default=10)
    parser.add_argument("--strokes", type=int, default=8)
    parser.add_argument("--budget", default="120s")
    given = parser.parse_args()
    data, config, run = (given.work / name for name in ("data", "run.yaml", "run"))
    shutil.rmtree(given.work, ignore_errors=True)
    shutil.copytree(given.images, data / "images")
    seconds: dict[str, float] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        seconds[name] = seconds.get(name, 0.0) + time.monotonic() - began

    def run_timed(verb: str, *words: object) -> None:
        with timed(verb):
            call(verb, *words)

    run_timed("init", data)
    names = [sample.name for sample in load_dataset(data)]
    truth = {name: np.asarray(Image.open(given.truth / f"{Path(name).name}.png")) for name in names}
    classes = 1 + max(int(mask.max()) for mask in truth.values())
    run_timed("next", data, "-n", given.draw)
    drawn = chosen(data)
    person = Person(data, truth)
    with timed("answers to strokes"):
        for name in drawn:
            person.scribble(name, given.strokes)
    drawing = person.seconds
    run_timed("split", data, "--fractions", "train=0.8,val=0.2")
    run_timed("plan", data, "--budget", given.budget, "-o", config)
    run_timed("train", config, "--out", run)
    rest = [name for name in names if name not in drawn]
    run_timed("next", data, "--run", run, "-n", len(rest))
    person.open(data)
    with timed("saving what is accepted"):
        for name in rest:
            person.accept(name)
    result = {
        "images": len(names),
        "drawn": {
            "images": len(drawn),
            "strokes": person.strokes,
            "mIoU": score(data, truth, drawn, classes),
            "minutes_of_the_person": drawing / 60,
        },
        "accepted": {
            "images": len(rest),
            "mIoU": score(data, truth, rest, classes),
            "minutes_of_the_person": (person.seconds - drawing) / 60,
        },
        "seconds_of_the_machine": seconds,
        "minutes_in_all": (sum(seconds.values()) + person.seconds) / 60,
    }
    print(dump_json(result, indent=2))


if __name__ == "__main__":
    main()
