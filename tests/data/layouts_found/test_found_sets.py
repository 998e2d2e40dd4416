"""Which masks are read where an image has several: files of a class, of an object, instances, annotators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from folder_trees import Build, Tree, colours_of, differences, read_back

from maskwright.data.init import init
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError

ROWS: dict[str, Build] = {}
TABLE = [(0, 0, 0), (200, 20, 20), (20, 20, 200), (20, 200, 20)]


def row(name: str) -> Callable[[Build], Build]:
    def add(build: Build) -> Build:
        assert name not in ROWS
        ROWS[name] = build
        return build

    return add


def file_a_class(mask: str, words: tuple[str, ...]) -> Build:
    def build(tree: Tree) -> None:
        tree.exact = False
        for i in range(6):
            scene = tree.scene(len(words) + 1)
            tree.save(f"images/{i:04d}.jpg", scene.rgb)
            for number, word in enumerate(words, 1):
                tree.save(mask.format(i=i, c=word), scene.label == number)
            tree.expect(f"images/{i:04d}.jpg", scene.label)

    return build


ROWS |= {
    "a file a class, by suffixes": file_a_class("masks/{i:04d}_{c}.png", ("hair", "skin", "left_eye")),
    "a file a class, by prefixes": file_a_class("masks/{c}-{i:04d}.png", ("road", "car")),
    "a file a class, by folders": file_a_class("masks/{c}/{i:04d}.png", ("road", "car", "tree")),
    "a file a class, by folders of samples": file_a_class("masks/{i:04d}/{c}.png", ("road", "car", "tree")),
    "a file a class, by other padding": file_a_class("anno/{i:06d}_{c}.png", ("nose", "mouth")),
}


@row("a file a class, some without a file")
def _(tree: Tree) -> None:
    tree.exact = False
    for i in range(8):
        scene = tree.scene(4)
        tree.save(f"images/{i}.jpg", scene.rgb)
        label = scene.label.copy()
        for number, word in enumerate(("hair", "skin", "hat"), 1):
            if word == "hat" and i % 4 == 3:
                label[label == number] = 0
            else:
                tree.save(f"masks/{i:05d}_{word}.png", scene.label == number)
        tree.expect(f"images/{i}.jpg", label)


def file_an_object(image: str, mask: str, **more: object) -> Build:
    def build(tree: Tree) -> None:
        for i in range(6):
            scene = tree.scene(objects=2 + i % 3)
            tree.save(image.format(i=i), scene.rgb)
            for number in range(1, int(scene.objects.max()) + 1):
                texts = {"i": i, "k": number, "hex": f"{(i * 7919 + number) * 2654435761 % 2**32:08x}"}
                tree.save(mask.format(**texts), scene.objects == number)
            tree.expect(image.format(i=i), scene.label)

    return build


ROWS |= {
    "a file an object, in a folder of each sample": file_an_object(
        "{i:04x}a/images/{i:04x}a.png", "{i:04x}a/masks/{hex}.png"
    ),
    "a file an object, numbered": file_an_object("images/{i:03d}.jpg", "masks/{i:03d}_{k}.png"),
    "a file an object, in folders": file_an_object("images/{i:03d}.jpg", "masks/{i:03d}/{k}.png"),
    "a file an object, by a word and a number": file_an_object("images/p{i:03d}.jpg", "masks/p{i:03d}_obj{k:02d}.png"),
}


def instances(save: Callable[[Tree, str, np.ndarray], None]) -> Build:
    def build(tree: Tree) -> None:
        for i in range(8):
            scene = tree.scene(objects=3 + i % 4)
            tree.save(f"images/{i}.jpg", scene.rgb)
            save(tree, f"masks/{i}.png", scene.objects)
            tree.expect(f"images/{i}.jpg", scene.label)

    return build


ROWS |= {
    "instance numbers": instances(lambda tree, path, numbers: tree.save(path, numbers)),
    "instance numbers of 16 bits": instances(lambda tree, path, numbers: tree.save(path, numbers.astype(np.uint16))),
    "instance numbers far from each other": instances(
        lambda tree, path, numbers: tree.save(
            path, np.where(numbers > 0, numbers.astype(np.uint16) * 1000 + int(path[6:-4]) * 31, 0).astype(np.uint16)
        )
    ),
    "instances as arrays": instances(
        lambda tree, path, numbers: tree.save(path.replace(".png", ".npy"), numbers.astype(np.int32))
    ),
}


@row("classes beside instances")
def _(tree: Tree) -> None:
    for i in range(8):
        scene = tree.scene(objects=3 + i % 4)
        tree.save(f"images/{i}.jpg", scene.rgb)
        tree.save(f"instances/{i}.png", scene.objects.astype(np.uint16))
        tree.save(f"semantic/{i}.png", scene.label)
        tree.expect(f"images/{i}.jpg", scene.label)


@row("ids beside colours")
def _(tree: Tree) -> None:
    for i in range(6):
        scene = tree.pair(f"images/{i}.jpg", f"gt/{i}_labelIds.png", classes=4)
        tree.save(f"gt/{i}_color.png", colours_of(scene.label, TABLE))


@row("ids, colours and numbers of objects")
def _(tree: Tree) -> None:
    for i in range(6):
        scene = tree.scene(classes=4)
        label = scene.label.copy()
        halves = (label == 1) & (np.indices(label.shape)[0] % 48 > 15)
        tree.save(f"images/{i}.jpg", scene.rgb)
        tree.save(f"gt/{i}_labelIds.png", label)
        tree.save(f"gt/{i}_color.png", colours_of(label, TABLE))
        tree.save(f"gt/{i}_instanceIds.png", (label.astype(np.uint16) * 1000 + halves * (i + 1)).astype(np.uint16))
        tree.expect(f"images/{i}.jpg", label)


@row("masks beside a field of view")
def _(tree: Tree) -> None:
    view = np.hypot(*(np.indices((48, 64)) - np.array([24, 32])[:, None, None])) < 23
    for i in range(6):
        scene = tree.scene(classes=2)
        label = scene.label & view
        tree.save(f"images/{i:02d}.jpg", scene.rgb)
        tree.save(f"manual/{i:02d}_manual1.gif", label.astype(bool))
        tree.save(f"mask/{i:02d}_mask.gif", view)
        tree.expect(f"images/{i:02d}.jpg", label)


@row("masks beside markers")
def _(tree: Tree) -> None:
    for i in range(6):
        scene = tree.scene(classes=2)
        dots = np.zeros_like(scene.label, bool)
        rows, columns = np.nonzero(scene.label)
        dots[rows[len(rows) // 2], columns[len(rows) // 2]] = True
        tree.save(f"images/{i:02d}.jpg", scene.rgb)
        tree.save(f"seg/{i:02d}.png", scene.label.astype(bool))
        tree.save(f"centers/{i:02d}.png", dots)
        tree.expect(f"images/{i:02d}.jpg", scene.label)


@row("the class in red and green, the number of the object in blue")
def _(tree: Tree) -> None:
    tree.exact = False
    for i in range(6):
        scene = tree.scene(classes=4)
        lower = np.indices(scene.label.shape)[0] > 20
        number = np.where(scene.label > 0, 1 + (lower & (scene.label == 1)) + (lower & (scene.label == 2)), 0)
        mask = np.stack([scene.label * 10, scene.label * 5, number], 2).astype(np.uint8)
        tree.save(f"images/{i}.png", scene.rgb)
        tree.save(f"seg/{i}_seg.png", mask)
        tree.expect(f"images/{i}.png", scene.label)


def table(head: str, line: str, **splits: int) -> Build:
    def build(tree: Tree) -> None:
        lines = [head]
        words = [word for word, count in (splits or {"train": 6}).items() for _ in range(count)]
        for i, word in enumerate(words):
            scene = tree.scene()
            tree.save(f"pics/{i * 37 % 101}.jpg", scene.rgb)
            tree.save(f"ann/z{i * 53 % 97}.png", scene.label)
            split = {"valid": "val"}.get(word, word) if splits else None
            tree.expect(f"pics/{i * 37 % 101}.jpg", scene.label, split)
            lines.append(line.format(a=i * 37 % 101, b=i * 53 % 97, s=word))
        tree.text("files.csv", "\n".join(lines) + "\n")

    return build


ROWS |= {
    "a table of files": table("photo,annotation", "pics/{a}.jpg,ann/z{b}.png"),
    "a table of files by names": table("photo,annotation", "{a}.jpg,z{b}.png"),
    "a table with splits": table("nr,photo,annotation,part", "1,pics/{a}.jpg,ann/z{b}.png,{s}", train=4, valid=2),
    "a table of Windows": table("photo,annotation", "pics\\{a}.jpg,ann\\z{b}.png"),
}


@row("stacks of pages")
def _(tree: Tree) -> None:
    from PIL import Image

    scenes = [tree.scene(classes=2) for _ in range(4)]
    pages = [Image.fromarray(scene.rgb[..., 0]) for scene in scenes]
    masks = [Image.fromarray(scene.label * 255) for scene in scenes]
    for path, found in (("train-volume.tif", pages), ("train-labels.tif", masks)):
        tree.save(path, found[0], save_all=True, append_images=found[1:])
    for number, scene in enumerate(scenes):
        tree.expect(f"train-volume.tif#{number}", scene.label)


@pytest.mark.parametrize("name", ROWS)
def test_sets(name: str, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    ROWS[name](tree)
    read_back(tree, tmp_path / "out")


# --- questions ---


def _annotators(tree: Tree) -> list[tuple[str, np.ndarray]]:
    found = []
    for i in range(6):
        scene = tree.scene(classes=2)
        tree.save(f"{i:02d}.jpg", scene.rgb)
        tree.save(f"{i:02d}_1stHO.png", scene.label.astype(bool))
        tree.save(f"{i:02d}_2ndHO.png", np.roll(scene.label, 2, 1).astype(bool))
        found.append((f"{i:02d}.jpg", scene.label))
    return found


def test_two_annotators_are_a_question(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    truth = _annotators(tree)
    with pytest.raises(ConfigError) as error:
        init(tree.root, out=tmp_path / "out")
    text = str(error.value)
    assert "2 sets of masks" in text and "'1stHO'" in text and "'2ndHO'" in text and "6 images" in text
    assert not (tmp_path / "out").exists()
    for word, shift in (("1stHO", 0), ("2ndHO", 2)):
        tree.truth = {}
        for path, label in truth:
            tree.expect(path, np.roll(label, shift, 1))
        read_back(tree, tmp_path / word, masks=word)


def test_two_ways_to_divide_are_a_question(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    for i in range(6):
        scene = tree.scene(classes=4)
        other = (np.indices(scene.label.shape)[1] // 16).astype(np.uint8)
        tree.save(f"images/{i}.jpg", scene.rgb)
        tree.save(f"things/{i}.png", scene.label)
        tree.save(f"zones/{i}.png", other)
        tree.expect(f"images/{i}.jpg", scene.label)
    with pytest.raises(ConfigError, match=r"2 sets of masks fit the images: .*'things'.*'zones'|.*'zones'.*'things'"):
        init(tree.root, out=tmp_path / "out")
    read_back(tree, tmp_path / "things", masks="things")


def test_two_sets_beside_images_with_options_of_folders(tmp_path: Path) -> None:
    """`images` and `masks` that name one folder do not pair its files with themselves."""
    tree = Tree(tmp_path / "data")
    for i in range(4):
        tree.pair(f"both/{i}.jpg", f"both/{i}_x.png")
    read_back(tree, tmp_path / "out", images="both", masks="both")
    dataset = load_dataset(tmp_path / "out")
    assert all(sample.image != sample.mask for sample in dataset.samples)


def test_a_folder_of_photographs_in_both_roles_has_no_masks(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    for i in range(4):
        tree.save(f"both/{i}.jpg", tree.scene().rgb)
    from maskwright.errors import DataError

    with pytest.raises((ConfigError, DataError)):
        init(tree.root, out=tmp_path / "out", images="both", masks="both")
    assert not (tmp_path / "out").exists()


def test_masks_alone_have_no_images(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    for i in range(4):
        tree.save(f"a/{i}.png", tree.scene().label)
        tree.save(f"b/{i}.png", tree.scene().label)
    from maskwright.errors import DataError

    with pytest.raises(DataError, match="look like masks"):
        init(tree.root, out=tmp_path / "out")
    assert not differences(Tree(tmp_path / "none"), None) if (tmp_path / "none").exists() else True


def test_an_organ_and_the_tumour_in_it_are_a_question(tmp_path: Path) -> None:
    """Neither holds pixels of 255 that do not count: 255 is what is marked."""
    tree = Tree(tmp_path / "data")
    for i in range(6):
        scene = tree.scene(2)
        inner = scene.label.astype(bool) & (np.indices(scene.label.shape)[0] > 20)
        tree.save(f"images/{i}.jpg", scene.rgb)
        tree.save(f"masks/{i}_organ.png", scene.label.astype(bool))
        tree.save(f"masks/{i}_tumour.png", inner)
        tree.expect(f"images/{i}.jpg", scene.label)
    with pytest.raises(ConfigError, match="2 sets of masks.*'organ'.*'tumour'"):
        init(tree.root, out=tmp_path / "out")
    read_back(tree, tmp_path / "out", masks="organ")


# --- more than one kind of files in a set ---


def test_groups_of_files_with_encodings_of_their_own(tmp_path: Path) -> None:
    """0/1 in one folder and 0/255 in another one, of which the second has few files."""
    tree = Tree(tmp_path / "data")
    for i in range(40):
        folder, scale = ("a", 1) if i < 38 else ("b", 255)
        scene = tree.scene(classes=2)
        tree.save(f"{folder}/images/{i}.jpg", scene.rgb)
        tree.save(f"{folder}/masks/{i}.png", scene.label * np.uint8(scale))
        tree.expect(f"{folder}/images/{i}.jpg", scene.label)
    read_back(tree, tmp_path / "out")


def test_damaged_files_are_passed_over_and_named_by_the_audit(tmp_path: Path) -> None:
    from maskwright.data.auditing import audit

    tree = Tree(tmp_path / "data")
    for i in range(8):
        tree.pair(f"images/{i}.jpg", f"masks/{i}_m.png")
    (tree.root / "masks/3_m.png").write_bytes(b"\x89PNG\r\n\x1a\n junk")
    (tree.root / "images/5.jpg").write_bytes(b"")
    init(tree.root, out=tmp_path / "out")
    dataset = load_dataset(tmp_path / "out")
    assert {sample.image.name for sample in dataset.samples if sample.labelled} == {f"{i}.jpg" for i in range(8)}
    errors = [f.message for f in audit(dataset, progress=False).findings if f.severity.label == "error"]
    assert any("3_m.png" in text for text in errors) and any("5.jpg" in text for text in errors)


@pytest.mark.parametrize("ending", ["_obj", "-", "_", " ", "."])
def test_a_number_behind_the_name_is_an_object_and_not_another_image(ending: str, tmp_path: Path) -> None:
    """`1_1.png` belongs to 1.jpg and `11_1.png` to 11.jpg."""
    tree = Tree(tmp_path / "data")
    for name in (1, 11, 111, 2, 21):
        scene = tree.scene(objects=2 + name % 2)
        tree.save(f"images/{name}.jpg", scene.rgb)
        for number in range(1, int(scene.objects.max()) + 1):
            tree.save(f"masks/{name}{ending}{number}.png", scene.objects == number)
        tree.expect(f"images/{name}.jpg", scene.label)
    read_back(tree, tmp_path / "out")


def test_objects_and_classes_in_one_name_are_asked_or_right(tmp_path: Path) -> None:
    """`7_car_2.png`: a word that is a class, and the number of the object in it."""
    tree = Tree(tmp_path / "data", exact=False)
    for i in range(6):
        scene = tree.scene(3)
        tree.save(f"images/{i}.jpg", scene.rgb)
        for value, word in ((1, "car"), (2, "tree")):
            rows = np.indices(scene.label.shape)[0]
            middle = int(np.median(rows[scene.label == value]))
            for number, half in ((1, rows < middle), (2, rows > middle)):
                tree.save(f"masks/{i}_{word}_{number}.png", (scene.label == value) & half)
            scene.label[(scene.label == value) & (rows == middle)] = 0
        tree.expect(f"images/{i}.jpg", scene.label)
    try:
        init(tree.root, out=tmp_path / "out")
    except ConfigError:
        assert not (tmp_path / "out").exists()
        return
    assert not differences(tree, tmp_path / "out")


def test_masks_of_two_sizes_stay_pairs(tmp_path: Path) -> None:
    """A smaller mask belongs to its image by its name; the audit says that it does not fit."""
    tree = Tree(tmp_path / "data")
    for i in range(6):
        scene = tree.scene()
        tree.save(f"images/{i}.jpg", np.kron(scene.rgb, np.ones((2, 2, 1), np.uint8)))
        tree.save(f"masks/{i}.png", scene.label)
        tree.expect(f"images/{i}.jpg", scene.label)
    init(tree.root, out=tmp_path / "out")
    dataset = load_dataset(tmp_path / "out")
    assert all(sample.labelled for sample in dataset.samples)


def test_images_of_masks_that_are_photographs_are_not_read(tmp_path: Path) -> None:
    """Overlays in the only folder of masks are refused by name."""
    tree = Tree(tmp_path / "data")
    for i in range(6):
        scene = tree.scene()
        tree.save(f"images/{i}.jpg", scene.rgb)
        tree.save(f"masks/{i}.png", (scene.rgb * 0.6 + scene.label[..., None] * 40).astype(np.uint8))
    from maskwright.errors import DataError

    with pytest.raises(DataError, match="masks/ are called masks, but hold photographs, overlays"):
        init(tree.root, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_folder_of_grey_images_and_masks(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    for i in range(6):
        scene = tree.scene(2)
        tree.save(f"{i}.tif", scene.rgb[..., 0])
        tree.save(f"{i}_seg.tif", scene.label.astype(np.uint16))
        tree.expect(f"{i}.tif", scene.label)
    read_back(tree, tmp_path / "out")


def test_many_empty_masks_among_few_drawn_ones(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    for i in range(30):
        scene = tree.scene(2)
        label = scene.label if i in (4, 17) else scene.label * 0
        tree.save(f"images/{i}.png", scene.rgb)
        tree.save(f"images/{i}_mask.png", label * np.uint8(255))
        tree.expect(f"images/{i}.png", label)
    read_back(tree, tmp_path / "out")


def test_all_masks_but_one_are_empty_and_black_pictures_are_images(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "data")
    for i in range(8):
        scene = tree.scene(2)
        rgb = scene.rgb * 0 if i == 3 else scene.rgb
        tree.save(f"frames/{i:02d}.png", rgb)
        tree.save(f"gt/{i:02d}.png", scene.label * np.uint8(0 if i == 5 else 1))
        tree.expect(f"frames/{i:02d}.png", scene.label * np.uint8(0 if i == 5 else 1))
    read_back(tree, tmp_path / "out")
