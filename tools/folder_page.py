"""Writes the made parts of docs/bring-your-folder.md, and its pictures: `python tools/folder_page.py`.

Small folders are drawn by code, `maskwright init` is run on each, and its tree, what was printed and a picture stand on
the page. What is read is compared with what was drawn. The rest of the page is written by hand.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, get_args, get_origin

import numpy as np
import numpy.typing as npt
from PIL import Image

from maskwright.base.storage import natural
from maskwright.cli import main
from maskwright.core.description import DatasetFile, ImagesSpec, MasksSpec
from maskwright.core.masks import overlay
from maskwright.data.opening import load_dataset

HOME = Path(__file__).parent.parent
TARGET = HOME / "docs" / "bring-your-folder.md"
PICTURES = HOME / "docs" / "images" / "folders"
FOLDER = "plants"
EXAMPLE = "file-a-class"  # whose dataset.yaml is shown
# Keys of dataset.yaml that are in the guide's table, which was there before folders were read by their content.
KNOWN = {
    "": {"root", "layout", "annotations", "boxes", "images", "masks", "splits", "table", "classes", "ignore"},
    "images.": {"folder", "exif"},
    "masks.": {"folder", "encoding", "levels", "ignore_colour"},
}

Array = npt.NDArray[Any]
HEIGHT, WIDTH, GAP = 120, 160, 6
WRAPPED = 100  # letters in a line of what is printed
COLOURS = np.array([(0, 0, 0), (0, 158, 115), (213, 94, 0)], np.uint8)
GROUNDS = [(139, 115, 85), (120, 120, 112), (158, 140, 104), (104, 96, 88), (128, 104, 72), (112, 124, 128)]


# --- what is in the pictures ---------------------------------------------------------------------------------------


@lru_cache(None)
def plant(number: int) -> tuple[Array, Array, Array]:
    """(H, W, 3) picture of leaves and fruits, (H, W) labels (0 ground, 1 leaf, 2 fruit) and (H, W) numbers of objects.
    Whole numbers only, so that it is the same everywhere."""
    rng = Random(number)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    noise = (x * 0x9E3779B1 ^ y * 0x85EBCA77 ^ (number + 1) * 0xC2B2AE3D) & 0xFFFFFFFF
    noise = ((noise ^ noise >> 15) * 0x2C1B3C6D) & 0xFFFFFFFF
    noise = (noise ^ noise >> 12) % 5 - 2
    image = np.array(GROUNDS[number % len(GROUNDS)]) + 7 * noise[..., None]
    labels, objects = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    kinds = [1, 2, *(int(3 * rng.random()) for _ in range(4))]
    rng.shuffle(kinds)
    for cell, kind in enumerate(kinds):
        dx = x - (27 + 53 * (cell % 3) + int(7 * rng.random()) - 3)
        dy = y - (30 + 60 * (cell // 3) + int(13 * rng.random()) - 6)
        size, turn, shade = int(6 * rng.random()), int(4 * rng.random()), int(60 * rng.random())
        if kind == 0:
            continue
        u, v, square = [(dx, dy, 1), (dy, dx, 1), (dx + dy, dx - dy, 2), (dx - dy, dx + dy, 2)][turn]
        long, short = (16 + size, 8 + size // 2) if kind == 1 else (12 + size // 2, 12 + size // 2)
        inside = u**2 * short**2 + v**2 * long**2 <= square * long**2 * short**2
        colour = np.array([60 + shade, 150 - shade // 2, 50] if kind == 1 else [200 - shade // 2, 50 + shade, 40])
        light = (7 * noise - dx // 2 - dy // 2)[..., None]
        image = np.where(inside[..., None], colour + light, image)
        labels[inside], objects[inside] = kind, objects.max() + 1
    return np.clip(image, 0, 255).astype(np.uint8), labels, objects


def save(path: Path, pixels: Array) -> None:
    """Writes a picture in the format of its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, pixels) if path.suffix == ".npy" else Image.fromarray(pixels).save(path)


