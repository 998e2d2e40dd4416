"""The page in a real browser: every key and tool, what is on the disk afterwards, two tabs, and a restart."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import uvicorn
import yaml
from review_pages import make_reviewed

from helpers import write
from maskwright.base.listening import bound
from maskwright.core.edits import edits
from maskwright.data.auditing import audit
from maskwright.data.opening import load_dataset
from maskwright.reviewing.assisting import Edges
from maskwright.reviewing.security import Access, Guard
from maskwright.reviewing.server import Server, build_app

CHROMIUM = os.environ.get("MASKWRIGHT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
if not CHROMIUM:
    pytest.skip("no Chromium on this machine", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

SIZE = (12, 16)


class Served:
    """A dataset served by a thread."""

    def __init__(self, data: Path) -> None:
        self.data, self.server = data, Server(data)
        self.socket = bound("127.0.0.1", 0)
        self.port = self.socket.getsockname()[1]
        self.access = Access("127.0.0.1", self.port, None)
        app = Guard(build_app(self.server), self.access)
        self.uvicorn = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none"))
        self.thread = threading.Thread(target=lambda: self.uvicorn.run(sockets=[self.socket]))
        self.thread.start()

    @property
    def link(self) -> str:
        return f"http://127.0.0.1:{self.port}/?token={self.access.token}"

    def stop(self) -> None:
        self.uvicorn.should_exit = True
        self.thread.join()
        self.socket.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with sync_api.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    found = Served(make_reviewed(tmp_path / "data"))
    yield found
    found.stop()


@pytest.fixture
def context(browser: object) -> Iterator[object]:
    """A browser of its own: with cookies and errors."""
    found = browser.new_context(viewport={"width": 1100, "height": 800})
    found.errors = []
    found.on("weberror", lambda error: found.errors.append(str(error.error)))
    found.on(
        "console", lambda message: found.errors.append(message.text) if "Content Security" in message.text else None
    )
    yield found
    assert found.errors == []
    found.close()


def opened(context: object, served: Served, sample: int | None = 0) -> object:
    """A tab with the page; in the single view of a sample unless it is None."""
    page = context.new_page()
    page.goto(served.link)
    page.wait_for_selector(".tile")
    if sample is not None:
        show(page, served, sample)
    return page


def show(page: object, served: Served, sample: int) -> None:
    page.evaluate(
        "name => { location.hash = `sample=${encodeURIComponent(name)}` }", load_dataset(served.data)[sample].name
    )
    page.reload()
    page.wait_for_function(
        "() => document.querySelector('#name').textContent && !document.querySelector('#note').textContent"
    )
    page.wait_for_timeout(150)


def at(page: object, x: float, y: float) -> tuple[float, float]:
    """Where the point (x, y) of the image is in the window, when it is fitted into the canvas."""
    box = page.locator("#canvas").bounding_box()
    scale = min((box["width"] - 16) / SIZE[1], (box["height"] - 16) / SIZE[0])
    left, top = (box["width"] - SIZE[1] * scale) / 2, (box["height"] - SIZE[0] * scale) / 2
    return box["x"] + left + x * scale, box["y"] + top + y * scale


def drag(page: object, *points: tuple[float, float]) -> None:
    page.mouse.move(*at(page, *points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*at(page, *point), steps=4)
    page.mouse.up()


def click(page: object, *points: tuple[float, float]) -> None:
    for point in points:
        page.mouse.click(*at(page, *point))


def on_disk(served: Served, sample: int = 0) -> np.ndarray:
    dataset = load_dataset(served.data)
    return dataset.read_mask(dataset[sample])


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def batches(served: Served) -> int:
    return len(edits(served.data).batches)


def saved(served: Served, number: int, *pages: object) -> None:
    """Waits for so many batches on the disk, and until these tabs show what came of them."""
    until(lambda: batches(served) == number)
    for page in pages:
        page.wait_for_function(
            "() => !document.title.startsWith('saving') && !document.querySelector('#note').textContent.startsWith('Loading')"
        )


def pressed(page: object, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_tools_paint_exactly_what_is_on_the_disk(context: object, served: Served) -> None:
    page = opened(context, served)
    mask = on_disk(served).copy()
    ys, xs = np.indices(SIZE) + 0.5

    def same(number: int) -> None:
        saved(served, number, page)
        assert (on_disk(served) == mask).all()

    pressed(page, "b", "2", *"[[[[[[[[")  # one pixel
    drag(page, (2.5, 1.5), (9.5, 1.5))
    mask[1, 2:10] = 2
    same(1)
    pressed(page, "]", "]", "]", "]")  # five pixels
    assert page.locator("#sized").text_content() == "5 px"
    click(page, (5.5, 7.5))
    mask[(xs - 5.5) ** 2 + (ys - 7.5) ** 2 <= 6.25] = 2
    same(2)
    pressed(page, "e", "[", "[", "[")  # two pixels, so on a corner
    click(page, (6, 8))
    mask[7:9, 5:7] = 0
    same(3)
    pressed(page, "p", "1")
    click(page, (1, 1), (9, 1), (9, 9), (1, 9))
    page.keyboard.down("Shift")
    click(page, (3, 3))
    page.keyboard.up("Shift")
    click(page, (6, 3), (6, 6), (4, 7), (3, 6))
    pressed(page, "Backspace", "Backspace")
    click(page, (3, 6))
    pressed(page, "Enter")
    ring = np.zeros(SIZE, bool)
    ring[1:9, 1:9] = True
    ring[3:6, 3:6] = False
    mask[ring] = 1
    same(4)
    pressed(page, "u", "2")
    click(page, (1.5, 1.5))
    start = mask == 1
    region, stack = np.zeros(SIZE, bool), [(1, 1)]
    while stack:
        y, x = stack.pop()
        if 0 <= y < SIZE[0] and 0 <= x < SIZE[1] and start[y, x] and not region[y, x]:
            region[y, x] = True
            stack += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
    mask[region] = 2
    same(5)
    pressed(page, "d")
    near = np.pad(mask == 2, 1)
    mask[(near[:-2, 1:-1] | near[2:, 1:-1] | near[1:-1, :-2] | near[1:-1, 2:]) & (mask != 255)] = 2
    same(6)
    pressed(page, "Shift+d")
    other = np.pad(mask != 2, 1)
    mask[(other[:-2, 1:-1] | other[2:, 1:-1] | other[1:-1, :-2] | other[1:-1, 2:]) & (mask == 2)] = 0
    mask[[0, -1]] = np.where(mask[[0, -1]] == 2, 2, mask[[0, -1]])
    saved(served, 7, page)
    # What lies outside the image is no other class: the rim shrinks from inside only.
    assert (on_disk(served)[1:-1, 1:-1] == mask[1:-1, 1:-1]).all()
    for number in range(6, -1, -1):
        pressed(page, "z")
        saved(served, number, page)
    dataset = load_dataset(served.data)
    assert not dataset[0].edited
    pressed(page, "i", "b", *"[[[[")
    click(page, (0.5, 0.5))
    saved(served, 1, page)
    assert on_disk(served)[0, 0] == 255


def test_a_model_mask_inside_a_line_and_whole(context: object, served: Served) -> None:
    page = opened(context, served)
    page.wait_for_timeout(300)
    label = on_disk(served).copy()
    proposed = label.copy()
    proposed[2:5, 1:5] = 2
    pressed(page, "m")
    drag(page, (0, 0), (3, 0), (3, 12), (0, 12))
    saved(served, 1, page)
    half = label.copy()
    half[:, :3] = proposed[:, :3]
    assert (on_disk(served) == half).all()
    pressed(page, "Shift+m")
    saved(served, 2, page)
    assert (on_disk(served) == proposed).all()


def test_assistance_shows_a_preview_first(context: object, served: Served) -> None:
    page = opened(context, served)
    before = on_disk(served).copy()

    def previewed() -> None:
        page.wait_for_function("() => document.querySelector('#note').textContent.startsWith('Preview')")

    pressed(page, "c", "2")
    drag(page, (1, 1), (15, 11))
    previewed()
    assert batches(served) == 0
    pressed(page, "Escape")
    pressed(page, "s", *"[[[[[[[[", "1")
    drag(page, (7.5, 6.5), (9.5, 6.5))
    page.wait_for_function("() => document.querySelector('#note').textContent.startsWith('Now stroke another class')")
    assert page.locator("#toast.bad").count() == 0, "the first stroke is no mistake"
    pressed(page, "0")
    drag(page, (0.5, 0.5), (9.5, 0.5))
    previewed()
    pressed(page, "Enter")
    saved(served, 1, page)
    assert (on_disk(served)[6, 7:10] == 1).all() and (on_disk(served)[0, :10] == 0).all()
    pressed(page, "z")
    saved(served, 0, page)
    pressed(page, "w", "2")
    corners = [(2.4, 2.4), (12.4, 2.4), (12.4, 9.4), (2.4, 9.4)]
    click(page, *corners)
    page.wait_for_timeout(500)
    pressed(page, "Enter")
    saved(served, 1, page)
    edges = Edges(load_dataset(served.data).read_image(load_dataset(served.data)[0]))
    ring = [point for start, end in pairwise(corners) for point in edges.line(start, end)]
    expected = np.where(inside(ring), 2, before)
    assert (on_disk(served) == expected).all() and (expected != before).any()


def test_the_readout_follows_the_zoom(context: object, served: Served) -> None:
    page = opened(context, served)
    click(page, (7.5, 6.5))
    before = page.locator("#readout").inner_text()
    pressed(page, "+")
    page.wait_for_function("before => document.querySelector('#readout').textContent !== before", arg=before)
    ratio = [int(re.search(r"(\d+) %", text)[1]) for text in (page.locator("#readout").inner_text(), before)]
    assert 1.2 < ratio[0] / ratio[1] < 1.3


def inside(ring: list[tuple[float, float]]) -> np.ndarray:
    """The pixels whose middles a line to the right leaves through an odd number of sides."""
    ys, xs = np.indices(SIZE) + 0.5
    odd = np.zeros(SIZE, bool)
    for (ax, ay), (bx, by) in zip(ring, ring[1:] + ring[:1], strict=True):
        if ay != by:
            crosses = (ay > ys) != (by > ys)
            odd ^= crosses & (xs < ax + (ys - ay) / (by - ay) * (bx - ax))
    return odd


def test_judging_by_keys(context: object, served: Served) -> None:
    page = opened(context, served, None)
    names = page.locator(".tile .caption").all_text_contents()
    status = {"x": "exclude", "f": "suspect", "g": "keep"}
    for number, key in enumerate(status, 1):
        pressed(page, key)
        saved(served, number, page)
        page.wait_for_function("n => document.querySelector('[aria-selected=true]').id === `tile-${n}`", arg=number)
    dataset = load_dataset(served.data)
    assert [dataset[name].status for name in names[:3]] == [*status.values()]
    pressed(page, "z", "z")
    saved(served, 1, page)
    page.wait_for_function("() => document.querySelector('[aria-selected=true]').id === 'tile-1'")
    pressed(page, "Shift+z")
    saved(served, 2, page)
    assert load_dataset(served.data)[names[1]].status == "suspect"
    pressed(page, "z", "z")
    saved(served, 0, page)
    pressed(page, "k", "Enter")
    page.wait_for_selector("#canvas:visible")
    pressed(page, "a")  # the proposal
    saved(served, 1, page)
    dataset = load_dataset(served.data)
    assert (dataset.read_mask(dataset[names[0]])[2:5, 1:5] == 2).all()
    page.wait_for_function("name => document.querySelector('#name').textContent === name", arg=names[1])
    pressed(page, "r")
    saved(served, 2, page)
    assert "refused" in edits(served.data).batches[1].reason
    page.wait_for_function("name => document.querySelector('#name').textContent === name", arg=names[2])
    assert page.locator("#progress").text_content().startswith("all 2 done")
    pressed(page, "j", "k", "k")
    assert page.locator("#name").text_content() == names[1]
    pressed(page, "Escape")
    page.wait_for_selector("#grid:visible")


def test_views_zoom_and_help(context: object, served: Served) -> None:
    page = opened(context, served)
    page.wait_for_timeout(300)

    def picture() -> bytes:
        page.wait_for_timeout(120)
        return page.locator("#canvas").screenshot()

    plain = picture()
    seen = [plain]
    for key in (" ", "t", "h", "h", "t", "v", "+", "-", "-", ".", "o", "?"):
        pressed(page, "Space" if key == " " else key)
        if key != "?":
            seen.append(picture())
    assert (
        seen[1] != plain and seen[2] not in seen[:2] and seen[3] != seen[2] and seen[4] == seen[2] and seen[5] == plain
    )
    assert len({seen[i] for i in (7, 9, 10)}) == 3
    assert page.locator("#keys").is_visible() and "Difference view" in page.locator("#keys-list").text_content()
    pressed(page, "Escape")
    assert not page.locator("#keys").is_visible()
    pressed(page, "n", "t", "t")
    before = picture()
    drag(page, (5, 5), (7, 7))
    assert picture() != before and batches(served) == 0
    page.locator("#canvas").hover()
    page.mouse.wheel(0, -300)
    assert "%" in page.locator("#readout").text_content() or picture() != before
    assert page.locator("button[data-tool=hand]").get_attribute("aria-pressed") == "true"


def test_filters_and_search(context: object, served: Served) -> None:
    page = opened(context, served, None)
    assert page.locator("#count").text_content() == "4 samples"
    page.locator("#code").select_option(index=1)
    assert page.locator("#count").text_content() == "1 of 4"
    page.locator("#code").select_option("")
    page.locator("#split").select_option("val")
    assert page.locator("#count").text_content() == "1 of 4"
    page.locator("#split").select_option("")
    page.locator("#show").select_option("open")
    assert page.locator("#count").text_content() == "2 of 4"
    page.locator("#show").select_option("all")
    page.locator("#grid").focus()
    pressed(page, "/")
    page.keyboard.type("gx")  # letters are text here, not verdicts
    assert page.locator("#empty").is_visible() and batches(served) == 0


def test_two_tabs_cannot_overwrite_each_other(context: object, served: Served) -> None:
    one, other = opened(context, served), opened(context, served)
    for page in (one, other):
        page.route("**/api/state", lambda route: route.abort())  # else it would see the change by itself
        pressed(page, "b", "2", *"[[[[[[[[")
    click(one, (0.5, 0.5))
    saved(served, 1, one, other)
    click(other, (3.5, 0.5))
    other.wait_for_selector("#conflict[open]")
    assert batches(served) == 1
    other.locator("#theirs").click()
    saved(served, 1, one, other)
    click(other, (5.5, 0.5))
    saved(served, 2, one, other)
    assert on_disk(served)[0, :6].tolist() == [2, 0, 0, 0, 0, 2]
    click(one, (7.5, 0.5))
    one.wait_for_selector("#conflict[open]")
    one.locator("#mine").click()
    saved(served, 3, one, other)
    assert on_disk(served)[0, :9].tolist() == [2, 0, 0, 0, 0, 0, 0, 2, 0]
    click(one, (8.5, 0.5))
    saved(served, 4, one, other)


def test_undo_after_a_restart(context: object, served: Served) -> None:
    page = opened(context, served)
    before = on_disk(served).copy()
    pressed(page, "b", "2", *"[[[[[[[[")
    click(page, (0.5, 0.5))
    saved(served, 1, page)
    served.stop()
    again = Served(served.data)
    try:
        page = opened(context, again)
        pressed(page, "z")
        saved(served, 0, page)
        assert (on_disk(served) == before).all()
        pressed(page, "Shift+z")
        saved(served, 1, page)
        assert on_disk(served)[0, 0] == 2
    finally:
        again.stop()


def test_touch_and_a_small_screen(browser: object, served: Served) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    page = opened(context, served)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("button[data-tool=brush]").tap()
    page.touchscreen.tap(*at(page, 8.5, 6.5))
    saved(served, 1, page)
    assert on_disk(served)[6, 8] == 1
    context.close()


HOSTILE = [
    '<img src=x onerror="window.hit=1">',
    '"><script>window.hit=1</script>',
    "';window.hit=1;'",
    "javascript:window.hit=1",
    "${window.hit=1}",
]


def test_hostile_names_stay_text(context: object, tmp_path: Path) -> None:
    data, rng = tmp_path / "data", np.random.default_rng(0)
    classes = ["background", *HOSTILE]
    for number, name in enumerate(HOSTILE):
        name = name.replace("/", "∕")  # no file name has one
        write(data / "images" / f"{name}.png", rng.integers(0, 255, (*SIZE, 3), np.uint8))
        write(data / "masks" / f"{name}.png", np.full(SIZE, number + 1, np.uint8))
    described = {"layout": "flat", "images": {"folder": "images"}, "masks": {"folder": "masks"}}
    described["classes"] = [{"id": index, "name": name} for index, name in enumerate(classes)]
    (data / "dataset.yaml").write_text(yaml.safe_dump(described))
    for number, value in enumerate(HOSTILE):  # a study whose runs differ in these
        file = data / "a<b>study" / "jobs" / f"run-{number}" / "config.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(yaml.safe_dump({"model": {"name": value}}))
    (data / "a<b>study" / "study.yaml").write_text("base: {}\nmatrix: {seed: [0]}\n")
    found = Served(data)
    try:
        found.server.queue._run = lambda: audit(data, progress=False, workers=1).to_dict()
        found.server.queue.audit(found.server.store.now()[0])
        page = opened(context, found, None)
        assert page.locator(".tile").count() == len(HOSTILE)
        pressed(page, "Enter")
        page.wait_for_selector("#canvas:visible")
        for _ in HOSTILE:
            pressed(page, "x", "j")
            page.wait_for_timeout(100)
        assert "<img src=x" in page.locator("#classes").text_content()
        page.locator("#tab-runs").click()
        board = page.locator("#runs table")
        board.wait_for()
        assert all(value in board.text_content() for value in HOSTILE) and "waiting" in board.text_content()
        assert page.locator("#runs h3").text_content() == "a<b>study"
        assert page.evaluate("window.hit") is None
    finally:
        found.stop()
