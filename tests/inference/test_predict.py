"""`predict`: what is found, what is written, what is skipped, and what is refused."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from helpers import draw_pair, fingerprint, write
from maskwright.base.storage import Journal
from maskwright.core.classes import ClassTree
from maskwright.core.geometry import Geometry
from maskwright.errors import ConfigError, DataError, LockedError, SetupError
from maskwright.inference import book, inputs
from maskwright.inference import predict as module
from maskwright.inference.loading import load
from maskwright.inference.predict import predict
from maskwright.modeling.models.build import ModelSpec, build_model
from maskwright.modeling.models.segmenter import Preprocessing, Segmenter, read_tensors
from maskwright.run import Run

IDS = [0, 7, 200]
SIZES = {"a": (40, 24), "deep/b": (17, 61), "deep/er/c": (1, 1), "d.v2": (32, 32)}


def segmenter_of(seed=0, ids=IDS, **preprocessing):
    spec = ModelSpec("UNet", len(ids), args={"channels": [4], "bottleneck": 4})
    torch.manual_seed(seed)
    network = build_model(spec).to(memory_format=torch.channels_last)
    torch.nn.init.normal_(network.head.weight, std=3)  # every class somewhere
    return Segmenter(
        network,
        spec,
        ClassTree.flat([f"class {id_}" for id_ in ids], ids),
        Preprocessing(Geometry((32, 32), **preprocessing), (0.5,) * 3, (0.25,) * 3),
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    segmenter_of().save(path)
    return path


@pytest.fixture
def images(tmp_path, rng):
    for name, size in SIZES.items():
        write(tmp_path / f"images/{name}.png", draw_pair(rng, size)[0])
    return tmp_path / "images"


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_folder_is_predicted_by_names_at_any_size(model, images, tmp_path):
    result = predict(model, [images], out=tmp_path / "out")
    assert {row["mask"] for row in result.rows} == {f"masks/{name}.png" for name in SIZES}
    segmenter = load(model)
    seen = set()
    for row in result.rows:
        name = row["mask"].removeprefix("masks/").removesuffix(".png")
        assert (row["image"], row["overlay"]) == (str(images / f"{name}.png"), f"overlays/{name}.jpg")
        assert (row["height"], row["width"]) == SIZES[name]
        mask = pixels(result.folder / row["mask"])
        assert mask.shape == SIZES[name]
        assert pixels(result.folder / row["overlay"]).shape == (*SIZES[name], 3)
        indices = segmenter.label([pixels(images / f"{name}.png")])[0]
        np.testing.assert_array_equal(mask, np.array(IDS)[indices])
        assert row["pixels"] == {f"class {id_}": int((mask == id_).sum()) for id_ in IDS}
        seen |= set(np.unique(mask).tolist())
    assert seen == set(IDS)
    lines = (result.folder / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == result.rows
    nothing = {"skipped": [], "left_out": [], "kept": 0}
    assert result.to_dict() == {"folder": str(tmp_path / "out"), "predictions": result.rows, **nothing}


def test_ids_above_a_byte_are_kept(images, tmp_path):
    segmenter_of(ids=[0, 7, 40000]).save(tmp_path / "wide.safetensors")
    result = predict(tmp_path / "wide.safetensors", [images], out=tmp_path / "out")
    values = {int(v) for row in result.rows for v in np.unique(pixels(result.folder / row["mask"]))}
    assert values == {0, 7, 40000}


@pytest.mark.parametrize("keep_ratio", [False, True])
def test_the_mask_lies_on_the_image(images, tmp_path, rng, keep_ratio):
    """A model that tells black from white, on a wide image: the predicted border must be where it is drawn."""
    segmenter = segmenter_of(ids=[0, 1], keep_ratio=keep_ratio)
    segmenter.model.forward = lambda batch: torch.cat([-batch[:, :1], batch[:, :1]], 1)
    image = np.zeros((30, 90, 3), np.uint8)
    image[10:, 60:] = 255
    found = segmenter.label([image])[0]
    difference = found != (image[..., 0] > 0)
    assert difference.mean() < 0.04
    assert not difference[:8].any() and not difference[:, :56].any() and not difference[14:, 64:].any()


class TestLevels:
    @pytest.fixture
    def tree(self, tmp_path):
        segmenter = segmenter_of(ids=[0, 7, 200, 3])
        leaves = segmenter.classes.leaves
        segmenter.classes = ClassTree((leaves[0], *(replace(leaf, parents=("group",)) for leaf in leaves[1:])))
        segmenter.selector = "top_down"
        segmenter.save(tmp_path / "tree.safetensors")
        return tmp_path / "tree.safetensors"

    def test_levels_lie_beside_the_masks(self, tree, images, tmp_path):
        result = predict(tree, [images], out=tmp_path / "out", levels=True)
        for row in result.rows:
            assert row["levels"] == ["levels/1/" + row["mask"].removeprefix("masks/")]
            mask, top = pixels(result.folder / row["mask"]), pixels(result.folder / row["levels"][0])
            np.testing.assert_array_equal(top, np.where(mask == 0, 0, 1))  # 1 is the first id that no leaf has
        marker = json.loads((result.folder / "model.json").read_text())
        assert marker["selector"] == "top_down" and [level["level"] for level in marker["levels"]] == [1]
        assert [leaf["name"] for leaf in marker["levels"][0]["classes"]["leaves"]] == ["class 0", "group"]

    def test_what_was_begun_in_another_way_is_refused(self, tree, images, tmp_path):
        predict(tree, [images], out=tmp_path / "out")
        assert not (tmp_path / "out/levels").exists()
        before = fingerprint(tmp_path / "out")
        assert len(predict(tree, [images], out=tmp_path / "out", selector="top_down").rows) == 4
        for other in ({"levels": True}, {"selector": "leaf"}):
            with pytest.raises(ConfigError, match="holds predictions with another `selector` or `levels`"):
                predict(tree, [images], out=tmp_path / "out", **other)
        assert fingerprint(tmp_path / "out") == before

    def test_a_flat_list_has_none(self, model, images, tmp_path):
        with pytest.raises(ConfigError, match="`levels`: the classes of this model are a flat list"):
            predict(model, [images], out=tmp_path / "out", levels=True)
        with pytest.raises(ConfigError, match="selector: levels is for class trees"):
            predict(model, [images], out=tmp_path / "out", selector="levels")
        assert not (tmp_path / "out").exists()


def test_arrays_give_arrays(model, images, tmp_path):
    one, two = (pixels(path) for path in sorted(images.rglob("*.png"))[:2])
    first, second = predict(model, [one, two])
    assert first.dtype == np.uint8 and first.shape == one.shape[:2] and second.shape == two.shape[:2]
    np.testing.assert_array_equal(predict(model, one), load(model).label(one))
    for wrong in ({"out": tmp_path / "out"}, {"levels": True}):
        with pytest.raises(ConfigError, match="arrays are predicted into arrays"):
            predict(model, one, **wrong)
    with pytest.raises(ConfigError, match="files are predicted into a folder"):
        predict(model, images)
    np.testing.assert_array_equal(predict(model, Image.fromarray(one)), predict(model, one))
    with pytest.raises(DataError, match=r"a\.png: no such file"):
        predict(model, [one, "a.png"])
    assert not (tmp_path / "out").exists()


def found_in(given, out="/nowhere/out"):
    """Name -> file of what is found."""
    return {image.name: image.file for image in inputs.find_images(given, Path(out)).images}


def test_files_lists_and_globs(images):
    a, b = images / "a.png", images / "deep/b.png"
    assert list(found_in([b, str(a), images]).items())[:3] == [("b", b), ("a", a), ("d.v2", images / "d.v2.png")]
    assert found_in([str(images / "**/*.png")]) == {
        "a": a,
        "b": b,
        "c": images / "deep/er/c.png",
        "d.v2": images / "d.v2.png",
    }
    assert found_in([images, a])["a"] == a
    assert found_in(str(a)) == found_in(a) == {"a": a}
    assert list(found_in([images])) == sorted(SIZES)


def test_nothing_found_is_said(images):
    for nothing in (images / "gone.png", images / "*.tif", images.parent / "run.yaml"):
        with pytest.raises(ConfigError, match="no image found there; give a file, a folder or a glob") as caught:
            found_in([images, nothing])
        assert str(caught.value).startswith(f"{nothing}: ")


def test_bad_files_are_skipped_and_listed(model, images, tmp_path, capsys):
    (images / "a.png").write_bytes(b"no image")
    (images / "deep/b.png").write_bytes((images / "d.v2.png").read_bytes()[:90])
    result = predict(model, [images], out=tmp_path / "out")
    assert {row["mask"] for row in result.rows} == {"masks/deep/er/c.png", "masks/d.v2.png"}
    assert [skipped["image"] for skipped in result.skipped] == [str(images / "a.png"), str(images / "deep/b.png")]
    said = capsys.readouterr().err
    for skipped in result.skipped:
        assert skipped["reason"].startswith(skipped["image"])
        assert f"skipped {skipped['reason']}\n" in said
    assert not (tmp_path / "out/masks/a.png").exists()


def test_only_bad_files_are_an_error(model, images, tmp_path, capsys):
    for name in SIZES:
        (images / f"{name}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="none of the 4 images could be read"):
        predict(model, [images], out=tmp_path / "out")
    assert capsys.readouterr().err.count("not a readable image") == 4


def test_a_foreign_folder_is_refused(model, images, tmp_path):
    out = tmp_path / "out"
    write(out / "mine.png", np.zeros((2, 2), np.uint8))
    before = fingerprint(out)
    with pytest.raises(ConfigError, match="already exists and outputs are never overwritten"):
        predict(model, [images], out=out)
    with pytest.raises(ConfigError, match="already exists and outputs are never overwritten"):
        predict(model, [images], out=out / "mine.png")
    assert fingerprint(out) == before


def test_predictions_of_another_model_are_refused(model, images, tmp_path):
    predict(model, [images], out=tmp_path / "out")
    segmenter_of(seed=1).save(tmp_path / "other.safetensors")
    before = fingerprint(tmp_path / "out")
    with pytest.raises(ConfigError, match="holds predictions of another model"):
        predict(tmp_path / "other.safetensors", [images], out=tmp_path / "out")
    assert fingerprint(tmp_path / "out") == before


def masks_of(result):
    """Where the masks of the images are, of which all files are there."""
    assert all((result.folder / row[kind]).is_file() for row in result.rows for kind in ("mask", "overlay"))
    return {Path(row["source"]).relative_to(result.folder.parent).as_posix(): row["mask"] for row in result.rows}


class TestWhatTheFolderHolds:
    """Known by the content of the images, not by their paths."""

    @pytest.fixture
    def photos(self, tmp_path, rng):
        for name in ("a", "b"):
            write(tmp_path / f"photos/{name}.png", draw_pair(rng, (24, 24))[0])
        return tmp_path / "photos"

    @pytest.fixture
    def read(self, monkeypatch):
        """The names of the images that were read for their pixels."""
        seen, real = [], module.read_bands
        monkeypatch.setattr(module, "read_bands", lambda path, *given: (seen.append(path.name), real(path, *given))[1])
        return seen

    def test_another_image_of_the_same_name_is_predicted(self, model, photos, tmp_path, rng, read):
        first = predict(model, [photos], out=tmp_path / "out")
        kept = (tmp_path / "out/masks/b.png").stat().st_mtime_ns
        write(photos / "a.png", draw_pair(rng, (30, 40))[0])
        read.clear()
        second = predict(model, [photos], out=tmp_path / "out")
        assert read == ["a.png"] and len(second.rows) == 2 and second.kept == 1
        assert pixels(tmp_path / "out/masks/a.png").shape == (30, 40)
        assert (tmp_path / "out/masks/b.png").stat().st_mtime_ns == kept
        assert second.human() == f"2 masks (1 there already); output folder: {tmp_path / 'out'}"
        assert Journal(tmp_path / "out/predictions.jsonl").read() == second.rows
        assert {row["hash"] for row in second.rows} != {row["hash"] for row in first.rows}

    def test_the_same_size_and_time_hide_no_change(self, model, photos, tmp_path, read):
        predict(model, [photos], out=tmp_path / "out")
        path = photos / "a.png"
        before, data = path.stat(), path.read_bytes()
        other = np.ascontiguousarray(255 - pixels(path))
        Image.fromarray(other).save(path, "BMP")
        predict(model, [photos], out=tmp_path / "out")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        path.write_bytes(path.read_bytes()[:-1] + b"x")  # as large as before
        read.clear()
        assert predict(model, [photos], out=tmp_path / "out").kept == 1 and read == ["a.png"]
        path.write_bytes(data)
        os.utime(photos / "b.png")  # touched, but the same
        read.clear()
        assert predict(model, [photos], out=tmp_path / "out").kept == 1 and read == ["a.png"]

    def test_what_is_stale_does_not_stay_when_the_new_image_cannot_be_read(self, model, photos, tmp_path):
        predict(model, [photos], out=tmp_path / "out")
        (photos / "a.png").write_bytes(b"no image")
        result = predict(model, [photos], out=tmp_path / "out")
        assert masks_of(result) == {"photos/b.png": "masks/b.png"} and len(result.skipped) == 1
        assert not (tmp_path / "out/masks/a.png").exists() and not (tmp_path / "out/overlays/a.jpg").exists()

    def test_a_mask_that_was_deleted_is_made_again(self, model, photos, tmp_path, read):
        predict(model, [photos], out=tmp_path / "out")
        (tmp_path / "out/overlays/b.jpg").unlink()
        read.clear()
        assert len(masks_of(predict(model, [photos], out=tmp_path / "out"))) == 2 and read == ["b.png"]

    def test_a_folder_in_another_spelling_is_the_same(self, model, photos, tmp_path, monkeypatch, read):
        predict(model, [photos], out=tmp_path / "out")
        (tmp_path / "link").symlink_to(photos, target_is_directory=True)
        monkeypatch.chdir(tmp_path)
        for spelling in ("photos", "./photos/", "photos/../photos", tmp_path / "link", "link/*.png", photos / "a.png"):
            result = predict(model, spelling, out="out")
            assert result.kept == len(result.rows) == 2, spelling
            assert masks_of(replace(result, folder=tmp_path / "out")) == {
                "photos/a.png": "masks/a.png",
                "photos/b.png": "masks/b.png",
            }
        assert sorted(read) == ["a.png", "b.png"]

    def test_a_folder_that_was_moved_is_the_same(self, model, photos, tmp_path, read):
        (photos / "bad.png").write_bytes(b"no image")
        predict(model, [photos], out=tmp_path / "out")
        photos.rename(tmp_path / "moved")
        read.clear()
        result = predict(model, [tmp_path / "moved"], out=tmp_path / "out")
        assert masks_of(result) == {"moved/a.png": "masks/a.png", "moved/b.png": "masks/b.png"}
        assert result.rows[0]["image"] == str(tmp_path / "moved/a.png")
        assert read == ["bad.png"] and [row["image"] for row in result.skipped] == [str(tmp_path / "moved/bad.png")]

    def test_a_mask_is_not_replaced_by_that_of_another_image(self, model, photos, tmp_path, rng, capsys):
        predict(model, [photos], out=tmp_path / "out")
        before = fingerprint(tmp_path / "out/masks")
        write(tmp_path / "others/a.png", draw_pair(rng, (20, 20))[0])
        result = predict(model, [tmp_path / "others"], out=tmp_path / "out")
        assert masks_of(result)["others/a.png"] == "masks/a.png.png" and len(result.rows) == 3
        assert before.items() <= fingerprint(tmp_path / "out/masks").items()
        said = capsys.readouterr().err
        assert f"other names where several images have the same, 1 mask: {tmp_path / 'others/a.png'} -> masks/" in said


class TestTheSameName:
    """Images that would get the same output all get one of their own."""

    @pytest.fixture
    def put(self, tmp_path, rng):
        def put(*names):
            for name in names:
                path = tmp_path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                form = {".jpg": "JPEG", ".bmp": "BMP"}.get(path.suffix.lower(), "PNG")
                Image.fromarray(draw_pair(rng, (16, 16))[0]).save(path, form)

        return put

    def test_endings_tell_images_of_a_folder_apart(self, model, put, tmp_path):
        put("in/a.jpg", "in/a.png", "in/a.png.bmp", "in/b.png")
        result = predict(model, tmp_path / "in", out=tmp_path / "out")
        assert masks_of(result) == {
            "in/a.jpg": "masks/a.jpg.png",
            "in/a.png": "masks/in/a.png",  # a.png is what a.png.bmp would be
            "in/a.png.bmp": "masks/a.png.bmp.png",
            "in/b.png": "masks/b.png",
        }
        again = predict(model, tmp_path / "in", out=tmp_path / "out")
        assert again.kept == 4 and masks_of(again) == masks_of(result)

    def test_folders_tell_images_of_several_apart(self, model, put, tmp_path):
        put("x/a.png", "x/a.jpg", "y/a.png", "y/only.png")
        for given in ([tmp_path / "x", tmp_path / "y"], str(tmp_path / "[xy]/*")):
            out = tmp_path / f"out{isinstance(given, str)}"
            assert masks_of(predict(model, given, out=out)) == {
                "x/a.jpg": "masks/a.jpg.png",
                "x/a.png": "masks/x/a.png",
                "y/a.png": "masks/y/a.png",
                "y/only.png": "masks/only.png",
            }

    def test_one_that_comes_later_leaves_the_first_its_name(self, model, put, tmp_path):
        put("in/a.jpg")
        predict(model, tmp_path / "in", out=tmp_path / "out")
        put("in/a.png")
        result = predict(model, tmp_path / "in", out=tmp_path / "out")
        assert result.kept == 1
        assert masks_of(result) == {"in/a.jpg": "masks/a.png", "in/a.png": "masks/a.png.png"}

    def test_an_interruption_changes_no_name(self, model, put, tmp_path, monkeypatch):
        put("x/a.png", "x/a.jpg", "y/a.png", "y/a.jpg", "y/b.jpg", "y/b.png")
        given = [tmp_path / "x", tmp_path / "y"]
        whole = masks_of(predict(model, given, out=tmp_path / "whole"))
        assert len(set(whole.values())) == 6
        monkeypatch.setattr(module, "BATCH", 1)
        chunk = module.predict_chunk
        for stop in range(1, 6):
            calls = iter(range(stop + 1))

            def stopped(*args, calls=calls, stop=stop):
                if next(calls) == stop:
                    raise KeyboardInterrupt
                return chunk(*args)

            monkeypatch.setattr(module, "predict_chunk", stopped)
            with pytest.raises(KeyboardInterrupt):
                predict(model, given, out=tmp_path / f"stopped{stop}")
            monkeypatch.setattr(module, "predict_chunk", chunk)
            assert masks_of(predict(model, given, out=tmp_path / f"stopped{stop}")) == whole

    def test_upper_case_alone_is_no_difference_where_the_files_may_be_copied_to(self, put, tmp_path):
        put("in/A.png", "in/a.jpg", "in/é.png", "in/e\u0301.jpg")
        names = book.Book(tmp_path / "out").named(inputs.find_images(tmp_path / "in", tmp_path / "out").images)
        assert sorted(names) == sorted(["A.png", "a.jpg", "é.png", "e\u0301.jpg"])

    def test_a_mask_stands_where_no_folder_is_needed(self, model, put, tmp_path):
        put("in/a.jpg", "in/a.png/b.png")
        assert masks_of(predict(model, tmp_path / "in", out=tmp_path / "out")) == {
            "in/a.jpg": "masks/a.jpg.png",
            "in/a.png/b.png": "masks/a.png/b.png",
        }
        assert masks_of(predict(model, tmp_path / "in/a.jpg", out=tmp_path / "two")) == {"in/a.jpg": "masks/a.png"}
        assert masks_of(predict(model, tmp_path / "in", out=tmp_path / "two")) == {
            "in/a.jpg": "masks/a.png",
            "in/a.png/b.png": "masks/in/a.png/b.png",
        }


class TestWhatIsLeftOut:
    def test_output_is_never_input(self, model, images, tmp_path):
        out = images / "pred"
        first = predict(model, images, out=out)
        segmenter_of(seed=1).save(tmp_path / "other.safetensors")
        predict(tmp_path / "other.safetensors", images, out=images / "deep/other")
        (images / "run").mkdir()
        (images / "run/run.json").write_text("{}")
        write(images / "run/samples.png", np.zeros((4, 4), np.uint8))
        expected = {
            str(images / "pred"): "is the output folder",
            str(images / "deep/other"): "is a folder of predictions",
            str(images / "run"): "is a run",
        }
        second = predict(model, images, out=out)
        assert second.rows == first.rows or masks_of(second) == masks_of(first)
        assert {row["file"]: row["reason"] for row in second.left_out} == expected
        assert second.human() == f"4 masks (4 there already), 3 left out; output folder: {out}"
        third = predict(model, str(images / "**/*.png"), out=out)
        assert len(third.rows) == 4 and len(third.left_out) == 9  # two masks of each folder of two, and one picture
        for own in (out, out / "masks", out / "masks/a.png", str(out / "masks/*.png")):
            with pytest.raises(ConfigError, match=r"no image found there \(left out .* output folder\)"):
                predict(model, own, out=out)
        assert len(predict(model, images / "deep/other/masks", out=tmp_path / "of masks").rows) == 4  # asked for

    def test_every_file_that_is_not_predicted_is_counted(self, model, tmp_path, rng, capsys):
        folder = tmp_path / "in"
        picture = Image.fromarray(draw_pair(rng, (24, 24))[0])
        forms = {"jfif": "JPEG", "gif": "GIF", "jp2": "JPEG2000", "JPG": "JPEG", "pnm": "PPM", "mpo": "MPO"}
        folder.mkdir()
        for ending, form in forms.items():
            picture.save(folder / f"{ending}.{ending}", form)
        (folder / "broken.png").write_bytes(b"no image")
        for name in ("one.txt", "two.txt", "three.heic", "none", ".DS_Store"):
            (folder / name).write_bytes(b"")
        (folder / "linked").symlink_to(tmp_path, target_is_directory=True)
        (folder / "gone.png").symlink_to(tmp_path / "gone.png")
        result = predict(model, folder, out=tmp_path / "out")
        assert set(masks_of(result)) == {f"in/{ending}.{ending}" for ending in forms}
        assert [Path(row["image"]).name for row in result.skipped] == ["broken.png"]
        assert {Path(row["file"]).name: row["reason"] for row in result.left_out} == {
            "one.txt": ".txt is no ending of an image that is read",
            "two.txt": ".txt is no ending of an image that is read",
            "three.heic": ".heic is no ending of an image that is read",
            "none": "has no ending of an image",
            ".DS_Store": "is hidden",
            "linked": "is a link to a folder; name it to have what is in it",
            "gone.png": "is not a file",
        }
        assert result.human().startswith("6 masks, 1 file skipped, 7 left out; ")
        said = capsys.readouterr().err
        assert f"left out 2: {folder / 'one.txt'}, {folder / 'two.txt'}: .txt is no ending of an image" in said
        with pytest.raises(ConfigError, match=r"no image found there \(left out 1: .*none: has no ending"):
            found_in(only(tmp_path, "none"))

    def test_a_name_that_no_text_can_hold_is_left_out(self, model, images, tmp_path):
        bad = os.fsdecode(b"caf\xe9.png")
        shutil.copy(images / "a.png", images / bad)
        result = predict(model, images, out=tmp_path / "out")
        assert len(result.rows) == 4 and [row["reason"] for row in result.left_out] == [
            "its name is not UTF-8; rename it"
        ]
        json.dumps(result.to_dict()).encode()

    def test_a_folder_in_a_glob_is_counted(self, images):
        found = inputs.find_images(str(images / "*"), Path("/nowhere/out"))
        assert [image.name for image in found.images] == ["a", "d.v2"]
        assert found.left_out == [
            {"file": str(images / "deep"), "reason": "is a folder; name it to have what is in it"}
        ]


def only(folder, name):
    """A folder with one empty file."""
    (folder / "only").mkdir()
    (folder / "only" / name).write_bytes(b"")
    return folder / "only"


KILLED = """
import itertools, os, sys
from pathlib import Path
import torch
from kills import die_at
from maskwright.inference import book
from maskwright.inference import predict as module

