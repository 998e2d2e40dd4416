"""Datasets of patterns in use: files added later, audit, conversion, edits and versions; hostile descriptions; what `init`
asks, says and draws."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from folder_trees import Tree, colours_of, differences, read_back
from PIL import Image

from helpers import fingerprint
from maskwright.cli import main
from maskwright.core.dataset import Dataset
from maskwright.core.edits import add_edits, mask_edit
from maskwright.data.auditing import audit
from maskwright.data.convert import convert
from maskwright.data.init import init, labels_table
from maskwright.data.layouts.files import role_of
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError, MaskwrightError


def suffixes(tree: Tree, start: int = 0, count: int = 6) -> None:
    for i in range(start, start + count):
        tree.pair(f"p/{i:03d}_rgb.jpg", f"p/{i:03d}_ids.png")


def parts(tree: Tree) -> None:
    tree.exact = False
    for i in range(5):
        scene = tree.scene(4)
        tree.save(f"images/{i}.png", scene.rgb)
        for number, word in enumerate(("hair", "skin", "hat"), 1):
            tree.save(f"masks/{i:04d}_{word}.png", scene.label == number)
        tree.expect(f"images/{i}.png", scene.label)


def pages(tree: Tree) -> None:
    scenes = [tree.scene(2) for _ in range(4)]
    found = [
        ("train-volume.tif", [Image.fromarray(scene.rgb[..., 1]) for scene in scenes]),
        ("train-labels.tif", [Image.fromarray(scene.label * 255) for scene in scenes]),
    ]
    for path, images in found:
        tree.save(path, images[0], save_all=True, append_images=images[1:])
    for number, scene in enumerate(scenes):
        tree.expect(f"train-volume.tif#{number}", scene.label)


def channels(tree: Tree) -> None:
    tree.exact = False
    for i in range(6):
        scene = tree.scene(classes=4)
        lower = np.indices(scene.label.shape)[0] > 20
        number = np.where(scene.label > 0, 1 + (lower & (scene.label < 3)), 0)
        tree.save(f"images/{i}.png", scene.rgb)
        tree.save(f"seg/{i}_seg.png", np.stack([scene.label * 10, scene.label * 5, number], 2).astype(np.uint8))
        tree.expect(f"images/{i}.png", scene.label)


KINDS = {"suffixes": suffixes, "parts": parts, "pages": pages, "channels": channels}


@pytest.fixture(params=KINDS)
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    made = Tree(tmp_path / "data")
    KINDS[request.param](made)
    read_back(made, tmp_path / "out")
    return made


def load_yaml(folder: Path) -> dict[str, object]:
    import yaml

    found: dict[str, object] = yaml.safe_load((folder / "dataset.yaml").read_text())
    return found


def ids_of(dataset: Dataset) -> dict[str, np.ndarray]:
    return {
        sample.name: np.array([*dataset.classes.ids] + [255] * 256)[dataset.read_mask(sample)]
        for sample in dataset.samples
        if sample.labelled
    }


class TestUse:
    def test_audit(self, tree: Tree, tmp_path: Path) -> None:
        found = audit(load_dataset(tmp_path / "out"), progress=False)
        assert not [finding for finding in found.findings if finding.severity.label == "error"], found.findings

    @pytest.mark.parametrize("form", ["index", "coco"])
    def test_convert(self, tree: Tree, tmp_path: Path, form: str) -> None:
        before = fingerprint(tree.root)
        convert(tmp_path / "out", tmp_path / form, to=form, progress=False)
        first, second = load_dataset(tmp_path / "out"), load_dataset(tmp_path / form)
        assert len(second.samples) == len(first.samples)

        def named(dataset: Dataset) -> list[bytes]:
            names = np.array([*dataset.classes.names, *["?"] * 256], "U20")
            return sorted(names[dataset.read_mask(s)].tobytes() for s in dataset.samples)

        assert named(first) == named(second)
        assert fingerprint(tree.root) == before

    def test_edits(self, tree: Tree, tmp_path: Path) -> None:
        dataset = load_dataset(tmp_path / "out")
        before, masks = dataset.version(), ids_of(dataset)
        sample = dataset.samples[1]
        mask = dataset.read_mask(sample).copy()
        mask[:4] = 1
        add_edits(tmp_path / "out", [mask_edit(tmp_path / "out", sample, mask, dataset.classes)], "test")
        edited = load_dataset(tmp_path / "out")
        assert (edited.read_mask(edited.samples[1]) == mask).all() and edited.version() != before
        assert all((ids_of(edited)[name] == masks[name]).all() for name in masks if name != sample.name)

    def test_versions_change_with_any_file(self, tree: Tree, tmp_path: Path) -> None:
        version = load_dataset(tmp_path / "out").version()
        assert load_dataset(tmp_path / "out").version() == version
        for path in sorted(path for path in tree.root.rglob("*") if path.is_file())[-3:]:
            kept = path.read_bytes()
            path.write_bytes(kept + b"\0")
            assert load_dataset(tmp_path / "out").version() != version, path
            path.write_bytes(kept)
        assert load_dataset(tmp_path / "out").version() == version


class TestLater:
    def test_a_file_added_later_is_found(self, tmp_path: Path) -> None:
        tree = Tree(tmp_path / "data")
        suffixes(tree)
        read_back(tree, tmp_path / "out")
        suffixes(tree, 100, 2)
        assert len(load_dataset(tmp_path / "out").samples) == 8 and not differences(tree, tmp_path / "out")

    def test_a_part_of_a_class_nobody_knows_is_a_finding(self, tmp_path: Path) -> None:
        tree = Tree(tmp_path / "data")
        parts(tree)
        read_back(tree, tmp_path / "out")
        tree.save("masks/0001_shoe.png", np.ones((48, 64), bool))
        dataset = load_dataset(tmp_path / "out")
        assert not differences(tree, tmp_path / "out")
        assert any("'shoe' is no class" in note.message for note in dataset.notes)

    def test_a_second_mask_of_an_image_is_refused(self, tmp_path: Path) -> None:
        tree = Tree(tmp_path / "data")
        for i in range(5):
            tree.pair(f"p/{i:02d}_rgb.jpg", f"p/{i:02d}_ids.png")
        read_back(tree, tmp_path / "out")
        tree.save("p/3_ids.png", tree.scene().label)  # the same number without its zero
        with pytest.raises(DataError, match="is a mask of the same image"):
            load_dataset(tmp_path / "out")

    def test_a_link_out_of_the_folder_is_followed_where_the_description_says_so(self, tmp_path: Path) -> None:
        tree = Tree(tmp_path / "data")
        suffixes(tree)
        tree.save("../outside.png", tree.scene().label)
        (tree.root / "p/000_ids.png").unlink()
        (tree.root / "p/000_ids.png").symlink_to(tmp_path / "outside.png")
        init(tree.root, out=tmp_path / "out")
        description = tmp_path / "out" / "dataset.yaml"
        text = description.read_text()
        assert "\nlinks: follow" in text  # `init` has said where they lead
        files = [file for sample in load_dataset(tmp_path / "out").samples for file in sample.mask_files]
        assert any(file.resolve() == tmp_path / "outside.png" for file in files)
        description.write_text(text.replace("\nlinks: follow", "\nlinks: refuse"))
        with pytest.raises(DataError, match="link"):
            load_dataset(tmp_path / "out")


class TestHostileDescriptions:
    @pytest.mark.parametrize(
        "pattern",
        [
            "../{1}.png",
            "/etc/{1}",
            "{1}" * 13,
            "*" * 13,
            "{1}{2}{3}{4}{5}{6}{7}{8}x",
            "*a*a*a*a*a*a*a*a*a*ax",
            "{1}{2}{3}{4}{1}{2}{3}{4}x",
            "(a+)+$",
            "{class",
            "",
            "p/{1}_rgb.jpg",
        ],
    )
    @pytest.mark.parametrize("role", ["images", "masks", "left_out"])
    def test_patterns(self, role: str, pattern: str, tmp_path: Path) -> None:
        """They end soon, with a dataset of files inside or with one line; and nothing is paired with itself."""
        import yaml

        tree = Tree(tmp_path / "data")
        suffixes(tree)
        for i in range(3):
            tree.save(f"{'a' * 200}{i}.png", tree.scene().label)
        init(tree.root, out=tmp_path / "out")
        described = load_yaml(tmp_path / "out")
        if role == "left_out":
            described["left_out"] = [pattern]
        else:
            described[role]["files"] = [pattern]  # type: ignore[index]
        (tmp_path / "out/dataset.yaml").write_text(yaml.safe_dump(described))
        began = time.process_time()
        try:
            dataset = load_dataset(tmp_path / "out")
        except MaskwrightError as error:
            assert str(error).isprintable() or "\n" in str(error)
        else:
            for sample in dataset.samples:
                files = [sample.image, *sample.mask_files]
                assert all(file.resolve().is_relative_to(tree.root.resolve()) for file in files)
                assert sample.image not in sample.mask_files
        assert time.process_time() - began < 10

    @pytest.mark.parametrize("list_", ["../secret.txt", "/etc/passwd", "none.txt"])
    def test_lists_outside(self, list_: str, tmp_path: Path) -> None:
        import yaml

        tree = Tree(tmp_path / "data")
        suffixes(tree)
        init(tree.root, out=tmp_path / "out")
        (tmp_path / "secret.txt").write_text("000\n001\n")
        described = load_yaml(tmp_path / "out")
        described["lists"] = {"train": list_}
        (tmp_path / "out/dataset.yaml").write_text(yaml.safe_dump(described))
        with pytest.raises(DataError):
            load_dataset(tmp_path / "out")


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


class TestCommand:
    def test_preview_shows_three_rows(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        tree = Tree(tmp_path / "data")
        suffixes(tree)
        code, out, _ = run(capsys, "init", tree.root, "--out", tmp_path / "out", "--preview", tmp_path / "p.png")
        assert code == 0 and "6 of 6 images have a mask" in out
        with Image.open(tmp_path / "p.png") as picture:
            assert picture.format == "PNG" and picture.width == 1200
            row = round(48 * 1200 / 128)
            assert picture.height == 3 * row
            pixels = np.asarray(picture.convert("RGB")).astype(int)
        # On the left the image as it is, on the right tinted where there are objects.
        for number, name in enumerate((0, 3, 5)):
            with Image.open(tree.root / f"p/{name:03d}_rgb.jpg") as image:
                expected = np.asarray(image.resize((600, row), Image.Resampling.BOX)).astype(int)
            left = pixels[number * row : (number + 1) * row, :600]
            right = pixels[number * row : (number + 1) * row, 600:]
            assert np.abs(left - expected).mean() < 8
            assert np.abs(left - right).mean() > 3

    def test_table(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        tree = Tree(tmp_path / "data")
        for i in range(4):
            tree.pair(f"train/i/{i}.jpg", f"train/m/{i}.png", "train")
        tree.save("train/i/alone.jpg", tree.scene().rgb)
        tree.expect("train/i/alone.jpg", None, "train")
        code, out, _ = run(capsys, "init", tree.root, "--table", "--json")
        assert code == 0 and json.loads(out)["file"] == str(tree.root / "labels.csv")
        with (tree.root / "labels.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert {row["image"]: (row["mask"], row["split"]) for row in rows} == {
            "train/i/alone.jpg": ("", "train"),
            **{f"train/i/{i}.jpg": (f"train/m/{i}.png", "train") for i in range(4)},
        }
        code, _, err = run(capsys, "init", tree.root, "--table")
        assert code == 2 and "never overwritten" in err
        read_back(tree, tmp_path / "out")

    def test_a_table_of_strange_names_is_read_back(self, tmp_path: Path) -> None:
        tree = Tree(tmp_path / "data")
        for i in range(3):
            tree.pair(f'i/a, "{i}".jpg', f'm/a, "{i}".png')
        labels_table(tree.root)
        read_back(tree, tmp_path / "out")

    def test_json(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        tree = Tree(tmp_path / "data")
        suffixes(tree)
        code, out, _ = run(capsys, "init", tree.root, "--out", tmp_path / "out", "--json")
        found = json.loads(out)
        assert code == 0 and (found["images"], found["pairs"], found["exact"]) == (6, 6, 1.0)
        assert sum(found["shares"].values()) == pytest.approx(1) and found["left_out"] == []

    def test_questions_exit_with_2_and_write_nothing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        tree = Tree(tmp_path / "data")
        for i in range(5):
            scene = tree.scene(2)
            tree.save(f"{i}.jpg", scene.rgb)
            tree.save(f"{i}_anna.png", scene.label.astype(bool))
            tree.save(f"{i}_bob.png", np.roll(scene.label, 3, 0).astype(bool))
            tree.expect(f"{i}.jpg", scene.label)
        before = fingerprint(tree.root)
        code, out, err = run(capsys, "init", tree.root)
        assert code == 2 and not out and "--masks" in err and "'anna'" in err and "'bob'" in err
        assert len(err.strip().splitlines()) == 1 and fingerprint(tree.root) == before
        code, _, _ = run(capsys, "init", tree.root, "--out", tmp_path / "out", "--masks", "anna")
        assert code == 0 and not differences(tree, tmp_path / "out")

    def test_names_that_do_not_pair_are_shown(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        tree = Tree(tmp_path / "data")
        for i in range(5):
            tree.save(f"a/{'qwert'[i]}x.jpg", tree.scene().rgb)
            tree.save(f"b/{'yuiop'[i]}z.png", tree.scene().label)
        code, _, err = run(capsys, "init", tree.root)
        assert code == 2 and "a/qx.jpg" in err and "b/" in err and "labels.csv" in err and "--table" in err
        assert not (tree.root / "dataset.yaml").exists()

    def test_nothing_to_understand_says_what_is_there(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "a.docx").touch()
        (tmp_path / "b.txt").touch()
        (tmp_path / "c.txt").touch()
        code, _, err = run(capsys, "init", tmp_path)
        assert code == 3 and "2 .txt, 1 .docx" in err


class TestRoles:
    @pytest.mark.skipif("MASKWRIGHT_REAL_DATA" not in os.environ, reason="needs real photographs and masks")
    @pytest.mark.parametrize("name", ["skin", "faces", "steel", "skin_raw", "faces_raw"])
    def test_real_photographs_and_masks(self, name: str) -> None:
        home = Path(os.environ["MASKWRIGHT_REAL_DATA"]) / name
        roles: dict[str, list[str]] = {}
        places = [place for place in sorted(home.iterdir()) if place.is_dir()]
        for path in (path for place in places for path in sorted(place.rglob("*"))[:700:7]):
            if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
                continue
            kind = "image" if path.relative_to(home).parts[0] in ("img", "images") else "mask"
            with Image.open(path) as image:
                plain = image.mode in ("1", "L", "P")
                array = np.asarray(image if plain else image.convert("RGB")).astype(np.int64)
                index = image.mode in ("1", "P")
            values = array if plain else array[..., 0] << 16 | array[..., 1] << 8 | array[..., 2]
            roles.setdefault(kind, []).append(role_of(values[:512, :512], index))
        assert {*roles["mask"]} <= {"mask", "unsure"} and {*roles["image"]} <= {"image", "unsure"}, name
        assert "mask" in roles["mask"] and roles["image"].count("image") > 0.8 * len(roles["image"])

    @pytest.mark.parametrize("seed", range(5))
    def test_noise_and_regions(self, seed: int) -> None:
        tree = Tree(Path(), rng=np.random.default_rng(seed))
        scene = tree.scene(4)
        grey = scene.rgb[..., 1].astype(np.int64)
        assert role_of(grey) == "image" and role_of(scene.label.astype(np.int64), True) == "mask"
        colours = colours_of(scene.label, [(9, 8, 7), (200, 1, 2), (1, 200, 3), (4, 4, 200)]).astype(np.int64)
        assert role_of(colours[..., 0] << 16 | colours[..., 1] << 8 | colours[..., 2]) == "mask"
        assert role_of(np.zeros((5, 5), np.int64)) == "unsure" and role_of(grey[:, :1]) == "unsure"


def test_other_files_beside_the_pairs_are_named(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    suffixes(tree)
    tree.save("q/strange name.bmp", tree.scene().label)
    result = read_back(tree, tmp_path / "out")
    assert any("q" in text for text in result.detection.left_out) or "1 mask of no image" in result.human()


def test_the_question_of_classes_or_objects_writes_nothing(tmp_path: Path) -> None:
    """Numbers that count in each mask, of which each is one region: nobody can know."""
    tree = Tree(tmp_path / "data")
    for i in range(8):
        scene = tree.scene(objects=2 + i % 3)
        tree.save(f"images/{i}.jpg", scene.rgb * 0 + tree.rng.integers(0, 255, scene.rgb.shape, np.uint8))
        tree.save(f"masks/{i}.png", scene.objects)
    try:
        result = init(tree.root, out=tmp_path / "out")
    except ConfigError as error:
        assert "may be classes or numbers of objects" in str(error) and not (tmp_path / "out").exists()
    else:
        assert load_yaml(tmp_path / "out")["masks"]["encoding"] == "objects", result.human()  # type: ignore[index]


@pytest.mark.parametrize("images", [None, "images"])
def test_arrays_are_never_images(tmp_path, images):
    (tmp_path / "images").mkdir()
    np.save(tmp_path / "images" / "a.npy", np.zeros((9, 9), np.uint8))
    with pytest.raises(MaskwrightError, match=r"1 \.npy"):
        init(tmp_path, images=images, preview=None)
    assert not (tmp_path / "dataset.yaml").exists()


def test_a_table_that_names_a_file_with_too_long_a_name(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a", "b", "c"):
        Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "images" / f"{name}.png")
    rows = "".join(f"images/{name}.png,{'m' * 300}.png\n" for name in ("a", "b", "c"))
    (tmp_path / "labels.csv").write_text("image,mask\n" + rows)
    with contextlib.suppress(MaskwrightError):  # an error in one line, or a description without masks
        init(tmp_path, preview=None)
    (tmp_path / "dataset.yaml").write_text(
        "layout: table\ntable: labels.csv\nimages: {folder: images}\nmasks: {encoding: index}\n"
        "classes: [{id: 0, name: a}, {id: 1, name: b}]\n"
    )
    with pytest.raises(DataError, match=r"labels\.csv.*longer than a file name can be") as refused:
        load_dataset(tmp_path)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 700
