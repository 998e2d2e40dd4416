"""`predict`: statistics of each image, and all objects in the formats of annotation tools."""

import csv
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from test_predict import IDS, SIZES, pixels, segmenter_of

import maskwright
from helpers import draw_pair, write
from maskwright.cli import main
from maskwright.data.formats import FORMATS
from maskwright.errors import ConfigError
from maskwright.inference import derived
from maskwright.inference.predict import predict

NAMES = [f"class {id_}" for id_ in IDS]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    segmenter_of().save(path)
    return path


@pytest.fixture
def images(tmp_path, rng):
    for name, size in SIZES.items():
        write(tmp_path / f"images/{name}.png", draw_pair(rng, size)[0])
    os.rename(tmp_path / "images/a.png", tmp_path / "images/a.PNG")
    return tmp_path / "images"


def test_rows_and_a_table_say_how_much_there_is(model, images, tmp_path):
    result = predict(model, [images], out=tmp_path / "out")
    for row in result.rows:
        mask = pixels(result.folder / row["mask"])
        for id_, name in zip(IDS, NAMES, strict=True):
            assert row["pixels"][name] == (mask == id_).sum()
            assert row["share"][name] == pytest.approx((mask == id_).mean())
            assert row["objects"][name] == ndimage.label(mask == id_, np.ones((3, 3)))[1]
    with open(result.folder / "statistics.csv", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [row["mask"] for row in table] == [row["mask"] for row in result.rows]
    for written, row in zip(table, result.rows, strict=True):
        assert int(written["height"]) == row["height"] and int(written["pixels/class 7"]) == row["pixels"]["class 7"]
        assert int(written["objects/class 7"]) == row["objects"]["class 7"]
        assert float(written["share/class 7"]) == pytest.approx(row["share"]["class 7"], abs=1e-6)
    frame = result.to_pandas()
    assert {"pixels/class 7", "share/class 7", "objects/class 7"} <= set(frame.columns)


def test_rows_of_an_older_version_have_no_objects(model, images, tmp_path):
    file = tmp_path / "out/predictions.jsonl"
    rows = predict(model, [images], out=tmp_path / "out").rows
    for row in rows:
        del row["objects"], row["share"]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    predict(model, [images], out=tmp_path / "out")
    with open(tmp_path / "out/statistics.csv", newline="") as stream:
        assert {row["objects/class 7"] for row in csv.DictReader(stream)} == {""}


def read_back(result, images, place, format):
    """The masks that a format holds, by the names of their images."""
    shutil.copytree(images, place)
    copied = shutil.copytree if (result.folder / derived.ANNOTATIONS[format][0]).is_dir() else shutil.copy
    copied(
        result.folder / derived.ANNOTATIONS[format][0],
        place,
        **({"dirs_exist_ok": True} if format == "labelme" else {}),
    )
    data = maskwright.load_dataset(place)
    return data, {sample.image.relative_to(place).as_posix(): data.read_mask(sample) for sample in data.samples}


@pytest.mark.parametrize("format", derived.ANNOTATIONS)
def test_objects_give_the_masks_again(model, images, tmp_path, format, capsys):
    assert FORMATS[format].write and FORMATS[format].read
    result = predict(model, [images], out=tmp_path / "out", format=format)
    assert f"{format}: {tmp_path / 'out'}" in capsys.readouterr().err
    data, found = read_back(result, images, tmp_path / "copy", format)
    names = [*data.classes.names]
    for row in result.rows:
        mask = pixels(result.folder / row["mask"])
        back = found[Path(row["image"]).relative_to(images).as_posix()]
        for id_, name in zip(IDS, NAMES, strict=True):
            index = names.index(name) if name in names else -1
            assert np.array_equal(mask == id_, back == index), (row["image"], name)


def test_one_annotation_for_each_object(model, images, tmp_path):
    result = predict(model, [images], out=tmp_path / "out", format="coco")
    coco = json.loads((result.folder / "coco.json").read_text())
    assert {image["file_name"] for image in coco["images"]} == {"a.PNG", "deep/b.png", "deep/er/c.png", "d.v2.png"}
    assert len(coco["annotations"]) == sum(sum(row["objects"].values()) for row in result.rows) > 10
    kinds = {type(one["segmentation"]) for one in coco["annotations"]}
    assert kinds == {list, dict}, "polygons, and run lengths where there are holes"
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".partial")] == []


@pytest.mark.parametrize("format", derived.ANNOTATIONS)
def test_later_calls_keep_it_up_to_date(model, images, tmp_path, format):
    place = tmp_path / "out" / derived.ANNOTATIONS[format][0]

    def there():
        if format == "labelme":
            return {path.relative_to(place).with_suffix("").as_posix() for path in place.rglob("*.json")}
        return {
            Path(image["file_name"]).with_suffix("").as_posix() for image in json.loads(place.read_text())["images"]
        }

    predict(model, [images / "deep"], out=tmp_path / "out")
    assert not place.exists()
    predict(model, [images / "deep"], out=tmp_path / "out", format=format)
    assert there() == {"b", "er/c"}
    predict(model, [images / "a.PNG"], out=tmp_path / "out")
    assert there() == {"b", "er/c", "a"}, "without being asked for again"
    (tmp_path / "out/masks/a.png").unlink()
    predict(model, [images / "deep"], out=tmp_path / "out")
    assert there() == {"b", "er/c"}, "of masks that are there"


def test_a_kill_while_it_is_written_leaves_the_old_one(model, images, tmp_path):
    predict(model, [images / "a.PNG"], out=tmp_path / "out", format="coco")
    before = (tmp_path / "out/coco.json").read_bytes()
    pid = os.fork()
    if pid == 0:
        derived._mask = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        predict(model, [images], out=tmp_path / "out")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert (tmp_path / "out/coco.json").read_bytes() == before
    assert predict(model, [images], out=tmp_path / "out").kept == 4
    assert len(json.loads((tmp_path / "out/coco.json").read_text())["images"]) == 4
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".partial")] == []


def test_what_is_not_written(model, images, tmp_path, capsys):
    with pytest.raises(ConfigError, match="`format` voc: is not written here; there are coco, labelme"):
        predict(model, [images], out=tmp_path / "out", format="voc")
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(model), str(images), "--out", str(tmp_path / "out"), "--format", "voc"])
    assert ended.value.code == 2 and "--format voc: is not written here" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="leave out, levels, probabilities and format out"):
        predict(model, np.zeros((8, 8, 3), np.uint8), format="coco")
    assert not (tmp_path / "out").exists()
