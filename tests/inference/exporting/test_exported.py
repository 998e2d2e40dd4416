"""An exported model labels as the model of torch does, says what it is, and what is none of ours is refused."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import maskwright
from exported_model import TREE, Exported, run_without_torch
from helpers import make_dataset, write
from maskwright.base import extras
from maskwright.errors import ConfigError, DataError, SetupError
from maskwright.inference.exporting.exported import ExportedModel
from maskwright.inference.exporting.metadata import Metadata
from maskwright.inference.exporting.session import open_session

GUIDE = Path(__file__).parents[3] / "docs" / "guide.md"


def test_the_same_labels_and_probabilities(exported: Exported, pictures: list[np.ndarray]) -> None:
    model = maskwright.load(exported.file)
    assert isinstance(model, ExportedModel) and model.metadata.any_size
    for expected, found in zip(exported.segmenter.label(pictures), model.label(pictures), strict=True):
        assert found.shape == expected.shape and (found == expected).mean() > 0.999
    for (_, ours), theirs in zip(
        model.labelled(pictures, 8, True), exported.segmenter.own_probabilities(pictures), strict=True
    ):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)
    assert len(np.unique(model.label(pictures[1]))) > 2


@pytest.mark.parametrize("shape", [(1, 24, 40, 3), (5, 24, 40, 3), (2, 25, 39, 3), (1, 61, 17, 3)])
def test_the_graph_takes_any_number_and_size(exported: Exported, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    (found,) = open_session(exported.file).run(None, {"images": images})
    alone = replace(exported.segmenter, flip_average=False)
    expected = alone.probabilities(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_the_file_says_of_itself(exported: Exported) -> None:
    metadata = ExportedModel.open(exported.file).metadata
    assert metadata.classes == TREE and metadata.preprocessing == exported.segmenter.preprocessing
    assert metadata.run == "garden" and metadata.precision == "float32" and metadata.flip_average
    assert Metadata.from_json(metadata.to_json(), "x") == metadata
    assert json.loads(metadata.to_json())["postprocessing"] is None
    text = exported.file.read_bytes()
    assert b"site-packages" not in text and b".py" not in text, "no paths of the machine that exported it"


def test_predict_writes_the_masks_of_the_run(exported: Exported, pictures: list[np.ndarray], tmp_path: Path) -> None:
    exported.segmenter.save(tmp_path / "best.safetensors")
    for number, picture in enumerate(pictures):
        write(tmp_path / f"photos/{number}.png", picture)
    for model, out in ((tmp_path / "best.safetensors", "torch"), (exported.file, "onnx")):
        result = maskwright.predict(model, tmp_path / "photos", out=tmp_path / out, levels=True, selector="top_down")
        assert len(result.rows) == len(pictures) and not result.skipped
    for mask in sorted((tmp_path / "torch").rglob("*.png")):
        other = np.asarray(Image.open(tmp_path / "onnx" / mask.relative_to(tmp_path / "torch")))
        assert (np.asarray(Image.open(mask)) == other).mean() > 0.999
    assert len([*(tmp_path / "onnx/levels").rglob("*.png")]) == 2 * len(pictures)
    with pytest.raises(ConfigError, match="another model"):
        maskwright.predict(exported.file, tmp_path / "photos", out=tmp_path / "torch", levels=True)


def test_predict_and_evaluate_without_torch(exported: Exported, tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "data", classes=4)
    leaves = "".join(f"  - {{id: {number}, name: {leaf.name}}}\n" for number, leaf in enumerate(TREE.leaves))
    (root / "dataset.yaml").write_text(
        "layout: split_folders\nimages: {folder: img}\nmasks: {folder: labels}\n"
        f"splits: {{train: train, val: val, test: test}}\nclasses:\n{leaves}ignore: 255\n"
    )
    done = run_without_torch("predict", exported.file, root / "img/test", "--out", tmp_path / "masks", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["predictions"]) == 3
    done = run_without_torch("evaluate", exported.file, "--data", root, "--calibration", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["images"] == 3 and "dataset_ece" in found["measures"]
    folder = exported.file.with_name("garden-onnx") / "evaluations" / "test-001"
    assert len([*folder.rglob("predictions/**/*.png")]) == 3
    for name, mask in ((path.name, path) for path in folder.rglob("predictions/**/*.png")):
        (other,) = (tmp_path / "masks").rglob(f"masks/**/{name}")
        order = np.zeros(256, np.uint8)
        order[TREE.ids] = range(len(TREE))  # this dataset has other ids for the same names
        assert np.array_equal(np.asarray(Image.open(mask)), order[np.asarray(Image.open(other))])
    done = run_without_torch("evaluate", exported.file, "--data", root, "--calibration")
    assert "is there already" in done.stderr
    done = run_without_torch("predict", tmp_path / "run", root / "img", "--out", tmp_path / "o")
    assert done.returncode == 4 and "predict with a run needs torch" in done.stderr


def test_evaluate_needs_a_dataset_of_its_classes(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"garden\.onnx: an exported model is evaluated on a dataset; name it"):
        maskwright.evaluate(exported.file)
    with pytest.raises(DataError, match="its classes .* are not those"):
        maskwright.evaluate(exported.file, data=make_dataset(tmp_path / "data", describe=True))


def test_the_example_of_the_guide(exported: Exported, pictures: list[np.ndarray], tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(\"\"\"python label\.py .*?)```", GUIDE.read_text(), re.S)
    assert len(code.splitlines()) <= 40
    assert set(re.findall(r"^(?:import|from) (\w+)", code, re.M)) == {"json", "sys", "numpy", "onnxruntime", "PIL"}
    (tmp_path / "label.py").write_text(code)
    write(tmp_path / "photo.png", pictures[1])
    subprocess.run(
        [sys.executable, "label.py", exported.file, "photo.png", "mask.png"], cwd=tmp_path, check=True, timeout=120
    )
    expected = TREE.to_ids(exported.segmenter.label(pictures[1]))
    assert (np.asarray(Image.open(tmp_path / "mask.png")) == expected).mean() > 0.99


def cropped(**values: object) -> dict[str, object]:
    """What a file says whose windows are such ones."""
    geometry = {"size": [24, 40], "crop": {"scale": 1.0, "overlap": 0.25} | values}
    return {"preprocessing": {"geometry": geometry, "mean": [0.5] * 3, "std": [0.2] * 3}}


def changed(exported: Exported, path: Path, **values: object) -> Path:
    """The file with other values in what it says of itself; `text` is all of it."""
    proto = onnx.ModelProto()
    proto.CopyFrom(exported.proto)
    (entry,) = proto.metadata_props
    entry.value = str(values["text"]) if "text" in values else json.dumps(json.loads(entry.value) | values)
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"format": "maskwright-onnx-3"}, "is from a newer Maskwright; `pip install --upgrade maskwright`"),
        ({"postprocessing": {"fill": 3}}, "is from a newer Maskwright"),
        ({"format": "other-1"}, "what it says of itself is damaged; export it again"),
        ({"classes": {"leaves": []}}, "is damaged"),
        ({"classes": None}, "is damaged"),
        ({"preprocessing": {}}, "is damaged"),
        (cropped(overlap=1.0), "is damaged"),
        (cropped(scale=0), "is damaged"),
        (cropped(scale="1"), "is damaged"),
        ({"selector": "best"}, "is damaged"),
        ({"selector": []}, "is damaged"),
        ({"text": "{"}, "is damaged"),
        ({"text": "[" * 100_000}, "is damaged"),
        ({"text": "[]"}, "is damaged"),
        (
            {"classes": {"ignore": 255, "leaves": [{"id": 0, "name": "a", "colour": "#000000", "parents": []}]}},
            "is not",
        ),
        ({"any_size": False}, "its graph is not what its metadata says"),
    ],
)
def test_damaged_and_newer_files(exported: Exported, tmp_path: Path, values: dict, what: str) -> None:
    with pytest.raises(DataError, match=re.escape(what)):
        ExportedModel.open(changed(exported, tmp_path / "m.onnx", **values))


def test_files_that_are_no_exported_model(exported: Exported, tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    with pytest.raises(DataError, match="no such file; give one that `export` wrote"):
        maskwright.load(file)
    for content in (b"", b"nonsense", exported.file.read_bytes()[:500]):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"m\.onnx: (not a readable ONNX model|was not exported by)"):
            maskwright.load(file)
    proto = onnx.ModelProto()
    proto.CopyFrom(exported.proto)
    del proto.metadata_props[:]
    file.write_bytes(proto.SerializeToString())
    with pytest.raises(DataError, match="was not exported by maskwright"):
        maskwright.load(file)


def test_a_graph_reads_no_other_file(exported: Exported, tmp_path: Path) -> None:
    """Numbers of a graph may lie in a file beside it, by a path that must not lead elsewhere."""
    (tmp_path / "below").mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(1 << 16))
    proto = onnx.ModelProto()
    proto.CopyFrom(exported.proto)
    weight = next(one for one in proto.graph.initializer if len(one.raw_data) > 100)
    length = len(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "../secret.bin"), ("offset", "0"), ("length", str(length))):
        weight.external_data.add(key=key, value=value)
    file = tmp_path / "below" / "m.onnx"
    file.write_bytes(proto.SerializeToString())
    with pytest.raises(DataError, match="not a readable ONNX model"):
        maskwright.load(file)


def test_what_is_missing_is_said(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SetupError, match="has no CUDA"):
        maskwright.load(exported.file, device="cuda")
    with pytest.raises(SetupError, match="runs on cpu or cuda"):
        maskwright.load(exported.file, device="tpu")
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError, match=r"needs onnxruntime: not installed; `pip install maskwright\[onnx\]`"):
        maskwright.load(exported.file)
