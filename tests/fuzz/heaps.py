"""Folders of random files for `init`: `python -m fuzz.heaps [--cases 2000] [--seed 0]` in the folder of the tests.

A case puts pictures, masks, lists, tables and junk under names of random pieces into random folders, and detects what
they are. What may come of it is a description whose dataset opens, or one of our own errors in one line, and then
nothing is written. No file is the mask of itself, and none is that of two images.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from helpers import draw_pair, encoded
from maskwright.data.init import init, labels_table
from maskwright.data.opening import load_dataset
from maskwright.errors import MaskwrightError

_SECONDS = 20.0
_FOLDERS = [
    "",
    "images",
    "masks",
    "train",
    "val/images",
    "train/masks",
    "a b",
    "gt",
    "{x}",
    "é",
    "overlays",
    "01",
    "x*",
]
_PIECES = [
    "a",
    "b",
    "7",
    "007",
    "mask",
    "img",
    "train",
    "val",
    "_",
    "-",
    " ",
    ".",
    "{1}",
    "*",
    "?",
    "é",
    "e\u0301",
    "IMG",
    "Tr",
    "Ts",
    "[",
    "'",
]
_ENDINGS = [
    ".png",
    ".jpg",
    ".tif",
    ".gif",
    ".bmp",
    ".npy",
    ".txt",
    ".csv",
    ".json",
    ".yaml",
    ".PNG",
    ".ome.tif",
    ".jpg.png",
    "",
]
_FORMS = {".png": "PNG", ".jpg": "JPEG", ".tif": "TIFF", ".gif": "GIF", ".bmp": "BMP"}
_TEXTS = [
    "",
    "a\nb\n",
    "image,mask\na.png,b.png\n",
    "name,r,g,b\na,0,0,0\nb,1,1,1\n",
    '{"train": ["a"], "names": ["a", "b"]}',
    "names: [a, b]\ntrain: [a, 7]\n",
    "[" * 500,
    "\0\ufeff",
    "0 void 0 0 0\n1 a 1 1 1\n",
]


@dataclass
class Tally:
    """What came of the cases: `understood`, or `refused`; `unexpected` holds the others."""

    cases: int = 0
    understood: int = 0
    pairs: int = 0
    refused: int = 0
    unexpected: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


def fill(folder: Path, rng: np.random.Generator) -> None:
    """Random files; some names are varied from one stem, so that rules can be found."""

    def text(choices: list[str], number: int) -> str:
        return "".join(rng.choice(choices, number))

    stems = [text(_PIECES, int(rng.integers(1, 5))) for _ in range(int(rng.integers(1, 6)))]
    homes = list(rng.choice(_FOLDERS, int(rng.integers(1, 5))))
    ends = [text(_PIECES, int(rng.integers(0, 3))) for _ in range(3)]
    for _ in range(int(rng.integers(2, 24))):
        name = f"{rng.choice(stems)}{rng.choice(ends)}{rng.choice(_ENDINGS)}".strip("/") or "x"
        if name in (".", ".."):
            continue
        path = folder / str(rng.choice(homes)) / name
        if path.exists() or path.is_symlink() or any(parent.is_file() for parent in path.parents if parent != folder):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if rng.random() < 0.05:
            path.symlink_to(rng.choice(["x.png", "..", "/etc/passwd", "../outside.png"]))
        else:
            path.write_bytes(_content(path.suffix.lower(), rng))


def _content(ending: str, rng: np.random.Generator) -> bytes:
    if rng.random() < 0.07:
        return bytes(rng.integers(0, 256, int(rng.integers(0, 60)), dtype=np.uint8))
    form = _FORMS.get(ending)
    if form is None and ending != ".npy":
        return str(rng.choice(_TEXTS)).encode()
    size = (int(rng.choice([16, 24])), int(rng.choice([16, 24])))
    rgb, label = draw_pair(rng, size, int(rng.integers(1, 5)))
    scale = int(rng.choice([1, 1, 85, 60]))
    kinds: list[Any] = [
        rgb,
        label * np.uint8(scale),
        label.astype(np.uint16) * 900,
        rgb[..., 0],
        np.stack([label] * 3, 2) * np.uint8(40),
    ]
    pixels = kinds[int(rng.choice(len(kinds), p=[0.35, 0.35, 0.1, 0.1, 0.1]))]
    if form is None:
        stream = io.BytesIO()
        np.save(stream, pixels)
        return stream.getvalue()
    if form in ("JPEG", "GIF", "BMP") and pixels.dtype == np.uint16:
        pixels = label
    return encoded(Image.fromarray(pixels), form)


def heaps(cases: int, seed: int = 0, first: int = 0) -> Tally:
    """Runs the cases from the number `first` on."""
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="heaps-") as home, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(first, first + cases):
            place = Path(home, str(number))
            (place / "data").mkdir(parents=True)
            fill(place / "data", np.random.default_rng([seed, number]))
            tally.cases += 1
            began = time.process_time()
            try:
                _run(place, tally)
            except Exception:
                tally.unexpected.append(f"case {number}, seed {seed}: {traceback.format_exc(limit=-4)}")
            if time.process_time() - began > _SECONDS:
                tally.unexpected.append(f"case {number}, seed {seed}: too slow")
            shutil.rmtree(place)
    return tally


def _run(place: Path, tally: Tally) -> None:
    data, out = place / "data", place / "out"
    try:
        result = init(data, out=out, preview=None)
    except MaskwrightError as error:
        assert not out.exists(), "refused, but written"
        assert "\n" not in str(error) and str(error).isprintable(), f"an odd message: {str(error)!a}"
        tally.refused += 1
        tally.errors[f"{type(error).__name__}: {str(error).rpartition('; ')[2][:50]}"] += 1
        return
    tally.understood += 1
    assert all(line.isprintable() for line in result.human().splitlines()), result.human()
    try:
        dataset = load_dataset(out)
    except MaskwrightError as error:
        tally.errors[f"opening: {str(error).rpartition('; ')[2][:50]}"] += 1
        # What was just described opens, but for names and links that no dataset may have.
        assert any(
            word in str(error)
            for word in ("symbolic link", "UTF-8", "control characters", "same name", "cannot be read")
        ), error
        return
    owners: dict[Path, str] = {}
    for sample in dataset.samples:
        assert sample.image.resolve().is_relative_to(data.resolve()), sample
        for file in sample.mask_files:
            assert file != sample.image, f"{sample.name}: its own mask"
            assert sample.page is not None or owners.setdefault(file, sample.name) == sample.name, f"{file}: of two"
            assert file.resolve().is_relative_to(data.resolve()), file
    labelled = [sample for sample in dataset.samples if sample.labelled]
    tally.pairs += len(labelled)
    for sample in labelled[:3]:
        try:
            dataset.read(sample)
        except MaskwrightError as error:
            assert str(error).isprintable()
    if not (data / "labels.csv").exists():
        with contextlib.suppress(MaskwrightError):
            labels_table(data)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns how many cases were unexpected."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case, to run one again")
    options = parser.parse_args(arguments)
    tally = heaps(options.cases, options.seed, options.first)
    print(
        f"{tally.cases} cases: {tally.understood} understood with {tally.pairs} pairs, {tally.refused} refused",
        end="; ",
    )
    print(f"{len(tally.unexpected)} unexpected", *tally.unexpected[:6], sep="\n  ")
    print(*(f"  {count:5} {text}" for text, count in tally.errors.most_common(20)), sep="\n")
    return len(tally.unexpected)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
