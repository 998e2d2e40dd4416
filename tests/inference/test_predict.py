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
from maskwright.core.classes import ClassTree
from maskwright.core.geometry import Geometry
from maskwright.errors import ConfigError, DataError, LockedError, SetupError
from maskwright.inference import predict as module
from maskwright.inference.predict import find_images, load, predict
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
    assert result.to_dict() == {"folder": str(tmp_path / "out"), "predictions": result.rows, "skipped": []}


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
    with pytest.raises(DataError, match="image 1: is a str"):
        predict(model, [one, "a.png"])
    assert not (tmp_path / "out").exists()


def test_files_lists_and_globs(images):
    a, b = images / "a.png", images / "deep/b.png"
    assert find_images([a, str(b)]) == {"a": a, "b": b}
    assert find_images([str(images / "**/*.png")]) == {
        "a": a,
        "b": b,
        "c": images / "deep/er/c.png",
        "d.v2": images / "d.v2.png",
    }
    assert find_images([images, a])["a"] == a
    assert find_images(str(a)) == find_images(a) == {"a": a}
    assert list(find_images([images])) == sorted(SIZES)


def test_nothing_found_is_said(images):
    for nothing in (images / "gone.png", images / "*.tif", images.parent / "run.yaml"):
        with pytest.raises(ConfigError, match="no image found there; give a file, a folder or a glob") as caught:
            find_images([images, nothing])
        assert str(caught.value).startswith(f"{nothing}: ")


def test_two_images_with_one_name_are_refused(images, rng, model, tmp_path):
    write(images / "a.jpg", draw_pair(rng)[0])
    with pytest.raises(ConfigError, match=r"a\.png: would get the same output name as .*a\.jpg"):
        predict(model, [images], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


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


def test_a_mask_is_not_replaced_by_that_of_another_image(model, images, tmp_path):
    predict(model, [images / "a.png"], out=tmp_path / "out")
    shutil.copytree(images, tmp_path / "others")
    before = fingerprint(tmp_path / "out")
    with pytest.raises(ConfigError, match="holds the mask of another image with this name"):
        predict(model, [tmp_path / "others/a.png"], out=tmp_path / "out")
    assert fingerprint(tmp_path / "out") == before


KILLED = """
import itertools, os, sys
from pathlib import Path
import torch
from kills import die_at
from maskwright.inference import predict as module

torch.set_num_threads(1)
module.BATCH = module.DURABLE = 2
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
        rows = module.Journal(out / "predictions.jsonl").read()
        finished.append(len(rows))
        before = {row["mask"]: (out / row["mask"]).stat().st_mtime_ns for row in rows}
        result = predict(model, [images], out=out)
        assert result.rows[: len(rows)] == rows
        assert result.rows == module.Journal(out / "predictions.jsonl").read() == whole.rows
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
        seen.append((path, module.Journal(root / "predictions.jsonl").read() if root else []))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    return seen


def test_files_are_flushed_in_batches_and_before_their_records(model, many, tmp_path, monkeypatch, flushed):
    monkeypatch.setattr(module, "DURABLE", 16)
    monkeypatch.setattr(module, "DURABLE_SECONDS", float("inf"))
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
    assert len(module.Journal(tmp_path / "out/predictions.jsonl").read()) == 16
    monkeypatch.setattr(module, "predict_chunk", chunk)
    assert len(predict(model, [many], out=tmp_path / "out").rows) == 40


def test_a_skipped_file_is_not_read_again_unless_it_changed(model, images, tmp_path, monkeypatch):
    good = (images / "a.png").read_bytes()
    (images / "a.png").write_bytes(b"no image")
    (images / "deep/b.png").write_bytes(b"no image either")
    first = predict(model, [images], out=tmp_path / "out")
    assert len(first.skipped) == 2
    read, seen = module.read_image, []
    monkeypatch.setattr(module, "read_image", lambda path, *more: (seen.append(path), read(path, *more))[1])
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
    label = Segmenter.label

    def meanwhile(self, batch):
        with pytest.raises(LockedError, match=f"pid {os.getpid()}"):
            predict(model, [images], out=tmp_path / "out")
        return label(self, batch)

    monkeypatch.setattr(Segmenter, "label", meanwhile)
    assert len(predict(model, [images], out=tmp_path / "out").rows) == 4


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