def black_white(marked: Array) -> Array:
    """A mask of 0 and 255."""
    return np.where(marked, 255, 0).astype(np.uint8)


# --- the folders ---------------------------------------------------------------------------------------------------


@dataclass
class Made:
    """What was drawn into `root`: by the path of each image what is to be read as its mask, and the pictures of the
    image and its mask files in the order of the page."""

    root: Path
    truth: dict[str, Array] = field(default_factory=dict)
    shown: dict[str, list[tuple[str, Array]]] = field(default_factory=dict)

    def add(self, number: int, image: str, truth: Array, masks: dict[str, Array]) -> None:
        """Writes an image and its mask files. Ids are shown in colours: as they are stored, they look black."""
        picture = plant(number)[0]
        save(self.root / image, picture)
        self.truth[image], self.shown[image] = truth, [(image, picture)]
        for path, stored in masks.items():
            save(self.root / path, stored)
            dark = stored.ndim == 2 and stored.max() < 10
            look = 28 * stored if "instance" in path else COLOURS[stored] if dark else stored
            self.shown[image].append((path, look))


def two_folders(made: Made) -> None:
    """The usual way: the same name in two folders. What the folders are called does not matter."""
    for i in range(6):
        fruits = plant(i)[1] // 2
        made.add(i, f"photos/{i + 1:03}.jpg", fruits, {f"labels/{i + 1:03}.png": black_white(fruits)})


def beside(made: Made) -> None:
    """One folder holds both; the masks have something behind the name."""
    for i in range(6):
        name, fruits = f"DSC_0{410 + 7 * i}", plant(i)[1] // 2
        made.add(i, f"{name}.JPG", fruits, {f"{name}_fruit-mask.png": black_white(fruits)})


def split_folders(made: Made) -> None:
    """Each split has its own `images` and `masks`; `valid` is `val`."""
    for i, split in enumerate(["train", "train", "train", "train", "valid", "valid", "test", "test"]):
        labels = plant(i)[1]
        made.add(i, f"{split}/images/p{i + 1}.png", labels, {f"{split}/masks/p{i + 1}.png": labels})


def other_words(made: Made) -> None:
    """`trainingframes` and `validationframes`: what several split words have behind them is cut off."""
    for i, split in enumerate(["training", "training", "training", "training", "validation", "validation"]):
        labels = plant(i)[1]
        made.add(i, f"{split}frames/bed7_{i:04}.png", labels, {f"{split}annot/bed7_{i:04}_L.png": labels})


def file_a_class(made: Made) -> None:
    """Each file is black and white and says where one class is. The files never mark the same pixel, so they make up
    one mask."""
    for i in range(6):
        labels = plant(i)[1]
        masks = {f"parts/{i:05}_{name}.png": black_white(labels == id_) for id_, name in ((1, "leaf"), (2, "fruit"))}
        made.add(i, f"images/{i}.jpg", labels, masks)


def file_an_object(made: Made) -> None:
    """A folder for each image, with a file for each object in it."""
    for i in range(6):
        name, objects = f"{0x9E3779B1 * (i + 3) % 0xFFFFFFFF:08x}", plant(i)[2]
        masks = {
            f"{name}/masks/{0x85EBCA77 * (7 * i + number) % 0xFFFFFFFF:08x}.png": black_white(objects == number)
            for number in range(1, objects.max() + 1)
        }
        made.add(i, f"{name}/images/{name}.png", objects > 0, dict(sorted(masks.items())))


def three_sets(made: Made) -> None:
    """Three files for each image say the same in three ways. The ids are read; each of the others is named with the
    reason why it is not."""
    for i in range(6):
        _, labels, objects = plant(i)
        name = f"truth/row_{i + 1:06}"
        masks = {f"{name}_labelIds.png": labels, f"{name}_color.png": COLOURS[labels]}
        made.add(i, f"frames/row_{i + 1:06}_rgb.png", labels, masks | {f"{name}_instanceIds.png": objects})


