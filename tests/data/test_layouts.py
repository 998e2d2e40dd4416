"""Detection of layouts and encodings, and the dataset.yaml that is written from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from helpers import FOLDERS, draw_pair, encoded, fingerprint, make_dataset, palette_image, write
from maskwright.base import strictyaml
from maskwright.core.dataset import DatasetFile
from maskwright.core.description import render
from maskwright.data import opening
from maskwright.data.init import init
from maskwright.data.layouts import detect
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError, SetupError

Mask = npt.NDArray[np.uint8]
COLOURS = np.array([(255, 0, 0), (255, 255, 0), (127, 0, 0), (0, 0, 255)], np.uint8)


def pairs(folder: Path, save: Callable[[Path, Mask], object], count: int = 6, classes: int = 3) -> list[Mask]:
    """Images of 64x80 with masks that `save` writes; returns the true masks."""
    rng = np.random.default_rng(7)
    masks = []
    for index in range(count):
        image, mask = draw_pair(rng, (64, 80), classes)
        write(folder / f"images/{index}.png", image)
        (folder / "masks").mkdir(exist_ok=True)
        save(folder / f"masks/{index}.png", mask)
        masks.append(mask)
    return masks


def reads(folder: Path, masks: list[Mask], share: float = 1.0) -> None:
    """What is detected, written and loaded again gives the true masks."""
    init(folder)
    dataset = load_dataset(folder)
    for sample, mask in zip(dataset.samples, masks, strict=True):
        found = dataset.read_mask(sample)
        assert (found == mask).mean() >= share


class TestLayouts:
    @pytest.mark.parametrize("layout", FOLDERS)
    def test_each(self, tmp_path: Path, layout: str) -> None:
        detection = detect(make_dataset(tmp_path, images=4, layout=layout))
        file = detection.file
        assert (file.images.folder, file.masks.folder) == FOLDERS[layout]
        assert file.layout == {"img_dir": "split_folders"}.get(layout, layout)
        assert (file.table == "labels.csv") == (layout == "table")
        splits = {"train": "train", "val": "val", "test": "test"}
        assert file.splits == (splits if file.layout == "split_folders" else {})
        assert file.masks.encoding == "index" and [c.id for c in file.classes] == [0, 1, 2]
        assert {"layout", "images", "masks", "encoding", "classes"} <= set(detection.reasons)

    def test_other_names_of_splits_and_folders(self, tmp_path: Path) -> None:
        make_dataset(tmp_path, images=4)
        (tmp_path / "img").rename(tmp_path / "JPEGImages")
        (tmp_path / "labels").rename(tmp_path / "Annotations_v2")
        for folder in ("JPEGImages", "Annotations_v2"):
            (tmp_path / folder / "val").rename(tmp_path / folder / "Validation")
        detection = detect(tmp_path)
        assert detection.file.splits == {"train": "train", "val": "Validation", "test": "test"}
        assert detection.file.masks.folder == "Annotations_v2"
        init(tmp_path)
        assert len(load_dataset(tmp_path).splits["val"]) == 1

    def test_two_sets_of_masks_are_the_users_choice(self, tmp_path: Path) -> None:
        make_dataset(tmp_path, images=4)
        (tmp_path / "labels").rename(tmp_path / "labels_coarse")
        write(tmp_path / "labels_precise/train/000.png", np.zeros((48, 64), np.uint8))
        for name in ("train/001", "val/002", "test/003"):
            write(tmp_path / f"labels_precise/{name}.png", np.eye(48, 64, dtype=np.uint8))
        with pytest.raises(
            ConfigError, match=r"2 sets of masks.*labels_coarse.*labels_precise.*choose with `masks` 'labels_coarse'"
        ):
            detect(tmp_path)
        assert detect(tmp_path, masks="labels_precise").file.masks.folder == "labels_precise"
        with pytest.raises(ConfigError, match="`masks` other: no such folder"):
            detect(tmp_path, masks="other")
        assert detect(tmp_path, images="img", masks="coarse").file.masks.folder == "labels_coarse"

    def test_of_two_persons_one_may_always_mark_more(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(3)
        for index in range(6):
            image, mask = draw_pair(rng, (64, 80), 2)
            more = mask | np.roll(mask, (2, 3), (0, 1))
            write(tmp_path / f"images/{index}.png", image)
            for name, marked in (("anna", mask), ("ben", more)):
                write(tmp_path / f"masks/{index}_{name}.png", (marked > 0).astype(np.uint8) * 255)
        with pytest.raises(ConfigError, match=r"2 sets of masks.*choose with `masks` 'anna' or `masks` 'ben'"):
            detect(tmp_path)

    def test_no_masks_yet(self, tmp_path: Path) -> None:
        write(tmp_path / "images/a.png", np.zeros((8, 8, 3), np.uint8))
        (tmp_path / "labels").mkdir()
        (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 0.1 0.1")
        detection = detect(tmp_path)
        assert detection.file.masks.folder is None
        assert "another format" in detection.reasons["masks"]
        init(tmp_path)
        assert load_dataset(tmp_path).samples[0].mask is None

    def test_no_images(self, tmp_path: Path) -> None:
        (tmp_path / "masks").mkdir()
        write(tmp_path / "masks/a.png", np.zeros((8, 8), np.uint8))
        (tmp_path / "images").mkdir()
        with pytest.raises(DataError, match=r"1 \.png in masks/ look like masks, and there are no images"):
            detect(tmp_path)
        with pytest.raises(DataError, match="no such folder"):
            detect(tmp_path / "none")

    def test_masks_drawn_on_the_stored_image(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        for stored, expected in ((True, "ignore"), (False, "apply")):
            folder = tmp_path / expected
            write(folder / "images/a.jpg", np.zeros((20, 30, 3), np.uint8), exif=exif)
            write(folder / "masks/a.png", np.zeros((20, 30) if stored else (30, 20), np.uint8))
            detection = detect(folder)
            assert detection.file.images.exif == expected and "rotated" in detection.reasons["exif"]
            init(folder)
            dataset = load_dataset(folder)
            dataset.read(dataset.samples[0])


# Name -> (how a mask is saved, the encoding that is detected, the share of pixels that must be right).
ENCODINGS: dict[str, tuple[Callable[[Mask], Image.Image | bytes], str, float]] = {
    "index": (Image.fromarray, "index", 1),
    "index as colour": (lambda m: Image.fromarray(m).convert("RGB"), "index", 1),
    "16-bit index": (lambda m: Image.fromarray(m.astype(np.uint16)), "index", 1),
    "palette": (lambda m: palette_image(m, COLOURS), "index", 1),
    "even levels": (lambda m: Image.fromarray((m * 127.5).astype(np.uint8)), "levels", 1),
    "even levels as colour": (lambda m: Image.fromarray((m * 127.5).astype(np.uint8)).convert("RGB"), "levels", 1),
    "colours": (lambda m: Image.fromarray(COLOURS[m]), "colour", 1),
    "colours as jpeg": (lambda m: encoded(COLOURS[m], "JPEG", quality=90, subsampling=0), "colour", 0.97),
}


class TestEncodings:
    @pytest.mark.parametrize("row", ENCODINGS)
    def test_three_classes(self, tmp_path: Path, row: str) -> None:
        make, encoding, share = ENCODINGS[row]

        def save(path: Path, mask: Mask) -> None:
            made = make(mask)
            path.write_bytes(made) if isinstance(made, bytes) else made.save(path)

        masks = pairs(tmp_path, save)
        detection = detect(tmp_path)
        assert detection.file.masks.encoding == encoding, detection.reasons
        assert len(detection.file.classes) == 3
        if encoding == "colour":  # ids go by frequency
            by_colour = {spec.colour: spec.id for spec in detection.file.classes}
            hexes = [f"#{r:02X}{g:02X}{b:02X}" for r, g, b in COLOURS[:3].tolist()]
            if row == "colours":
                assert set(by_colour) == set(hexes)
            order = np.argsort([-sum((mask == value).sum() for mask in masks) for value in range(3)])
            table = np.empty(3, np.uint8)
            table[order] = np.arange(3)
            masks = [table[mask] for mask in masks]
        reads(tmp_path, masks, share)

    @pytest.mark.parametrize("form", ["PNG", "JPEG", "1-bit"])
    def test_binary(self, tmp_path: Path, form: str) -> None:
        def save(path: Path, mask: Mask) -> None:
            image = Image.fromarray(mask * 255)
            path.write_bytes(encoded(image.convert("1"), "PNG") if form == "1-bit" else encoded(image, form))

        masks = pairs(tmp_path, save, classes=2)
        detection = detect(tmp_path)
        if form == "1-bit":
            assert detection.file.masks.encoding == "index"
        else:
            assert detection.file.masks.levels == {"0": 0, "255": 1}
            assert [spec.name for spec in detection.file.classes] == ["background", "foreground"]
            assert ("JPEG" in detection.reasons["encoding"]) == (form == "JPEG")
        reads(tmp_path, masks, 0.99)

    def test_colours_with_stray_pixels(self, tmp_path: Path) -> None:
        def save(path: Path, mask: Mask) -> None:
            pixels = COLOURS[mask].astype(int)
            rng = np.random.default_rng(int(path.stem))
            stray = rng.random(mask.shape) < 0.02
            pixels[stray] += rng.integers(-30, 31, (int(stray.sum()), 3))
            write(path, np.clip(pixels, 0, 255).astype(np.uint8))

        pairs(tmp_path, save, classes=4)
        detection = detect(tmp_path)
        assert {spec.colour for spec in detection.file.classes} == {"#FF0000", "#FFFF00", "#7F0000", "#0000FF"}
        assert "have another colour" in detection.reasons["encoding"]

    def test_ignore(self, tmp_path: Path) -> None:
        def save(path: Path, mask: Mask) -> None:
            with_ignore = mask.copy()
            with_ignore[:3] = 255
            write(path, with_ignore)

        pairs(tmp_path, save, classes=3)
        detection = detect(tmp_path)
        assert detection.file.ignore == 255 and [spec.id for spec in detection.file.classes] == [0, 1, 2]
        assert "255" in detection.reasons["ignore"]

    def test_ids_with_gaps_are_kept(self, tmp_path: Path) -> None:
        ids = np.array([0, 7, 300], np.uint16)
        masks = pairs(tmp_path, lambda path, mask: write(path, ids[mask]))
        assert [spec.id for spec in detect(tmp_path).file.classes] == [0, 7, 300]
        reads(tmp_path, masks)

    def test_all_empty_masks(self, tmp_path: Path) -> None:
        pairs(tmp_path, lambda path, mask: write(path, mask * 0))
        assert [spec.id for spec in detect(tmp_path).file.classes] == [0]

    @pytest.mark.parametrize("value", [255, 65535])
    def test_nothing_but_ignore(self, tmp_path: Path, value: int) -> None:
        pairs(tmp_path, lambda path, mask: write(path, np.full(mask.shape, value, np.uint16)))
        detect(tmp_path)

    @pytest.mark.parametrize(
        ("save", "what"),
        [
            (lambda path, mask: path.write_bytes(encoded(mask * 40, "JPEG")), "JPEG with .* no clear levels"),
            (
                lambda path, mask: write(path, (np.arange(mask.size).reshape(mask.shape) % 60000).astype(np.uint16)),
                "6 .png in masks/ are called masks, but hold photographs",
            ),
            (
                lambda path, mask: write(path, COLOURS[mask] if path.stem == "1" else mask),
                "5 masks hold ids .* the others colours",
            ),
        ],
    )
    def test_unclear_masks_are_the_users_choice(
        self, tmp_path: Path, save: Callable[[Path, Mask], object], what: str
    ) -> None:
        pairs(tmp_path, save)
        with pytest.raises((ConfigError, DataError), match=what):
            detect(tmp_path)

    def test_unreadable_masks_are_passed_over(self, tmp_path: Path) -> None:
        pairs(tmp_path, lambda path, mask: write(path, mask) if path.stem != "2" else path.write_bytes(b"x"))
        assert "5 of 6 masks" in detect(tmp_path).reasons["encoding"]
        for path in (tmp_path / "masks").iterdir():
            path.write_bytes(b"x")
        assert "no readable mask" in detect(tmp_path).reasons["classes"]

    def test_masks_beyond_16_bits_are_passed_over(self, tmp_path: Path) -> None:
        pairs(tmp_path, lambda path, mask: write(path.with_suffix(".tif"), mask.astype(np.int32) * 100_000))
        assert "no readable mask" in detect(tmp_path).reasons["classes"]


class TestNames:
    @pytest.mark.parametrize("file", ["classes.txt", "labels.txt"])
    def test_from_a_list(self, tmp_path: Path, file: str) -> None:
        make_dataset(tmp_path, images=4, classes=2)
        (tmp_path / file).write_text('sky\n\n  a "b" \\ # é\t: {c}, [d]\nno\n1e3\n', "utf-8")
        detection = detect(tmp_path)
        assert [(spec.id, spec.name) for spec in detection.file.classes] == [
            (0, "sky"),
            (1, 'a "b" \\ # é\t: {c}, [d]'),
            (2, "no"),
            (3, "1e3"),
        ]
        init(tmp_path)
        assert load_dataset(tmp_path).classes.names == ["sky", 'a "b" \\ # é\t: {c}, [d]', "no", "1e3"]

    @pytest.mark.parametrize("text", ["one\n", "a\na\na\n", ""])
    def test_a_list_that_does_not_fit_is_left_out(self, tmp_path: Path, text: str) -> None:
        make_dataset(tmp_path, images=4, classes=3)
        (tmp_path / "classes.txt").write_text(text)
        detection = detect(tmp_path)
        assert [spec.name for spec in detection.file.classes] == ["background", "class_1", "class_2"]
        assert "placeholders" in detection.reasons["classes"]


class TestWriting:
    @pytest.mark.parametrize("layout", FOLDERS)
    def test_what_is_written_is_what_was_detected(self, tmp_path: Path, layout: str) -> None:
        make_dataset(tmp_path, images=4, layout=layout)
        path, detection = init(tmp_path)
        assert strictyaml.validate(DatasetFile, strictyaml.read(path)) == detection.file
        for reason in detection.reasons.values():
            assert f"# {reason}" in path.read_text()
        with_file, without = load_dataset(tmp_path), opening.detect(tmp_path)
        assert without.file == detection.file
        path.unlink()
        assert load_dataset(tmp_path).version() == with_file.version()

    def test_hostile_names_stay_text(self, tmp_path: Path) -> None:
        evil = 'images_\nroot: "/" #\x01\x85\u2028é😀'
        file = detect(make_dataset(tmp_path, images=4)).file
        file = file.model_copy(update={"images": file.images.model_copy(update={"folder": evil})})
        text = render(file, {"images": f"because of {evil}"}, evil)
        read = strictyaml.validate(DatasetFile, strictyaml.parse(text, "x"))
        assert read.images.folder == evil and read.root == evil

    def test_never_overwrites(self, tmp_path: Path) -> None:
        make_dataset(tmp_path, images=4, describe=True)
        before = fingerprint(tmp_path)
        with pytest.raises(ConfigError, match="never overwritten"):
            init(tmp_path)
        assert fingerprint(tmp_path) == before

    def test_out_leaves_the_data_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        data = make_dataset(tmp_path / "data", images=4)
        before = fingerprint(data)
        monkeypatch.chdir(tmp_path)
        path, _ = init("data", out="views/one")
        assert path == Path("views/one/dataset.yaml")
        assert fingerprint(data) == before
        dataset = load_dataset("views/one")
        dataset.read(dataset.samples[0])
        monkeypatch.chdir(tmp_path / "views")
        assert load_dataset("one").version() == dataset.version()  # wherever one stands
        with pytest.raises(ConfigError, match="never overwritten"):
            init(data, out="one")

    def test_out_that_is_a_file(self, tmp_path: Path) -> None:
        make_dataset(tmp_path / "data", images=4)
        (tmp_path / "file").touch()
        with pytest.raises(SetupError, match="stands where"):
            init(tmp_path / "data", out=tmp_path / "file")

    def test_out_inside_the_data_is_relative(self, tmp_path: Path) -> None:
        make_dataset(tmp_path, images=4)
        path, _ = init(tmp_path, out=tmp_path)
        assert 'root: "."' in path.read_text()