torch.set_num_threads(1)
module.BATCH = book.DURABLE = 2
model, images, out = sys.argv[1:]
for count in itertools.count(1, 4):
    pid = os.fork()
    if pid == 0:
        die_at(count, torn=True)
        try:
            module.predict(model, [images], out=Path(out) / str(count))
        finally:
            os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != -9:
        break  # has come to its end before that operation
"""


def without_state(rows):
    """What depends on when the images were written is left out."""
    return [{key: value for key, value in row.items() if key != "state"} for row in rows]


def test_a_killed_prediction_is_continued(model, images, tmp_path):
    """Processes die at their n-th operation on files, in the middle of writes; the next one does the rest only."""
    whole = predict(model, [images], out=tmp_path / "whole")
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, "-c", KILLED, model, images, tmp_path / "killed"],
        check=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": paths},
    )
    finished = []
    for out in (tmp_path / "killed").iterdir():
        rows = Journal(out / "predictions.jsonl").read()
        finished.append(len(rows))
        before = {row["mask"]: (out / row["mask"]).stat().st_mtime_ns for row in rows}
        result = predict(model, [images], out=out)
        assert without_state(result.rows[: len(rows)]) == without_state(rows)
        assert result.rows == Journal(out / "predictions.jsonl").read()
        assert without_state(result.rows) == without_state(whole.rows)
        for row in whole.rows:
            for kind in ("mask", "overlay"):
                assert (out / row[kind]).read_bytes() == (whole.folder / row[kind]).read_bytes()
        for mask, time in before.items():
            assert (out / mask).stat().st_mtime_ns == time  # done already, so not done again
    assert set(finished) >= {0, 2, 4}


def test_the_result_is_a_line_and_a_table(model, images, tmp_path, monkeypatch):
    (images / "broken.png").write_bytes(b"no image")
    found = predict(model, [images], out=tmp_path / "out")
    (images / "broken.png").unlink()
    masks = len(found.rows)
    assert found.human() == str(found) == f"{masks} masks, 1 file skipped; output folder: {tmp_path / 'out'}"
    assert repr(found) == f"Predictions({found.human()})"
    frame = found.to_pandas()
    assert list(frame["image"]) == [row["image"] for row in found.rows]
    name = next(iter(found.rows[0]["pixels"]))
    assert list(frame[f"pixels/{name}"]) == [row["pixels"][name] for row in found.rows]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(SetupError, match=r"maskwright\[pandas\]"):
        found.to_pandas()


def test_lack_of_memory_names_the_image(model, images, tmp_path, monkeypatch):
    """What torch says when the memory of a machine does not suffice; what was predicted before stays."""

    def lacking(self, probabilities, size, image=None):
        if size == SIZES["deep/b"]:
            raise RuntimeError(
                "[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            )
        return level_maps(self, probabilities, size, image)

    level_maps = Segmenter.level_maps
    monkeypatch.setattr(Segmenter, "level_maps", lacking)
    with pytest.raises(SetupError, match=r"deep/b\.png: not enough memory to predict an image of 61x17"):
        predict(model, images, out=tmp_path / "out")
    monkeypatch.setattr(Segmenter, "level_maps", level_maps)
    assert predict(model, images, out=tmp_path / "out").kept == 2


def test_large_images_are_not_all_held_at_once(model, images, tmp_path, monkeypatch):
    label, together = Segmenter.label_with_maps, []
    monkeypatch.setattr(
        Segmenter, "label_with_maps", lambda self, some: (together.append(len(some)), label(self, some))[1]
    )
    whole = predict(model, images, out=tmp_path / "whole")
    monkeypatch.setattr(module, "MOST_BYTES", 40 * 24 * 3)
    parts = predict(model, images, out=tmp_path / "parts")
    assert together == [4, 1, 1, 1, 1]
    for row in whole.rows:
        assert (parts.folder / row["mask"]).read_bytes() == (whole.folder / row["mask"]).read_bytes()


@pytest.fixture
def many(tmp_path, rng):
    for number in range(40):
        write(tmp_path / f"many/{number % 2}/{number}.png", draw_pair(rng, (24, 24))[0])
    return tmp_path / "many"


@pytest.fixture
def flushed(monkeypatch):
    """The paths of all flushes so far, with what the journal held at each."""
    seen = []
    fsync = os.fsync

    def noting(descriptor):
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        root = next((folder for folder in (path, *path.parents) if (folder / "model.json").exists()), None)
        seen.append((path, Journal(root / "predictions.jsonl").read() if root else []))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    return seen


def test_files_are_flushed_in_batches_and_before_their_records(model, many, tmp_path, monkeypatch, flushed):
    monkeypatch.setattr(book, "DURABLE", 16)
    monkeypatch.setattr(book, "DURABLE_SECONDS", float("inf"))
    out = predict(model, [many], out=tmp_path / "out").folder
    for place, (_, rows) in enumerate(flushed):
        before = {path for path, _ in flushed[:place]}
        for row in rows:  # what the journal says must be safe already
            files = {out / row["mask"], out / row["overlay"]}
            assert files | {file.parent for file in files} | {out, out / "masks", out / "overlays"} <= before
    counts = Counter(path.name for path, _ in flushed)
    assert all(counts[f"{number}.{kind}"] == 1 for number in range(40) for kind in ("png", "jpg"))
    assert counts["predictions.jsonl"] == 3  # after 16, 32 and 40 images
    # Two files an image, and a handful of folders for each of the three times.
    assert len(flushed) <= 2 * 40 + 3 * 10, counts


def test_a_stopped_prediction_keeps_what_was_done(model, many, tmp_path, monkeypatch):
    chunk = module.predict_chunk
    calls = iter(range(3))

    def stopped(*args):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return chunk(*args)

    monkeypatch.setattr(module, "predict_chunk", stopped)
    with pytest.raises(KeyboardInterrupt):
        predict(model, [many], out=tmp_path / "out")
    assert len(Journal(tmp_path / "out/predictions.jsonl").read()) == 16
    monkeypatch.setattr(module, "predict_chunk", chunk)
    assert len(predict(model, [many], out=tmp_path / "out").rows) == 40


def test_a_skipped_file_is_not_read_again_unless_it_changed(model, images, tmp_path, monkeypatch):
    good = (images / "a.png").read_bytes()
    (images / "a.png").write_bytes(b"no image")
    (images / "deep/b.png").write_bytes(b"no image either")
    first = predict(model, [images], out=tmp_path / "out")
    assert len(first.skipped) == 2
    read, seen = module.read_bands, []
    monkeypatch.setattr(module, "read_bands", lambda path, *more: (seen.append(path), read(path, *more))[1])
    second = predict(model, [images], out=tmp_path / "out")
    assert seen == [] and second.skipped == first.skipped and second.rows == first.rows
    (images / "a.png").write_bytes(good)
    third = predict(model, [images], out=tmp_path / "out")
    assert seen == [images / "a.png"]
    assert [skipped["image"] for skipped in third.skipped] == [str(images / "deep/b.png")]
    assert {row["image"] for row in third.rows} == {str(path) for path in images.rglob("*.png")} - {
        str(images / "deep/b.png")
    }
    assert predict(model, [images], out=tmp_path / "out").skipped == third.skipped and len(seen) == 1


def test_a_folder_in_use_is_refused(model, images, tmp_path, monkeypatch):
    label, met = Segmenter.label_with_maps, []

    def meanwhile(self, batch):
        met.append(len(batch))
        with pytest.raises(LockedError, match=f"pid {os.getpid()}"):
            predict(model, [images], out=tmp_path / "out")
        return label(self, batch)

    monkeypatch.setattr(Segmenter, "label_with_maps", meanwhile)
    assert len(predict(model, [images], out=tmp_path / "out").rows) == 4 == sum(met)


@pytest.mark.parametrize("exif", ["apply", "ignore"])
def test_rotation_by_exif_is_treated_as_in_training(tmp_path, rng, exif):
    segmenter = segmenter_of()
    segmenter.preprocessing = Preprocessing(segmenter.preprocessing.geometry, (0.5,) * 3, (0.25,) * 3, exif)
    segmenter.save(tmp_path / "model.safetensors")
    tags = Image.Exif()
    tags[0x0112] = 6  # turn by a quarter to see it upright
    stored = draw_pair(rng, (40, 24))[0]
    write(tmp_path / "photo.png", stored, exif=tags)
    result = predict(tmp_path / "model.safetensors", [tmp_path / "photo.png"], out=tmp_path / "out")
    seen = np.rot90(stored, -1) if exif == "apply" else stored
    expected = segmenter.label([np.ascontiguousarray(seen)])[0]
    mask = pixels(tmp_path / "out/masks/photo.png")
    assert mask.shape == ((24, 40) if exif == "apply" else (40, 24))
    np.testing.assert_array_equal(mask, np.array(IDS)[expected])
    assert pixels(tmp_path / "out/overlays/photo.jpg").shape == (*mask.shape, 3)
    assert result.rows[0]["height"] == mask.shape[0]


def test_the_model_file_is_all_that_is_needed(model):
    segmenter, other = load(model), segmenter_of()
    assert segmenter.header() == other.header()
    for key, value in segmenter.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[key]), key
    assert not segmenter.model.training


def test_loading_draws_no_random_numbers(model):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load(model)
    assert torch.equal(torch.rand(3), expected)


def test_what_is_no_model_is_said_in_one_line(model, images, tmp_path):
    (tmp_path / "half.safetensors").write_bytes(model.read_bytes()[:500])
    (tmp_path / "text.safetensors").write_text("no model")
    header, tensors = read_tensors(model)
    save_file(tensors, tmp_path / "bare.safetensors")
    save_file(tensors, tmp_path / "broken.safetensors", {"maskwright": json.dumps(header)[:-1]})
    save_file(tensors, tmp_path / "newer.safetensors", {"maskwright": json.dumps(header | {"format": "new"})})
    save_file({"x": torch.zeros(2)}, tmp_path / "empty.safetensors", {"maskwright": json.dumps(header)})
    for name in ("half", "text", "bare", "broken", "newer", "empty"):
        path = tmp_path / f"{name}.safetensors"
        with pytest.raises(DataError) as caught:
            predict(path, [images], out=tmp_path / "out")
        assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value), name
    with pytest.raises(DataError, match="not a run folder"):
        predict(tmp_path, [images], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_without_a_checkpoint_is_said(images, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text("{}")
    with pytest.raises(DataError, match="the run has no checkpoint yet"):
        predict(Run(tmp_path / "run"), [images], out=tmp_path / "out")
