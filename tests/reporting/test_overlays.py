"""Overlays and contact sheets as files: what is drawn, that nothing is lost, and names that would do harm."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw

from helpers import draw_pair, fingerprint, make_dataset, write
from maskwright.core.classes import IGNORE, ClassInfo, ClassTree
from maskwright.core.dataset import Dataset
from maskwright.core.palette import colour_of, separation
from maskwright.core.sample import Sample
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError
from maskwright.reporting import lettering
from maskwright.reporting import overlays as module
from maskwright.reporting.overlays import full_legend, full_size, overlays, safe_colours, shrink_mask, thumbnails

GREY = np.full((120, 160, 3), 120, np.uint8)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def near(found: np.ndarray, colour: object, tolerance: int = 24) -> np.ndarray:
    return np.abs(found.astype(int) - np.asarray(colour)).max(-1) < tolerance


def tree(*colours: tuple[int, int, int]) -> ClassTree:
    return ClassTree(tuple(ClassInfo(i, f"class {i}", colour) for i, colour in enumerate(colours)))


def named(folder: Path, names: list[str], **changes: object) -> Dataset:
    """Samples of these names that share one image and one mask."""
    image, mask = draw_pair(np.random.default_rng(0))
    pair = write(folder / "i.png", image), write(folder / "m.png", mask)
    samples = tuple(Sample(name, *pair, **changes) for name in names)  # type: ignore[arg-type]
    return Dataset("names", folder, ClassTree.flat(["bg", "a", "b"]), samples)


def test_files_of_a_dataset(tmp_path: Path) -> None:
    dataset = load_dataset(make_dataset(tmp_path / "data", 12))
    before = fingerprint(tmp_path / "data")
    result = overlays(dataset, tmp_path / "out", progress=False)
    assert fingerprint(tmp_path / "data") == before
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {
        "legend.png",
        "sheets/train-001.jpg",
        "sheets/val-001.jpg",
        "sheets/test-001.jpg",
        *(f"overlays/{sample.name}.jpg" for sample in dataset.samples),
    }
    assert result.overlays == {
        sample.name: tmp_path / "out/overlays" / f"{sample.name}.jpg" for sample in dataset.samples
    }
    assert sorted(result.sheets) == sorted((tmp_path / "out/sheets").iterdir())
    assert result.legend.is_file() and result.own_colours and not result.skipped
    json.dumps(result.to_dict())
    # The same again is the same to the bit.
    assert fingerprint(overlays(dataset, tmp_path / "again", progress=False).folder) == fingerprint(tmp_path / "out")


def test_choice_of_samples(tmp_path: Path) -> None:
    dataset = load_dataset(make_dataset(tmp_path / "data", 16))
    one = overlays(dataset, tmp_path / "one", split="train", count=3, sheets=False, progress=False)
    train = [sample.name for sample in dataset.samples if sample.split == "train"]
    assert list(one.overlays) == [train[0], train[4], train[7]]
    assert one.sheets == () and not (tmp_path / "one/sheets").exists()
    assert len(overlays(dataset, tmp_path / "more", count=99, progress=False).overlays) == 16
    with pytest.raises(ConfigError, match="split 'trian' .*did you mean 'train'"):
        overlays(dataset, tmp_path / "x", split="trian")
    with pytest.raises(ConfigError, match="count is 0"):
        overlays(dataset, tmp_path / "x", count=0)
    with pytest.raises(ConfigError, match="never overwritten"):
        overlays(dataset, tmp_path / "one")


def test_what_cannot_be_drawn_is_skipped_with_its_reason(tmp_path: Path) -> None:
    dataset = load_dataset(make_dataset(tmp_path / "data", 8, layout="flat"))
    first, second, third, fourth, fifth, *_ = dataset.samples
    assert first.mask and second.mask and fifth.mask
    write(first.mask, np.zeros((9, 9), np.uint8))
    second.image.write_bytes(b"no image")
    write(fifth.mask, np.full((48, 64), 77, np.uint8))
    samples = (first, second, replace(third, mask=None), replace(fourth, status="exclude"), *dataset.samples[4:])
    result = overlays(replace(dataset, samples=samples), tmp_path / "out", progress=False)
    assert list(result.skipped) == [first.name, second.name, third.name, fifth.name]
    assert all(
        text in reason
        for text, reason in zip(
            ("is 9x9 but the image", "not a readable image", "has no mask", "unknown class ids: 77"),
            result.skipped.values(),
            strict=True,
        )
    )
    assert set(result.overlays) == {sample.name for sample in samples} - set(result.skipped)
    assert [path.name for path in result.sheets] == ["all-001.jpg"]


def test_nothing_at_all_to_draw_leaves_nothing_behind(tmp_path: Path) -> None:
    dataset = named(tmp_path / "data", ["a", "b"])
    (tmp_path / "data/i.png").unlink()
    with pytest.raises(DataError, match=r"none of the 2 samples can be drawn; the first one: .*i\.png: no such file"):
        overlays(dataset, tmp_path / "out", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_full_size_overlay_is_the_image_tinted_above_its_legend() -> None:
    image = np.full((200, 500, 3), 120, np.uint8)
    mask = np.zeros((200, 500), np.uint8)
    mask[50:150, 100:300], mask[:, 400:] = 2, IGNORE
    classes = ClassTree.flat(["bg", "absent", "there"])
    found = np.asarray(full_size(image, mask, classes, classes.colours))
    assert found.shape[1] == 500 and found.shape[0] > 200
    assert (found[:200][mask == 0] == 120).all()
    assert np.abs(found[100, 200] - (0.55 * 120 + 0.45 * np.array(colour_of(2)))).max() <= 1
    assert (found[50, 100:300] == colour_of(2)).all()
    assert 0.2 < (found[:200, 402:] == 255).all(2).mean() < 0.3  # hatching
    strip = found[200:]
    assert near(strip, colour_of(2)).sum() > 100 and not near(strip, colour_of(1)).any()


def test_the_legend_tells_the_share_of_each_class() -> None:
    classes = ClassTree.flat(["bg", "absent", "there"])
    counts = np.array([999_600, 0, 400, 0])
    assert module.legend_entries(classes, counts, 1_000_000) == [(0, "0: bg  100.0 %"), (2, "2: there  < 0.1 %")]
    assert module.legend_entries(classes, np.array([1, 0, 0, 3]), 4) == [
        (0, "0: bg  25.0 %"),
        (IGNORE, "ignored  75.0 %"),
    ]
    assert module.legend_entries(classes, counts) == [(0, "0: bg"), (2, "2: there")]


def test_a_narrow_picture_has_a_readable_legend() -> None:
    found = full_size(
        GREY[:, :3], np.zeros((120, 3), np.uint8), ClassTree.flat(["background", "a"]), np.zeros((2, 3), np.uint8)
    )
    assert found.width > 300 and (np.asarray(found)[:120, 3:] == 255).all()


def test_an_outline_of_one_pixel_keeps_its_colour_in_the_file(tmp_path: Path) -> None:
    mask = np.zeros((48, 64), np.uint8)
    mask[20, 10:50] = 1
    dataset = replace(named(tmp_path, ["a"]), classes=ClassTree.flat(["bg", "a", "b"]))
    write(tmp_path / "i.png", np.full((48, 64, 3), 120, np.uint8))
    write(tmp_path / "m.png", mask)
    found = pixels(overlays(dataset, tmp_path / "out", progress=False).overlays["a"])
    assert near(found[20, 12:48], colour_of(1), 45).all()


def test_what_no_jpeg_holds_is_skipped(tmp_path: Path) -> None:
    dataset = named(tmp_path / "data", ["long", "other"])
    write(tmp_path / "data/long.png", np.zeros((1, 70_000), np.uint8))
    long = Sample("long", tmp_path / "data/long.png", tmp_path / "data/long.png")
    result = overlays(replace(dataset, samples=(long, dataset.samples[1])), tmp_path / "out", progress=False)
    assert list(result.overlays) == ["other"] and "too long for a JPEG" in result.skipped["long"]


def test_a_speck_is_ringed_where_it_stands_and_noise_does_not_hide_the_picture() -> None:
    mask = np.zeros((120, 160), np.uint8)
    mask[30, 40], mask[80:110, 80:110], mask[76, 95] = 1, 2, 2
    colours = ClassTree.flat(["bg", "a", "b"]).colours
    ringed = module.ringed(GREY, mask, colours)
    rows, columns = np.nonzero((ringed != GREY).any(2))
    assert (abs(rows - 30) <= 12).all() and (abs(columns - 40) <= 12).all()
    assert near(ringed[30, 32:35], colours[1], 60).any() and (ringed[29:32, 39:42] == 120).all()
    noise = (np.random.default_rng(0).random(mask.shape) < 0.02).astype(np.uint8)
    assert (module.ringed(GREY, noise, colours) == GREY).all(2).mean() > 0.5
    dots = np.zeros((130, 156), np.uint8)
    dots[6::13, 6::13] = 1
    plain = np.full((*dots.shape, 3), 120, np.uint8)
    assert (module.ringed(plain, dots, colours) == plain).all(2).mean() > 0.3


def test_rings_grow_with_the_picture(tmp_path: Path) -> None:
    mask = np.zeros((1600, 2400), np.uint8)
    mask[800, 1200] = 1
    classes = ClassTree.flat(["bg", "a"])
    found = np.asarray(full_size(np.full((1600, 2400, 3), 120, np.uint8), mask, classes, classes.colours))[:1600]
    assert near(found, classes.colours[1]).sum() > 500


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 70), st.integers(1, 70), st.data())
def test_no_class_is_lost_in_a_thumbnail(height: int, width: int, low: int, narrow: int, data: st.DataObject) -> None:
    mask = np.zeros((height, width), np.uint8)
    mask[: height // 2] = IGNORE
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    mask[row, column] = 7
    found = shrink_mask(mask, min(narrow, width), min(low, height))
    assert found.shape == (min(low, height), min(narrow, width))
    assert 7 in found and set(np.unique(found)) <= {0, 7, IGNORE}
    # In its place, to a pixel.
    there = np.argwhere(found == 7).mean(0)
    assert (
        np.abs((there + 0.5) / found.shape - (np.array([row, column]) + 0.5) / mask.shape)
        <= 1.01 / np.array(found.shape)
    ).all()


@given(arrays(np.uint8, (4, 6), elements=st.sampled_from([0, 1, 2, IGNORE])), st.integers(1, 3))
def test_a_thumbnail_shows_the_rarest_class_of_each_block(blocks: np.ndarray, factor: int) -> None:
    same = np.repeat(np.repeat(blocks, factor, 0), factor, 1)
    assert (shrink_mask(same, 6, 4) == blocks).all()
    rank = {
        value: (value not in (0, IGNORE), value == IGNORE, -int((blocks == value).sum()), value)
        for value in (0, 1, 2, IGNORE)
    }
    expected = [
        [max(blocks[r : r + 2, c : c + 2].ravel().tolist(), key=rank.__getitem__) for c in (0, 2, 4)] for r in (0, 2)
    ]
    assert shrink_mask(blocks, 3, 2).tolist() == expected


def test_thumbnails_are_of_one_size_and_show_an_object_of_one_pixel() -> None:
    mask = np.zeros((1500, 3000), np.uint8)
    mask[900, 2000] = 1
    colours = ClassTree.flat(["bg", "a"]).colours
    small, drawn = thumbnails(np.full((1500, 3000, 3), 90, np.uint8), mask, colours)
    assert small.shape == drawn.shape == (110, 220, 3)
    rows, columns = np.nonzero(near(drawn, colours[1]))
    assert len(rows) > 12 and abs(rows.mean() - 66) < 2 and abs(columns.mean() - 146.7) < 2
    assert thumbnails(GREY[:9, :12], mask[:9, :12], colours)[1].shape == (165, 220, 3)
    assert thumbnails(GREY[:1, :], mask[:1, :160], colours)[1].shape == (1, 220, 3)


def test_a_sheet_holds_thirty_and_the_next_one_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr(
        module, "write_text", lambda draw, at, text, room, letters, tail="": written.append(text + tail)
    )
    dataset = named(
        tmp_path / "data", [f"n{i:02d}" for i in range(31)], provenance="box", status="exclude", edited=True
    )
    plain = replace(dataset.samples[30], provenance="hand", status="keep", edited=False)
    assert plain.mask
    plain = replace(plain, mask=write(tmp_path / "data/empty.png", np.zeros((48, 64), np.uint8)))
    result = overlays(replace(dataset, samples=(*dataset.samples[:30], plain)), tmp_path / "out", progress=False)
    assert [path.name for path in result.sheets] == ["all-001.jpg", "all-002.jpg"]
    assert written[:2] == ["n00 [box] [excluded] [edited]", "n01 [box] [excluded] [edited]"]
    assert written[30:33] == ["names: all, sheet 1", "n30", "names: all, sheet 2"]
    first, second = map(pixels, result.sheets)
    assert first.shape[1] > 5 * 440 and first.shape[0] > 6 * 165 and second.shape[1] < 500
    # The legend of the second has none of the classes that are on the first only.
    swatches = [near(sheet[-30:], colour_of(1)).sum() for sheet in (first, second)]
    assert swatches[0] > 100 and swatches[1] == 0
    # The last tile of the first: image and overlay.
    small, drawn = thumbnails(*dataset.read(dataset.samples[29]), dataset.classes.colours)
    x, y = 12 + 4 * 454, 42 + 5 * 198
    assert np.abs(first[y : y + 165, x : x + 220].astype(int) - small).mean() < 4
    assert np.abs(first[y : y + 165, x + 222 : x + 442].astype(int) - drawn).mean() < 4


HARMFUL = [
    "../../up",
    "/abs/olute",
    "C:\\windows\\x",
    "a/./b",
    "a//b",
    "..",
    "",
    "a\0b\n",
    "\ud800",
    "a" * 3000,
    "/".join(["d" * 190] * 30),
    "x",
    "X",
    "x.jpg",
    "x.jpg/y",
    "x:y",
    "x?y",
    "é",
    "e\u0301",
    "name.",
    " name",
    "漢" * 200,
]


def test_harmful_names_stay_in_the_folder_and_apart(tmp_path: Path) -> None:
    dataset = named(tmp_path / "data", HARMFUL, split="../s/../..")
    result = overlays(dataset, tmp_path / "deep/out", progress=False)
    assert list(result.overlays) == HARMFUL and not result.skipped
    files = {path for path in tmp_path.rglob("*") if path.is_file()} - set((tmp_path / "data").iterdir())
    assert set(result.overlays.values()) | {*result.sheets, result.legend} == files
    assert all(path.resolve().is_relative_to((tmp_path / "deep/out").resolve()) for path in files)
    portable = {unicodedata.normalize("NFC", str(path).casefold()) for path in result.overlays.values()}
    assert len(portable) == len(HARMFUL)


def test_splits_that_look_alike_have_their_own_sheets(tmp_path: Path) -> None:
    dataset = named(tmp_path / "data", ["a/1", "b"], split="a/")
    other = replace(dataset.samples[1], split="a:")
    result = overlays(replace(dataset, samples=(dataset.samples[0], other)), tmp_path / "out", progress=False)
    assert len({path.name.casefold() for path in result.sheets}) == 2


@settings(max_examples=60)
@given(st.text(max_size=60), st.integers(20, 300), st.sampled_from(["", " [box]"]))
def test_any_text_can_be_written_within_its_room(text: str, room: int, tail: str) -> None:
    shown, font = lettering.lettered(text, 14, room, tail)
    assert shown.isprintable() and shown.endswith(tail)
    assert font.getlength(shown) <= room or shown == f"…{tail}"
    ImageDraw.Draw(Image.new("RGB", (60, 30))).text((0, 0), shown, font=font)


def test_names_are_kept_where_a_font_has_them_and_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    first = lettering.fonts(16)[:1]
    monkeypatch.setattr(lettering, "fonts", lambda letters: first)

    def shown(text: str) -> str:
        return lettering.lettered(text, 14, 10_000)[0]

    assert shown("Scratch_01 (a)…") == "Scratch_01 (a)…"
    assert shown("café №5") == "cafe No5"
    assert shown("中\n\u202e\ud800") == r"\u4e2d\n\u202e\ud800"
    assert lettering.lettered("abcdefghij" * 9, 14, 100, " [x]")[0].startswith("abc")
    assert lettering.lettered("abcdefghij" * 9, 14, 100, " [x]")[0].endswith("hij [x]")
    assert len(shown("a" * 10**6)) == 401


def test_fonts_lying_in_the_working_folder_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, font = [], lettering.fonts(16)[0]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lettering.ImageFont, "load_default", lambda size: font)
    monkeypatch.setattr(lettering.ImageFont, "truetype", lambda name, size: opened.append(name) or font)
    (tmp_path / lettering.FONTS[0]).write_bytes(b"")
    assert len(lettering.fonts.__wrapped__(16)) == len(lettering.FONTS)
    assert opened == list(lettering.FONTS[1:])


@pytest.mark.parametrize(
    "colours",
    [
        [(200, 0, 0), (128, 118, 0), (110, 120, 0)],  # red and green
        [(9, 9, 9), (200, 60, 0), (130, 130, 130)],  # grey
        [(0, 0, 0), (250, 250, 0), (255, 255, 255)],  # white
        [(0, 0, 0), (0, 90, 200), (0, 90, 200)],
    ],
)
def test_colours_that_cannot_be_told_apart_are_replaced(colours: list[tuple[int, int, int]]) -> None:
    assert safe_colours(tree(*colours)).tolist() == [list(colour_of(i)) for i in range(3)]


@pytest.mark.parametrize(
    "colours",
    [
        [(0, 90, 200), (0, 90, 200), (230, 200, 0)],  # the first is not tinted
        [(128, 128, 128)],
        [(255, 255, 255), (0, 90, 200), (240, 120, 60), (120, 220, 200)],
        [colour_of(i) for i in range(254)],
        [colour_of(i) for i in (0, *range(99, 0, -1))],  # closer than 12, but no closer than those of the palette
    ],
)
def test_colours_that_can_be_told_apart_stay(colours: list[tuple[int, int, int]]) -> None:
    assert safe_colours(tree(*colours)).tolist() == [list(colour) for colour in colours]


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=3, max_size=24))
def test_drawn_colours_are_apart(colours: list[tuple[int, int, int]]) -> None:
    assert separation(safe_colours(tree(*colours))[1:]) >= 12


def test_the_legend_has_every_class_and_says_whose_colours_these_are() -> None:
    classes = ClassTree.flat([f"c{i}" for i in range(254)])
    own, palette = (np.asarray(full_legend(classes, classes.colours, own)) for own in (True, False))
    assert palette.shape[0] == own.shape[0] + 30
    found = {tuple(colour) for colour in np.unique(own.reshape(-1, 3), axis=0).tolist()}
    assert set(map(tuple, classes.colours[1:].tolist())) <= found
