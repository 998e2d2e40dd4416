"""How quick the review page is, in Chromium: the first page of many images, the next image, a brush stroke.

    python bench/review.py [--many 10000] [--presses 60] [--work W]

- first page: from the start of `maskwright review` on MANY images of 256 x 256 until the first tiles of the grid show
  their pictures. The first time the folder is audited beside it; `again` is the second start.
- next image: images of 1,024 x 1,024; from the key press J until the frame after the one in which the new image is
  drawn on the canvas. One press follows when the last image is shown and half a second is over, as somebody looks at
  it; `hurried` is without that half second.
- stroke: from each movement of the pointer, with a brush of 24 pixels, until the canvas is drawn with what it painted.

Medians and 95th percentiles in milliseconds; JSON goes to stdout. W keeps the data.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from playwright.sync_api import Page, sync_playwright

from maskwright import init
from maskwright.base.storage import dump_json
from maskwright.core.masks import png_bytes

# Notes when an image that was not there before is drawn after a key press, and a mask after a movement of the pointer.
WATCH = """(() => {
  const noted = { images: [], strokes: [], last: null, pressed: 0, moved: 0 };
  window.noted = noted;
  const draw = CanvasRenderingContext2D.prototype.drawImage;
  CanvasRenderingContext2D.prototype.drawImage = function (what, ...rest) {
    draw.call(this, what, ...rest);
    if (what instanceof ImageBitmap && what !== noted.last) {
      noted.last = what;
      const pressed = noted.pressed;
      noted.pressed = 0;
      if (pressed) requestAnimationFrame(() => noted.images.push(performance.now() - pressed));
    }
    if (what instanceof HTMLCanvasElement && noted.moved) {
      noted.strokes.push(performance.now() - noted.moved);
      noted.moved = 0;
    }
  };
  addEventListener("keydown", (event) => { if (event.key === "j") noted.pressed = event.timeStamp; }, true);
  addEventListener("pointermove", (event) => { if (event.buttons) noted.moved ||= event.timeStamp; }, true);
})()"""


def drawn(folder: Path, count: int, side: int, different: int) -> Path:
    """A dataset of so many images, of which so many differ; the others are the same files under other names."""
    if (folder / "dataset.yaml").exists():
        return folder
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image, mask = (
            folder / part / f"image_{number:05d}.{end}" for part, end in (("images", "jpg"), ("masks", "png"))
        )
        if number < different:
            noise = cv2.GaussianBlur(rng.normal(0, 90, (side, side, 3)).astype(np.float32), (0, 0), 4)
            middle = rng.integers(side // 4, 3 * side // 4, 2).tolist()
            inside = cv2.circle(np.zeros((side, side), np.uint8), middle, side // 5, 1, -1)
            cv2.imwrite(str(image), np.clip(110 + 50 * inside[..., None] + 4 * noise, 0, 255).astype(np.uint8))
            mask.write_bytes(png_bytes(inside))
        else:
            for one, end in ((image, "jpg"), (mask, "png")):
                os.link(one.with_name(f"image_{number % different:05d}.{end}"), one)
    init(folder)
    return folder


@contextmanager
def reviewed(data: Path) -> Iterator[tuple[float, str]]:
    """When the command was started, and the link that it has printed."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "maskwright", "review", str(data), "--no-browser"]
    # Where Python may not keep compiled modules, each start compiles all of them again.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr
        try:
            yield began, next(found[0] for line in process.stderr if (found := re.search(r"http://\S+", line)))
        finally:
            process.terminate()


def shown(page: Page, link: str) -> None:
    """Until the first pictures of the grid are there."""
    page.goto(link)
    page.wait_for_function(
        "() => { const all = [...document.querySelectorAll('.tile img')]; "
        "return all.length > 3 && all.slice(0, 4).every((one) => one.complete && one.naturalWidth); }"
    )


def of(milliseconds: Sequence[float]) -> dict[str, Any]:
    return {
        "median": float(np.median(milliseconds)),
        "p95": float(np.quantile(milliseconds, 0.95)),
        "count": len(milliseconds),
    }


def walked(page: Page, presses: int, pause: float) -> dict[str, Any]:
    """The times of so many presses of J."""
    page.evaluate("noted.images.length = 0")
    for press in range(1, presses + 1):
        page.keyboard.press("j")
        page.wait_for_function(f"() => noted.images.length === {press}")
        time.sleep(pause)
    return of(page.evaluate("noted.images"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--presses", type=int, default=60)
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    chromium = os.environ.get("MASKWRIGHT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as started:
        work = options.work or Path(temporary)
        many = drawn(work / f"many-{options.many}", options.many, 256, 50)
        large = drawn(work / "large", 2 * options.presses + 2, 1024, 2 * options.presses + 2)
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name in ("first page", "first page, again"):
            with reviewed(many) as (began, link):
                page = browser.new_page(viewport={"width": 1400, "height": 900})
                shown(page, link)
                result[name] = 1000 * (time.perf_counter() - began)
                page.close()
        with reviewed(large) as (_, link):
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            page.add_init_script(WATCH)
            shown(page, link)
            page.wait_for_timeout(8000)  # the audit of these images is over
            page.keyboard.press("Enter")
            page.wait_for_function("() => noted.last")
            page.wait_for_timeout(1000)
            result["next image"] = walked(page, options.presses, 0.5)
            result["next image, hurried"] = walked(page, options.presses, 0.0)
            page.keyboard.press("b")
            page.evaluate("document.querySelector('#size').oninput({ target: { value: 24 } })")
            box = page.locator("#canvas").bounding_box()
            assert box
            x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
            page.mouse.move(x - 150, y)
            page.mouse.down()
            for step in range(120):
                page.mouse.move(x - 150 + 2.5 * step, y + 80 * np.sin(step / 8))
            page.mouse.up()
            result["stroke"] = of(page.evaluate("noted.strokes"))
        browser.close()
    print(dump_json(result, indent=2))


if __name__ == "__main__":
    main()