def colour_table(made: Made) -> None:
    """Names and colours are taken from the table that comes along."""
    for i in range(6):
        labels = plant(i)[1]
        made.add(i, f"images/{i:03}.png", labels, {f"images_rgb_labels/{i:03}_L.png": COLOURS[labels]})
    rows = zip(("soil", "leaf", "fruit"), COLOURS.tolist(), strict=True)
    text = "name,r,g,b\n" + "".join(f"{name},{r},{g},{b}\n" for name, (r, g, b) in rows)
    (made.root / "class_dict.csv").write_text(text)


def lists(made: Made) -> None:
    """`train.txt` and `val.txt` name the images of each split, `classes.txt` the classes. The masks are `.npy`. No
    class is called background here, so soil is drawn too."""
    for i in range(6):
        labels = plant(i)[1]
        made.add(i, f"img/plant{i + 1}.png", labels, {f"arrays/plant{i + 1}.npy": labels})
    (made.root / "lists").mkdir()
    (made.root / "lists/train.txt").write_text("".join(f"plant{i}\n" for i in (1, 2, 4, 6)))
    (made.root / "lists/val.txt").write_text("plant3\nplant5\n")
    (made.root / "classes.txt").write_text("soil\nleaf\nfruit\n")


def table(made: Made) -> None:
    """Nothing in the names pairs them; a table does. Its columns may have any titles."""
    rows = ["picture,labels,subset\n"]
    for i in range(6):
        image, mask = f"{'abcdef'[i]}{71 * i % 40:02}.png", f"sheet{(5 * i + 2) % 6 + 1}.png"
        made.add(i, f"camera/{image}", plant(i)[1], {f"drawn/{mask}": plant(i)[1]})
        rows.append(f"{image},{mask},{'training' if i < 4 else 'testing'}\n")
    (made.root / "files.csv").write_text("".join(rows))


def two_persons(made: Made) -> None:
    """Two persons drew masks of the same images. Which ones count, only you know: nothing is written, the exit code is
    2, and the message ends with the options that choose."""
    for i in range(6):
        fruits = plant(i)[1] // 2
        masks = {f"labels/{i + 1:02}_anna.png": fruits, f"labels/{i + 1:02}_ben.png": np.roll(fruits, (3, 4), (0, 1))}
        made.add(i, f"images/{i + 1:02}.png", fruits, {path: black_white(mask) for path, mask in masks.items()})


def no_pairs(made: Made) -> None:
    """Images and masks are there, and no rule of names connects them. `--table` writes a `labels.csv` with a row for
    each image; fill in its column `mask`, and run `init` again."""
    for i, name in enumerate(("apple", "fig", "kiwi", "lime", "pear", "plum")):
        fruits = plant(i)[1] // 2
        made.add(i, f"images/{name}.png", fruits, {f"masks/{11 * (i + 2)}.png": black_white(fruits)})


@dataclass(frozen=True)
class Layout:
    """A section of the page, which begins with what `draw` says of itself. `runs` are the options of each call."""

    title: str
    draw: Callable[[Made], None]
    runs: tuple[tuple[str, ...], ...] = ((),)

    @property
    def name(self) -> str:
        """Of its picture."""
        return self.draw.__name__.replace("_", "-")


LAYOUTS = (
    Layout("Two folders", two_folders),
    Layout("Masks beside the images", beside),
    Layout("Split folders outside", split_folders),
    Layout("Splits inside other words", other_words),
    Layout("One file a class", file_a_class),
    Layout("One file an object", file_an_object),
    Layout("Ids beside colours and objects", three_sets),
    Layout("Colours with a table of names", colour_table),
    Layout("Splits from lists, masks as arrays", lists),
    Layout("A table of files", table),
)
QUESTIONS = (
    Layout("Two sets of masks", two_persons, ((), ("--masks", "anna"))),
    Layout("Nothing pairs", no_pairs, ((), ("--table",))),
)


