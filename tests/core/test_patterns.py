"""Patterns of paths, files sorted and paired by them, and lists of splits: texts of a user, and of an enemy."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from maskwright.core.pattern_listing import pair_files, sort_files
from maskwright.core.patterns import Pattern, literal, loose, nfc
from maskwright.core.split_lists import Names, read_split_lists, splits_by_lists
from maskwright.errors import DataError

WORDS = {"train": "train|Training|tr", "val": "val"}


class TestMatch:
    @pytest.mark.parametrize(
        ("pattern", "path", "slots"),
        [
            ("images/{1}.jpg", "images/a.jpg", {"1": "a"}),
            ("images/{1}.jpg", "images/a/b.jpg", None),
            ("images/{1}.jpg", "images/.jpg", None),
            ("images/{1}.jpg", "images/a.jpgx", None),
            ("images/{1}.jpg", "images/axjpg", None),
            ("images/{1}.jpg", "x/images/a.jpg", None),
            ("{1}/{1}_x.png", "a/a_x.png", {"1": "a"}),
            ("{1}/{1}_x.png", "a/b_x.png", None),
            ("{1}_{2}.png", "a_b_c.png", {"1": "a", "2": "b_c"}),
            ("*/{1}.png", "any/a.png", {"1": "a"}),
            ("*/{1}.png", "any/more/a.png", None),
            ("a*{1}.png", "ab.png", {"1": "b"}),
            ("?{1}?.png", "{7}.png", {"1": "7"}),
            ("?{1}?.png", "7}.png", None),
            ("a+(b)[c]{1}.png", "a+(b)[c]1.png", {"1": "1"}),
            ("{class}/{1}.png", "car/1.png", {"class": "car", "1": "1"}),
            ("{1}\n.png", "a\n.png", {"1": "a"}),
        ],
    )
    def test_slots(self, pattern: str, path: str, slots: dict[str, str] | None) -> None:
        match = Pattern(pattern, {}).match(path)
        assert (match and dict(match.slots)) == slots

    @pytest.mark.parametrize(
        ("path", "split"),
        [
            ("train/a.png", "train"),
            ("TRAINING/a.png", "train"),
            ("tr/a.png", "train"),
            ("Val/a.png", "val"),
            ("trai/a.png", None),
            ("valid/a.png", None),
        ],
    )
    def test_splits(self, path: str, split: str | None) -> None:
        match = Pattern("{split}/{1}.png", WORDS).match(path)
        assert (match and match.split) == split

    def test_two_splits_in_one_path_are_none(self) -> None:
        pattern = Pattern("{split}/{split}_{1}.png", WORDS)
        assert pattern.match("train/val_1.png") is None
        match = pattern.match("train/Training_1.png")
        assert match is not None and match.split == "train" and dict(match.slots) == {"1": "1"}

    def test_a_slot_of_splits_without_words_fits_nothing(self) -> None:
        assert Pattern("{split}/{1}.png", {}).match("/a.png") is None

    def test_names_of_slots_in_their_order(self) -> None:
        assert Pattern("{split}/{2}/{1}_{class}_{2}*{object}.png", WORDS).slots == ("2", "1", "class", "object")

    @pytest.mark.parametrize(
        "text",
        [
            "{1}" * 6 + "x",
            "*" * 12 + "x",
            "{1}_{2}_{3}_{4}_{5}_{6}x",
            "{1}{2}{3}{1}{2}{3}x",
            "*a*a*a*a*a*ax",
            "{1}{2}{3}{4}{5}{6}{1}{2}{3}{4}{5}{6}x",
            "{1}{2}/{3}{4}/{5}{6}/{7}{8}/x",
        ],
    )
    @pytest.mark.parametrize("path", ["a" * 250, "_".join("a" * 100), "/".join(["a" * 200] * 4) + "/y"])
    def test_patterns_that_would_be_tried_for_ages_end(self, text: str, path: str) -> None:
        began = time.process_time()
        try:
            assert Pattern(text, {}).match(path) is None
        except DataError as error:
            assert "too many slots" in str(error)
        assert time.process_time() - began < 5

    def test_both_ways_to_match_say_the_same(self) -> None:
        rng = np.random.default_rng(3)
        pieces = ["{1}", "{2}", "{3}", "{1}", "*", "?", "{split}", "a", "b", "_", "/", "train", "0"]
        letters = ["a", "b", "_", "/", "train", "VAL", "0"]
        fitting = 0
        for _ in range(4000):
            pattern = Pattern("".join(rng.choice(pieces, rng.integers(1, 7))), WORDS)
            path = "".join(rng.choice(letters, rng.integers(1, 9)))
            found = pattern._regex.fullmatch(path)
            assert pattern._search(path) == (found.groupdict() if found else None), (pattern.text, path)
            fitting += found is not None
        assert fitting > 100

    @pytest.mark.parametrize("name", ["{a}*?", "a{1}b", "?", "{", "}{", "", "a[b]^$\\d+", "{split}"])
    def test_a_literal_fits_its_text(self, name: str) -> None:
        match = Pattern(f"x/{literal(name)}.png", WORDS).match(f"x/{name}.png")
        assert match is not None and match.split is None and not match.slots

    def test_forms_of_unicode(self) -> None:
        match = Pattern("e\u0301/{1}.png", {}).match(nfc("e\u0301/o\u0308.png"))
        assert match is not None and match.slots["1"] == "\u00f6"

    @pytest.mark.parametrize(
        ("text", "same"), [("Img_007", "img_7"), ("a0b00", "a0b0"), ("STRASSE", "straße"), ("9" * 500, "9" * 500)]
    )
    def test_loose(self, text: str, same: str) -> None:
        assert loose(text) == loose(same)

    def test_loose_keeps_numbers_apart(self) -> None:
        assert len({loose(text) for text in ("1", "10", "100", "01a", "1b", "0", "00x")}) == 7


def pair(
    images: list[str], masks: list[str], paths: list[str], left_out: tuple[str, ...] = ()
) -> tuple[dict[str, list[str]], list[str], list[str]]:
    groups = [[Pattern(text, WORDS) for text in texts] for texts in (images, masks, left_out)]
    files = sort_files(paths, *groups)
    found = pair_files(files)
    return {image: [path for path, _, _ in own] for image, own in found.masks.items()}, found.orphans, files.strange


class TestPairs:
    def test_what_is_a_mask_is_no_image(self) -> None:
        pairs, orphans, strange = pair(["{1}.png"], ["{1}_m.png"], ["a.png", "a_m.png", "b_m.png", "notes.txt"])
        assert pairs == {"a.png": ["a_m.png"]} and orphans == ["b_m.png"] and strange == ["notes.txt"]

    def test_a_file_is_never_its_own_mask(self) -> None:
        pairs, orphans, _ = pair(["{1}.png"], ["{1}.png"], ["a.png", "b.png"])
        assert pairs == {} and orphans == ["a.png", "b.png"]

    def test_never_across_splits(self) -> None:
        pairs, orphans, _ = pair(
            ["{split}/i/{1}.png"], ["{split}/m/{1}.png"], ["train/i/1.png", "val/i/1.png", "val/m/1.png", "val/m/2.png"]
        )
        assert pairs == {"train/i/1.png": [], "val/i/1.png": ["val/m/1.png"]} and orphans == ["val/m/2.png"]

    def test_exact_names_before_those_that_are_nearly_the_same(self) -> None:
        pairs, orphans, _ = pair(
            ["i/{1}.png"], ["m/{1}.png"], ["i/1.png", "i/01.png", "m/1.png", "m/01.png", "m/001.png"]
        )
        assert pairs == {"i/1.png": ["m/1.png"], "i/01.png": ["m/01.png"]} and orphans == ["m/001.png"]

    def test_a_tie_is_no_pair(self) -> None:
        pairs, orphans, _ = pair(["*/{1}.jpg"], ["m/{1}.png"], ["x/a.jpg", "y/a.jpg", "m/a.png"])
        assert pairs == {"x/a.jpg": [], "y/a.jpg": []} and orphans == ["m/a.png"]

    def test_left_out(self) -> None:
        pairs, _, strange = pair(["{1}/{2}.jpg"], [], ["a/b.jpg", "overlay/b.jpg"], ("overlay/{1}.jpg",))
        assert pairs == {"a/b.jpg": []} and not strange

    def test_arrays_are_no_images(self) -> None:
        assert pair(["{1}.npy", "{1}.png"], [], ["a.npy", "b.png"])[0] == {"b.png": []}


class TestLists:
    @pytest.mark.parametrize(
        ("entry", "found"),
        [
            ("a", "images/a.jpg"),
            ("a.jpg", "images/a.jpg"),
            ("images/a", "images/a.jpg"),
            ("./images/a.jpg", "images/a.jpg"),
            ("/home/x/images/a.jpg", "images/a.jpg"),
            ("images\\a.jpg", "images/a.jpg"),
            ("A", "images/a.jpg"),
            ("b", None),
            ("v/b", "v/b.jpg"),
            ("u/b.jpg", "u/b.jpg"),
            ("7", "images/0007.jpg"),
            ("", None),
            ("..", None),
        ],
    )
    def test_names(self, entry: str, found: str | None) -> None:
        """By a path, a part of it from the end, or the name; a name that two images have means neither."""
        names = Names((path, ()) for path in ("images/a.jpg", "images/0007.jpg", "u/b.jpg", "v/b.jpg"))
        assert names.find([entry]) == found

    @pytest.mark.parametrize(
        ("name", "text", "found"),
        [
            ("a.txt", "x\n\n y.jpg z.png\n", {"val": [["x"], ["y.jpg", "z.png"]]}),
            ("a.txt", "\ufeffx\r\ny\r\n", {"val": [["x"], ["y"]]}),
            ("a.csv", "id,fold\nx,Train\ny,TEST\n", {"train": [["x"]], "test": [["y"]]}),
            ("a.csv", "x\ny\n", {"val": [["x"], ["y"]]}),
            ("a.json", '{"train": ["x"], "dev": ["y", 3], "other": ["z"]}', {"train": [["x"]], "val": [["y"], ["3"]]}),
            ("a.json", '["x"]', {}),
            ("a.yaml", "testing: [x, y]\nval: 3\n", {"test": [["x"], ["y"]]}),
            ("a.txt", "", {}),
        ],
    )
    def test_files(self, tmp_path: Path, name: str, text: str, found: dict[str, list[list[str]]]) -> None:
        (tmp_path / name).write_text(text, "utf-8", newline="")
        assert read_split_lists(tmp_path / name, "val") == found

    @pytest.mark.parametrize(
        ("name", "data"),
        [
            ("a.txt", b"\xff\xfe\x00x"),
            ("a.json", b"{"),
            ("a.json", b"[" * 100_000),
            ("a.yaml", b"a: [b"),
            ("a.yaml", b"!!python/object/apply:os.system ['true']"),
        ],
    )
    def test_what_cannot_be_read_is_one_line(self, tmp_path: Path, name: str, data: bytes) -> None:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError) as error:
            read_split_lists(tmp_path / name, "val")
        assert str(tmp_path / name) in str(error.value)

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(DataError):
            read_split_lists(tmp_path / "none.txt", "val")

    def test_the_rest_and_what_is_lost(self, tmp_path: Path) -> None:
        (tmp_path / "val.txt").write_text("a\nnobody\n")
        images = [("i/a.jpg", ()), ("i/b.jpg", ())]
        found, lost = splits_by_lists(tmp_path, {"train": "*", "val": "val.txt"}, images)
        assert found == {"i/a.jpg": "val", "i/b.jpg": "train"} and lost == {"val": 1}
