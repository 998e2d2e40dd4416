"""A simulated person repairs the planted errors of the demonstration's data in the review page, by keyboard alone.

    python bench/repair.py --work W [--images 200] [--planted 15] [--budget 90s] [--first 30] [--seed 0]

The data are drawn and searched by `suspects`, the page is opened in Chromium, and the person goes through the first
samples of the queue. Of each, every proposal is accepted (A), and undone and refused (Z, R) where the mask is further
from the truth than before; what still lies below an IoU of .9 with the truth is marked as needing fixing (F), the rest
kept (G). The same masks drawn by hand, as polygons whose corners lie within a pixel of the true outlines, stand beside
it.

Minutes are those of the keystroke-level model (Card, Moran and Newell 1980): 0.28 s a key or button, 1.35 s to look and
decide once a sample and once a proposal, 1.1 s to point. IoU is that of the animals, the mean of the planted masks.
JSON goes to stdout; W keeps the data, and a second call repairs a fresh copy.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from playwright.sync_api import Page, sync_playwright

from maskwright import load_dataset, suspects
from maskwright.base.storage import dump_json
from maskwright.core.mask_files import INDEX, read_mask
from maskwright.core.masks import Mask
from maskwright.demonstration.demo import demo_data
from maskwright.demonstration.generator import foreground_iou

KEY, THINK, POINT = 0.28, 1.35, 1.1
_GOOD, _MOST = 0.9, 12


class Person:
    """Presses keys, and knows the truth of what was planted."""

    def __init__(self, page: Page, data: Path, truth: dict[str, Mask]) -> None:
        self.page, self.data, self.truth = page, data, truth
        self.keys = self.decisions = 0
        self.slowest = 0.0

    @property
    def name(self) -> str:
        return self.page.locator("#name").text_content() or ""

    def mask(self, name: str) -> Mask:
        dataset = load_dataset(self.data)
        return dataset.read_mask(dataset[name])

    def press(self, key: str) -> None:
        """Presses a key and waits until the journal has it."""
        journal = self.data / ".maskwright" / "edits.jsonl"
        before, began = journal.stat().st_size if journal.exists() else 0, time.monotonic()
        self.page.keyboard.press(key)
        self.keys += 1
        while not journal.exists() or journal.stat().st_size == before:
            if time.monotonic() - began > 20:
                raise TimeoutError(f"{key} at {self.name}: nothing was saved")
            time.sleep(0.01)
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.page.wait_for_timeout(100)  # the page hears of it

    def offered(self) -> bool:
        return self.page.locator("#findings button", has_text="Accept").count() > 0

    def look_at(self, name: str) -> None:
        """All that is decided about one sample."""
        self.decisions += 1
        right = self.truth.get(name)
        right = self.mask(name) if right is None else right  # what was not planted is right
        for _ in range(_MOST):
            if self.name != name or not self.offered():
                break
            self.decisions += 1
            before = foreground_iou(self.mask(name), right)
            self.press("a")
            if foreground_iou(self.mask(name), right) < before:
                if self.name != name:
                    self.page.keyboard.press("k")
                    self.keys += 1
                self.press("z")
                self.press("r")
        if self.name == name:
            self.press("g" if foreground_iou(self.mask(name), right) >= _GOOD else "f")
        if self.name == name:
            self.page.keyboard.press("j")
            self.keys += 1
            self.page.wait_for_timeout(100)


def polygons(truth: Mask) -> tuple[int, Mask]:
    """How many corners draw a mask (H, W) to within a pixel, and what is drawn."""
    corners, drawn = 0, np.zeros_like(truth)
    for label in np.unique(truth[truth > 0]).tolist():
        outlines, _ = cv2.findContours((truth == label).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        for outline in outlines:
            simple = cv2.approxPolyDP(outline, 1.0, True)
            corners += len(simple)
            cv2.fillPoly(drawn, [simple], label)
    return corners, drawn


def repaired(data: Path, truth: dict[str, Mask], first: int) -> dict[str, Any]:
    """What the person has done to `data`, a copy."""
    command = [sys.executable, "-m", "maskwright", "review", str(data), "--no-browser"]
    served = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert served.stderr
    link = next(found[0] for line in served.stderr if (found := re.search(r"http://\S+", line)))
    chromium = os.environ.get("MASKWRIGHT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    try:
        with sync_playwright() as started:
            browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1200, "height": 900})
            page.goto(link)
            page.wait_for_selector(".tile")
            page.keyboard.press("Enter")
            page.wait_for_function("() => document.querySelector('#name').textContent")
            person, began, seen = Person(page, data, truth), time.monotonic(), []
            person.keys = 1
            while len(seen) < first and (name := person.name) not in seen:
                seen.append(name)
                person.look_at(name)
            seconds = time.monotonic() - began
            browser.close()
    finally:
        served.terminate()
        served.wait(20)
    return {
        "samples": len(seen),
        "planted_seen": len({*seen} & {*truth}),
        "keys": person.keys,
        "minutes": (KEY * person.keys + THINK * person.decisions) / 60,
        "slowest_save_seconds": person.slowest,
        "minutes_of_the_machine": seconds / 60,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--planted", type=int, default=15)
    parser.add_argument("--budget", default="90s")
    parser.add_argument("--first", type=int, default=30, help="samples of the queue to look at")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    source, data = given.work / "data", given.work / "repaired"
    if not source.exists():
        demo_data(source, images=given.images, planted=given.planted, seed=given.seed)
    if not (source / ".maskwright" / "suspects-001" / "suspects.json").exists():
        suspects(source, budget=given.budget, seed=given.seed)
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(source, data)
    dataset = load_dataset(data)
    places = sorted((source / "planted_truth").rglob("*.png"))
    truth = {
        str(place.relative_to(source / "planted_truth").with_suffix("")): read_mask(place, INDEX, dataset.classes).ids
        for place in places
    }
    before = {sample.name: dataset.read_mask(sample) for sample in dataset.samples if sample.labelled}
    found = repaired(data, truth, given.first)
    dataset = load_dataset(data)
    after = {name: dataset.read_mask(dataset[name]) for name in before}
    drawn = {name: polygons(mask) for name, mask in truth.items()}
    corners = sum(count for count, _ in drawn.values())

    def mean(masks: dict[str, Mask]) -> float:
        return float(np.mean([foreground_iou(masks[name], truth[name]) for name in truth]))

    by_hand = {
        "clicks": corners,
        "minutes": (corners * (POINT + KEY) + THINK * (given.first + len(truth))) / 60,
        "iou": mean({name: mask for name, (_, mask) in drawn.items()}),
    }
    harmed = [name for name in before if name not in truth and not np.array_equal(before[name], after[name])]
    left = [name for name in truth if dataset[name].status == "suspect"]
    result = {"iou_before": mean(before), "iou_after": mean(after), "right_masks_changed": len(harmed)}
    print(dump_json({**result, "marked_for_fixing": len(left), "keyboard": found, "polygons": by_hand}, indent=2))


if __name__ == "__main__":
    main()