# --- the page ------------------------------------------------------------------------------------------------------


def tree(root: Path, most: int = 2) -> Iterator[str]:
    """The lines of a folder: of names that differ in their numbers, the first ones."""

    def below(folder: Path, indent: str) -> Iterator[str]:
        paths = sorted((path for path in folder.iterdir() if path.name != "dataset.yaml"), key=natural)
        forms: Counter[str] = Counter()
        left = 0
        for path in paths:
            form = "#" if re.fullmatch(r"[0-9a-f]{8}(\.\w+)?", path.name) else re.sub(r"\d+", "#", path.name)
            form = f"{form if re.search('[#]', form) else path.suffix} {path.is_dir()}"
            forms[form] += 1
            if forms[form] > most and path.suffix not in (".txt", ".csv") and not (path.is_dir() and "#" not in form):
                left += 1
                continue
            if path.is_dir():
                yield f"{indent}{path.name}/"
                yield from below(path, indent + "    ")
            else:
                yield f"{indent}{path.name}{_begins(path)}"
        if left:
            yield f"{indent}… {left} more"

    yield f"{root.name}/"
    yield from below(root, "    ")


def _begins(path: Path) -> str:
    if path.suffix not in (".txt", ".csv"):
        return ""
    lines = path.read_text().splitlines()
    return "   holds: " + " / ".join([*lines[:3], *(["…"] if len(lines) > 3 else [])])


def run(options: tuple[str, ...]) -> str:
    """What `maskwright init` prints, in lines as on a terminal, with its exit code where that is not 0."""
    text, code = io.StringIO(), 0
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        try:
            main(["init", FOLDER, *options])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    command = " ".join(["$ maskwright init", FOLDER, *options])
    lines = [command, *text.getvalue().rstrip().splitlines(), *([f"(exit code {code})"] if code else [])]
    return "\n".join(
        textwrap.fill(line, WRAPPED, subsequent_indent=" " * (12 if line[:1] == " " else 2), break_on_hyphens=False)
        for line in lines
    )


def check(made: Made) -> dict[str, Array]:
    """Images of the folder as read, with their masks in colour. AssertionError where these are not what was drawn."""
    dataset = load_dataset(FOLDER)
    images = {sample.image.relative_to(FOLDER).as_posix(): sample for sample in dataset.samples}
    assert images.keys() == made.truth.keys(), "other images than were drawn"
    found = {}
    for path, sample in images.items():
        mask = dataset.read_mask(sample)
        both = {*zip(mask.ravel().tolist(), made.truth[path].ravel().tolist(), strict=True)}
        assert len(both) == len({a for a, _ in both}) == len({b for _, b in both}), f"{path} is read wrong"
        image = made.shown[path][0][1]
        found[path] = overlay(image, mask, dataset.classes.colours, background=dataset.classes.background)
    return found


def picture(made: Made, read: dict[str, Array], most: int = 3) -> tuple[Array, str]:
    """The first two images: with their masks, and as read where they were; and the words below."""
    rows = []
    paths = sorted(made.shown, key=lambda path: natural(Path(path)))[:2]
    for path in paths:
        tiles = [pixels for _, pixels in made.shown[path][: most + 1]] + ([read[path]] if read else [])
        tiles = [tile if tile.ndim == 3 else np.repeat(tile[..., None], 3, 2) for tile in tiles]
        gap = np.full((HEIGHT, GAP, 3), 255, np.uint8)
        rows.append(np.concatenate([part for tile in tiles for part in (tile, gap)][:-1], 1))
    names = [f"`{path}`" for path, _ in made.shown[paths[0]]]
    more = ["…"] if len(names) > most + 1 else []
    names = names[: most + 1] + more + (["what is read"] if read else [])
    strip = np.full((GAP, rows[0].shape[1], 3), 255, np.uint8)
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    return np.concatenate([padded[0], strip[:, :1].repeat(width, 1), padded[1]]), ", ".join(names)


