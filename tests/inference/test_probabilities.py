"""`predict` with probabilities: what the files hold, how sure the model is of a class, and resuming."""

from __future__ import annotations

import csv
import subprocess
import sys

import numpy as np
import pytest
from test_predict import IDS, SIZES, pixels, segmenter_of

from helpers import draw_pair, fingerprint, write
from maskwright.base.storage import read_json
from maskwright.cli import main
from maskwright.errors import ConfigError
from maskwright.inference import predict as module
from maskwright.inference.loading import load
from maskwright.inference.predict import predict
from maskwright.modeling.models import selectors

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
    return tmp_path / "images"


@pytest.mark.parametrize("one_by_one", [False, True])
def test_files_hold_the_probabilities_of_the_model(model, images, tmp_path, monkeypatch, one_by_one):
    if one_by_one:
        monkeypatch.setattr(selectors, "WHOLE", 1)
        monkeypatch.setattr(selectors, "_ALWAYS", 1)
    result = predict(model, [images], out=tmp_path / "out", probabilities=True)
    segmenter = load(model)
    for row in result.rows:
        expected = next(segmenter.own_probabilities([pixels(row["image"])])).numpy()
        with np.load(result.folder / row["probabilities"], allow_pickle=False) as found:
            assert sorted(found) == ["classes", "ids", "probabilities"]
            assert found["classes"].tolist() == NAMES and found["ids"].tolist() == IDS
            values = found["probabilities"]
        assert values.dtype == np.uint8 and values.shape == (3, row["height"], row["width"])
        assert np.abs(values / 255 - expected).max() <= 0.5 / 255 + 1e-6
        mask = pixels(result.folder / row["mask"])
        for index, (id_, name) in enumerate(zip(IDS, NAMES, strict=True)):
            own = expected[index][mask == id_]
            assert row["confidence"][name] == (pytest.approx(own.mean()) if own.size else None)
    assert read_json(result.folder / "model.json")["probabilities"] == {
        "dtype": "uint8",
        "steps": 255,
        "range": [0.0, 1.0],
        "classes": NAMES,
        "ids": IDS,
    }


def test_the_table_of_confidence_has_a_row_an_image(model, images, tmp_path):
    result = predict(model, [images], out=tmp_path / "out", probabilities=True)
    rows = list(csv.DictReader((result.folder / "confidence.csv").read_text().splitlines()))
    assert [row["image"] for row in rows] == [row["image"] for row in result.rows]
    for row, known in zip(rows, result.rows, strict=True):
        for name in NAMES:
            value = known["confidence"][name]
            assert row[name] == ("" if value is None else f"{value:.6f}")
    assert {f"confidence/{name}" for name in NAMES} < set(result.to_pandas().columns)


def test_masks_are_those_without_probabilities(model, images, tmp_path):
    plain = predict(model, [images], out=tmp_path / "plain")
    assert not {"probabilities", "confidence"} & plain.rows[0].keys()
    assert {path.name for path in plain.folder.iterdir()} == {
        ".lock",
        "masks",
        "overlays",
        "model.json",
        "predictions.jsonl",
        "statistics.csv",
    }
    full = predict(model, [images], out=tmp_path / "full", probabilities=True)
    for row in plain.rows:
        assert (plain.folder / row["mask"]).read_bytes() == (full.folder / row["mask"]).read_bytes()


def test_what_was_stopped_goes_on_and_ends_the_same(model, images, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 1)  # one by one: together they differ in the last bits
    whole = predict(model, [images], out=tmp_path / "whole", probabilities=True)
    write_one, calls = module.write_probabilities, iter(range(3))

    def stopped(*args):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return write_one(*args)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_probabilities", stopped)
        with pytest.raises(KeyboardInterrupt):
            predict(model, [images], out=tmp_path / "out", probabilities=True)
    (tmp_path / "out/probabilities/a.npz").unlink(missing_ok=True)  # a lost file is made again with its masks
    again = predict(model, [images], out=tmp_path / "out", probabilities=True)
    assert 0 < again.kept < len(SIZES)

    def files(folder):
        kept = ("masks", "overlays", "probabilities")
        return {path: value for path, value in fingerprint(folder).items() if path.startswith(kept)}

    assert files(again.folder) == files(whole.folder)
    assert {row["mask"]: row["confidence"] for row in again.rows} == {
        row["mask"]: row["confidence"] for row in whole.rows
    }


def test_a_folder_of_the_other_kind_is_refused(model, images, tmp_path):
    predict(model, [images], out=tmp_path / "plain")
    predict(model, [images], out=tmp_path / "full", probabilities=True)
    with pytest.raises(ConfigError, match="holds predictions without `probabilities`; choose another `out`"):
        predict(model, [images], out=tmp_path / "plain", probabilities=True)
    with pytest.raises(ConfigError, match="holds predictions with `probabilities`"):
        predict(model, [images], out=tmp_path / "full")
    with pytest.raises(ConfigError, match="leave out, levels, probabilities and format out"):
        predict(model, np.zeros((8, 8, 3), np.uint8), probabilities=True)


def test_from_the_command_line(model, images, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(model), str(images), "--out", str(tmp_path / "out"), "--probabilities", "--device", "cpu"])
    assert ended.value.code == 0 and (tmp_path / "out/confidence.csv").is_file()
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(model), str(images), "--out", str(tmp_path / "out2"), "--device", "tpu"])
    assert ended.value.code == 2 and "--device tpu: not a device" in capsys.readouterr().err


PEAK = """
import resource, sys
import numpy as np
import torch
from maskwright.core.classes import ClassTree
from maskwright.inference.probabilities import write_probabilities
from maskwright.modeling.models.selectors import enlarged
from pathlib import Path

classes, size = ClassTree.flat([f"c{i}" for i in range(40)]), (1500, 2000)
small = torch.softmax(torch.randn(40, 64, 64), 0)
mask = np.zeros(size, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
maps = enlarged(small, size)
write_probabilities(Path(sys.argv[1]), lambda index: maps([index]).numpy(), mask, classes)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def test_an_image_of_many_classes_needs_the_memory_of_a_few_maps(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / "a.npz")], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 8 * 1500 * 2000 * 4  # all would be 40 maps
