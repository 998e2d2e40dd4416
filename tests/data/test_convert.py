"""`convert` with every row of the table: what is written reads back, and the certificate says how well."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from helpers import make_dataset, write
from maskwright.core.classes import IGNORE
from maskwright.core.dataset import Dataset
from maskwright.data.convert import CERTIFICATE, convert
from maskwright.data.formats import FORMATS
from maskwright.data.init import init
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError

WRITTEN = [name for name, row in FORMATS.items() if row.write]
LOSSY = {"jpeg", "yolo"}
EXACT = [name for name in WRITTEN if name not in LOSSY]
TREE = """root: "."
layout: split_folders
images: {folder: img}
masks: {folder: labels}
splits: {train: train, val: val, test: test}
classes:
  - {id: 0, name: background, colour: "#102030"}
  - name: head
    children:
      - {id: 4, name: hair, colour: "#FF0000"}
      - {id: 9, name: face, colour: "#00FF00"}
ignore: 200
"""


@pytest.fixture
def data(tmp_path, rng):
    """Eight samples in three splits, with a class tree, ids with gaps, and an ignore id that is not 255."""
    folder = make_dataset(tmp_path / "data", images=8, size=(24, 30))
    (folder / "dataset.yaml").write_text(TREE)
    for path in sorted((folder / "labels").rglob("*.png")):
        mask = np.array([0, 4, 9], np.uint8)[np.asarray(Image.open(path))]
        noise = rng.random(mask.shape) < 0.05
        mask[noise] = rng.choice([0, 4, 9, 200], noise.sum())
        write(path, mask)
    return folder


def named(dataset: Dataset, sample) -> np.ndarray:
    table = np.array([*dataset.classes.names, *["?"] * (IGNORE - len(dataset.classes)), "ignore"])
    return table[dataset.read_mask(sample)]


def pairs_of(before: Dataset, after: Dataset):
    """Samples of both by the file names of their images, which are unique here."""
    there = {sample.image.name: sample for sample in after.samples}
    return [(sample, there[sample.image.name]) for sample in before.samples]


@pytest.mark.parametrize("name", EXACT)
def test_exact_formats_give_every_pixel_back(tmp_path, data, name):
    certificate = convert(data, tmp_path / "out", to=name, progress=False)
    assert certificate.exact, certificate.human()
    before, after = load_dataset(data), load_dataset(tmp_path / "out")
    # The class table survives too: ids, colours, tree and ignore id; where masks are files, their ids may be others.
    if FORMATS[name].masks:
        assert [(leaf.name, leaf.parents) for leaf in after.classes.leaves] == [
            (leaf.name, leaf.parents) for leaf in before.classes.leaves
        ]
    else:
        assert after.classes == before.classes
    assert {split: len(samples) for split, samples in after.splits.items()} == {"train": 4, "val": 2, "test": 2}
    for old, new in pairs_of(before, after):
        assert (named(before, old) == named(after, new)).all()
        assert old.image.read_bytes() == new.image.read_bytes()


@pytest.mark.parametrize("name", WRITTEN)
def test_the_certificate_says_what_reading_back_shows(tmp_path, data, name):
    """Against a comparison of its own: pixels by class name, read without the help of the certificate."""
    certificate = convert(data, tmp_path / "out", to=name, progress=False)
    before, after = load_dataset(data), load_dataset(tmp_path / "out")
    assert [record.sample for record in certificate.samples] == [sample.name for sample in before.samples]
    pairs = [(named(before, old), named(after, new)) for old, new in pairs_of(before, after)]
    assert [record.changed for record in certificate.samples] == [int((a != b).sum()) for a, b in pairs]
    a, b = (np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1))
    for label, iou in certificate.iou.items():
        assert iou == pytest.approx(((a == label) & (b == label)).sum() / ((a == label) | (b == label)).sum())
    assert set(certificate.iou) >= set(np.unique(a))
    stored = json.loads((tmp_path / "out" / CERTIFICATE).read_text())
    assert stored["summary"]["pixel_exact"] == certificate.exact == (not any(r.changed for r in certificate.samples))
    assert stored["summary"]["iou"] == pytest.approx(certificate.iou)


@pytest.mark.parametrize("name", sorted(LOSSY))
def test_lossy_formats_say_so(tmp_path, data, name):
    certificate = convert(data, tmp_path / "out", to=name, quality=20, progress=False)
    assert not certificate.exact and "changed" in certificate.human()
    assert 0 < min(certificate.iou.values()) < 1


@pytest.mark.parametrize("name", WRITTEN)
def test_there_and_back_again(tmp_path, data, name):
    """index -> format -> index: the masks of the first and the last are the same where the format is exact."""
    convert(data, tmp_path / "there", to=name, progress=False)
    convert(tmp_path / "there", tmp_path / "back", to="index", progress=False)
    first, last = load_dataset(data), load_dataset(tmp_path / "back")
    same = [(named(first, a) == named(last, b)).mean() for a, b in pairs_of(first, last)]
    assert min(same) > 0.5
    if name in EXACT:
        assert same == [1.0] * 8 and last.classes.names == first.classes.names


@pytest.mark.parametrize("name", ["coco", "cvat_images", "labelme", "yolo_seg"])
def test_polygons_are_exact_without_tolerance_and_lossy_with_it(tmp_path, name):
    data = make_dataset(tmp_path / "data", images=4, size=(64, 80), describe=True)
    assert convert(data, tmp_path / "a", to=name, polygons=True, progress=False).exact
    light = convert(data, tmp_path / "b", to=name, polygons=True, tolerance=1.0, progress=False)
    assert not light.exact and min(light.iou.values()) > 0.8


@pytest.mark.parametrize("name", ["cvat_masks", "coco", "voc"])
def test_zip_files(tmp_path, data, name):
    convert(data, tmp_path / "out.zip", to=name, progress=False)
    assert CERTIFICATE not in zipfile.ZipFile(tmp_path / "out.zip").namelist()
    back = convert(tmp_path / "out.zip", tmp_path / "back", to="index", progress=False)
    first, last = load_dataset(data), load_dataset(tmp_path / "back")
    assert back.exact and len(last.samples) == 8
    assert sorted(named(first, s).tobytes() for s in first.samples) == sorted(
        named(last, s).tobytes() for s in last.samples
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "data", "out.zip"]


@pytest.mark.parametrize("name", WRITTEN)
def test_provenance_and_names_with_folders(tmp_path, name):
    data = tmp_path / "data"
    rng = np.random.default_rng(1)
    for key in ("a/x", "b/x", "ü ñ"):
        write(data / "images" / f"{key}.png", rng.integers(0, 255, (9, 7, 3), dtype=np.uint8))
        write(data / "masks" / f"{key}.png", rng.integers(0, 3, (9, 7), dtype=np.uint8))
    (data / "labels.csv").write_text(
        "image,mask,provenance\na/x.png,a/x.png,box\nb/x.png,b/x.png,model\nü ñ.png,ü ñ.png,\n"
    )
    certificate = convert(data, tmp_path / "out", to=name, progress=False)
    assert certificate.exact or name in LOSSY
    back = load_dataset(tmp_path / "out")
    assert len(back.samples) == 3
    if FORMATS[name].read is None:
        assert [sample.provenance for sample in back.samples] == ["box", "model", "hand"]


def test_what_cannot_be_converted_is_left_out_with_the_reason(tmp_path):
    data = make_dataset(tmp_path / "data", images=8, layout="flat", describe=True)
    (data / "masks" / "000.png").unlink()
    write(data / "masks" / "001.png", np.zeros((3, 3), np.uint8))
    (data / "masks" / "002.png").write_bytes(b"no image")
    certificate = convert(data, tmp_path / "out", to="coco", progress=False)
    assert len(certificate.samples) == 5
    assert list(certificate.left_out) == ["000", "001", "002"]
    assert "no mask" in certificate.left_out["000"] and "3x3" in certificate.left_out["001"]
    assert "and 0 more" not in certificate.human() and "001.png" in certificate.human()


def test_nothing_to_convert(tmp_path):
    data = make_dataset(tmp_path / "data", images=4, layout="flat", describe=True)
    for path in (data / "masks").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="nothing to convert: has no mask"):
        convert(data, tmp_path / "out", to="voc", progress=False)
    assert not (tmp_path / "out").exists() and len(list(tmp_path.iterdir())) == 1


def test_without_images(tmp_path, data):
    certificate = convert(data, tmp_path / "out", to="yolo_seg", images=False, progress=False)
    assert certificate.exact
    assert not [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".png", ".jpg")]
    assert len(list((tmp_path / "out").rglob("labels/**/*.txt"))) == 8


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"to": "cooc"}, "did you mean 'coco'"),
        ({"to": "common_semantic"}, "no format that can be written"),
        ({"to": "coco", "tolerance": -1}, "at least 0 pixels"),
        ({"to": "coco", "tolerance": float("nan")}, "at least 0 pixels"),
        ({"to": "jpeg", "quality": 0}, "1 to 100"),
        ({"to": "coco", "boxes": {"shrink": 1.5}}, "shrink"),
        ({"to": "coco", "boxes": {"overlap": "random"}}, "overlap"),
        ({"to": "coco", "from_": "cocoo"}, "did you mean 'coco'"),
    ],
)
def test_wrong_usage(tmp_path, data, changes, says):
    with pytest.raises(ConfigError, match=says):
        convert(data, tmp_path / "out", progress=False, **changes)
    assert not (tmp_path / "out").exists()


def test_outputs_are_never_overwritten(tmp_path, data):
    for target in (tmp_path / "out", tmp_path / "out.zip"):
        convert(data, target, to="voc", progress=False)
        before = target.read_bytes() if target.is_file() else None
        with pytest.raises(ConfigError, match="never overwritten"):
            convert(data, target, to="voc", progress=False)
        assert before is None or target.read_bytes() == before


def test_boxes_become_masks_by_the_rule(tmp_path):
    data = tmp_path / "data"
    write(data / "images" / "a.png", np.zeros((10, 20, 3), np.uint8))
    (data / "labels").mkdir()
    (data / "labels" / "a.txt").write_text("0 0.5 0.5 0.8 0.8\n1 0.5 0.5 0.2 0.4\n")
    (data / "classes.txt").write_text("crack\nhole\n")
    for rule, hole, outside in (
        ({}, 16, "background"),
        ({"overlap": "larger_on_top"}, 0, "background"),
        ({"shrink": 0.5}, 4, "background"),
        ({"outside": "ignore"}, 16, "ignore"),
    ):
        out = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        certificate = convert(data, out, to="index", boxes=rule, progress=False)
        dataset = load_dataset(out)
        found = named(dataset, dataset.samples[0])
        assert certificate.exact and dataset.samples[0].provenance == "box"
        assert (found == "hole").sum() == hole, rule
        assert found[0, 0] == outside
    init(data)
    text = (data / "dataset.yaml").read_text()
    (data / "dataset.yaml").write_text(
        text.replace("shrink: 0.0", "shrink: 0.5").replace("outside: background", "outside: ignore")
    )
    convert(data, tmp_path / "both", to="index", boxes={"overlap": "smaller_on_top"}, progress=False)
    dataset = load_dataset(tmp_path / "both")
    found = named(dataset, dataset.samples[0])
    assert (found == "hole").sum() == 4 and found[0, 0] == "ignore"  # what is not given stays as described