def section(layout: Layout) -> tuple[list[str], Array]:
    """The lines of a layout on the page, and its picture. The working folder is an empty one."""
    made = Made(Path(FOLDER))
    layout.draw(made)
    shown = [*tree(Path(FOLDER))]
    printed = [run(options) for options in layout.runs]
    read = check(made) if Path(FOLDER, "dataset.yaml").exists() else {}
    pixels, names = picture(made, read)
    lines = [f"### {layout.title}", "", " ".join((layout.draw.__doc__ or "").split()), "", "```text", *shown, "```", ""]
    lines += ["```text", "\n\n".join(printed), "```", ""]
    lines += [f"![{layout.title}: images and masks](images/folders/{layout.name}.png)", ""]
    return [*lines, f"From left to right: {names}.", ""], pixels


def keys() -> Iterator[str]:
    """The keys of `dataset.yaml` that came with folders read by their content."""
    yield from ("| key | value | default | meaning |", "|---|---|---|---|")
    for prefix, model in (("images.", ImagesSpec), ("masks.", MasksSpec), ("", DatasetFile)):
        for name, info in model.model_fields.items():
            if name not in KNOWN[prefix] | {"background"}:
                default = info.get_default(call_default_factory=True)
                shown = "" if default in (None, [], {}) else f"`{str(default).lower()}`"
                meaning = re.sub(r"\{\w+\}", r"`\g<0>`", info.description or "").replace("|", "\\|").replace("->", "→")
                yield f"| `{prefix}{name}` | {_value(info.annotation)} | {shown} | {meaning} |"


def _value(kind: Any) -> str:
    """What may stand behind a key."""
    choices = [text for part in get_args(kind) for text in get_args(part) if isinstance(text, str)]
    if choices:
        return ", ".join(f"`{text}`" for text in choices)
    names = {list: "list", dict: "mapping", bool: "true or false"}
    return names.get(get_origin(kind) or kind, "text")


def render() -> tuple[str, dict[str, Array]]:
    """The text of the page, whose other parts are those of the one that is there, and its pictures by name."""
    parts: dict[str, list[str]] = {"layouts": [], "questions": [], "example": [], "keys": [*keys(), ""]}
    pictures = {}
    for part, layouts in (("layouts", LAYOUTS), ("questions", QUESTIONS)):
        for layout in layouts:
            with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
                lines, pictures[layout.name] = section(layout)
                if layout.name == EXAMPLE:
                    parts["example"] = ["```text", Path(FOLDER, "dataset.yaml").read_text("utf-8").rstrip(), "```", ""]
            parts[part] += lines
    text = TARGET.read_text("utf-8")
    for part, lines in parts.items():
        begin, end = f"<!-- made by tools/folder_page.py: {part} -->", "<!-- end -->"
        before, _, rest = text.partition(begin)
        assert end in rest, f"{TARGET.name}: {begin} is missing"
        text = "\n".join([f"{before}{begin}", "", *lines]) + end + rest.partition(end)[2]
    return text, pictures


def same(path: Path, pixels: Array) -> bool:
    """Whether a file shows a picture; how it is compressed, and the last bit of a mixed colour, may differ."""
    if not path.exists():
        return False
    with Image.open(path) as image:
        there = np.asarray(image.convert("RGB")).astype(int)
    return there.shape == pixels.shape and int(np.abs(there - pixels).max()) <= 2


if __name__ == "__main__":
    page, drawn = render()
    for name, pixels in drawn.items():
        if not same(PICTURES / f"{name}.png", pixels):
            PICTURES.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(PICTURES / f"{name}.png", optimize=True)
            sys.stdout.write(f"{name}.png: written\n")
    sys.stdout.write(f"{TARGET.name}: {'same' if TARGET.read_text('utf-8') == page else 'written'}\n")
    TARGET.write_text(page, "utf-8")
