"""The verb `next` on a dataset with and without a run."""

import html
import json

import numpy as np
import pytest

import maskwright
from helpers import fingerprint, write
from maskwright.cli import main
from maskwright.core.edits import Edit, add_edits, mask_edit
from maskwright.core.mask_files import INDEX, read_mask
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError
from maskwright.labels.choosing.disagreement import views
from maskwright.training.train import train
from tiny import config, write_dataset


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Six images with a mask and eight without; two of these are excluded or kept for the test."""
    root = write_dataset(tmp_path_factory.mktemp("next") / "data", {"train": 14, "test": 1}, ids=(0, 3, 7))
    for index in range(6, 14):
        (root / f"masks/train/train_{index:02d}.png").unlink()
    rng = np.random.default_rng(5)
    write(root / "images/test/test_09.png", rng.integers(0, 255, (32, 32, 3)).astype(np.uint8))
    add_edits(root, [Edit("status", "train/train_13", "exclude")], "test")
    return root


@pytest.fixture(scope="module")
def run(home):
    return train(config(home, data={"root": str(home), "image_size": [32, 32]}), out=home.parent / "run")


def names(first, last):
    return {f"train/train_{index:02d}" for index in range(first, last)}


def test_images_without_a_mask_are_chosen_by_their_looks(home):
    before = {name: value for name, value in fingerprint(home).items() if "next-" not in name}
    result = maskwright.next(home, count=4, out=home.parent / "looks")
    assert len(result.images) == 4 and {one.sample for one in result.images} <= names(6, 13)
    assert (result.labelled, result.unlabelled) == (7, 7) and all(one.reasons for one in result.images)
    listed = (result.folder / "next.txt").read_text().split()
    assert listed == [one.sample for one in result.images]
    assert not (result.folder / "masks").exists() and all(one.mask is None for one in result.images)
    again = maskwright.next(home, count=4, out=home.parent / "again")
    assert [one.sample for one in again.images] == listed
    assert {name: value for name, value in fingerprint(home).items() if "next-" not in name} == before


def test_masks_that_were_made_of_boxes_are_not_drawn_until_they_are_edited(tmp_path):
    maskwright.convert(write_dataset(tmp_path / "data", {"train": 5}, ids=(0, 3)), tmp_path / "boxes", to="yolo")
    dataset = load_dataset(tmp_path / "boxes")
    everything = [sample.name for sample in dataset.samples]
    result = maskwright.next(dataset, count=9)
    assert {one.sample for one in result.images} == {*everything} and (result.labelled, result.unlabelled) == (0, 5)
    first = dataset[everything[0]]
    add_edits(tmp_path / "boxes", [mask_edit(tmp_path / "boxes", first, dataset.read_mask(first), dataset.classes)], "")
    result = maskwright.next(tmp_path / "boxes", count=9)
    assert {one.sample for one in result.images} == {*everything[1:]} and (result.labelled, result.unlabelled) == (1, 4)


def test_a_run_gives_masks_to_begin_with(home, run):
    result = maskwright.next(home, runs=run.path, count=20)
    assert result.folder == home / ".maskwright" / "next-001"
    dataset, segmenter = load_dataset(home), maskwright.load(run.path)
    assert {one.sample for one in result.images} == names(6, 13)
    for one in result.images:
        sample = dataset[one.sample]
        ids = read_mask(result.folder / "masks" / f"{one.sample}.png", INDEX, dataset.classes).ids
        assert one.mask == str(result.folder / "masks" / f"{one.sample}.png") and ids.shape == (32, 32)
        seen = views(segmenter, dataset.read_image(sample)).mean(0).argmax(0)
        np.testing.assert_array_equal(dataset.classes.to_indices(ids, "mask"), seen)
        left, top, width, height = one.region
        assert one.doubt >= 0 and left >= 0 and left + width <= 32 and top >= 0 and top + height <= 32
    page = html.unescape((result.folder / "index.html").read_text("utf-8"))
    assert all(one.sample in page for one in result.images) and page.count("data:image/webp") == 14


def test_the_command(home, run, capsys):
    out = home.parent / "command"
    with pytest.raises(SystemExit) as ended:
        main(["next", str(home), "--run", str(run.path), "-n", "2", "--out", str(out), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert not ended.value.code and len(found["images"]) == 2 and found["folder"] == str(out)
    with pytest.raises(SystemExit) as ended:
        main(["next", str(home), "-n", "2", "--out", str(out)])
    assert ended.value.code == ConfigError.exit_code and "already exists" in capsys.readouterr().err


def test_what_is_refused(home, run, tmp_path):
    other = write_dataset(tmp_path / "full", {"train": 3})
    with pytest.raises(DataError, match="every image has a mask"):
        maskwright.next(other)
    (other / "masks/train/train_00.png").unlink()
    with pytest.raises(ConfigError, match="its class ids"):
        maskwright.next(other, runs=[run.path])
    with pytest.raises(ConfigError, match="give 1 or more"):
        maskwright.next(home, count=0)
    assert not [*tmp_path.rglob("next-*")]
