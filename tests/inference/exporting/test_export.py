"""The verb `export`: what it writes, what its certificate claims, and what it refuses to write."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import maskwright
import tiny
from maskwright.cli import main
from maskwright.core.hashes import file_hash
from maskwright.errors import ConfigError, DataError, SetupError
from maskwright.evaluation.parity import parities
from maskwright.inference.exporting import graph
from maskwright.modeling.models.build import ModelSpec, build_model
from maskwright.run import Run
from maskwright.verbs import export as module


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("garden")
    root = tiny.write_dataset(folder / "data", {"train": 12, "val": 5, "test": 3}, size=(40, 36))
    config = tiny.config(root, train={"iterations": 30, "evaluate_every": 30}, optimizer={"name": "adamw", "lr": 0.01})
    return maskwright.train(config, out=folder / "run")


@pytest.fixture(scope="module")
def result(run: Run) -> maskwright.ExportResult:
    return maskwright.export(run, int8=True, max_loss=1)


def test_the_certificate_is_true(run: Run, result: maskwright.ExportResult) -> None:
    assert result.file == run.exports / "model-001.onnx" and result.certificate == run.exports / "model-001.json"
    assert json.loads(result.certificate.read_text()) == json.loads(json.dumps(result.to_dict(), default=str))
    assert result.hash == file_hash(result.file) and result.bytes == result.file.stat().st_size
    model, segmenter = maskwright.load(result.file), maskwright.load(run)
    assert model.metadata.precision == "int8" and model.metadata.run == "run"
    assert model.metadata.dataset_version == run.info()["dataset"]["version"]
    assert model.session.get_modelmeta().custom_metadata_map.keys() == {"maskwright"}
    data = maskwright.load_dataset(run.config().data.root)
    images = [data.read_image(sample) for sample in data.splits["val"]]
    same = [np.mean(a == b) for a, b in zip(model.label(images), segmenter.label(images), strict=True)]
    assert result.int8.agreement == pytest.approx(np.mean(same)) and result.int8.images == 5
    assert result.float32.agreement > 0.999 and result.float32.max_difference < 1e-4
    expected = maskwright.evaluate(run, split="val").scores.mIoU
    assert result.int8.reference_mIoU == pytest.approx(expected) == result.float32.reference_mIoU
    found = maskwright.evaluate(result.file, split="val", data=data)
    assert found.scores.mIoU == pytest.approx(result.int8.mIoU)
    assert found.folder == run.exports / "model-001-onnx" / "evaluations" / "val-001"
    low, value, high = (getattr(result.int8.difference, name) for name in ("low", "value", "high"))
    assert low <= value <= high and value == pytest.approx(result.int8.mIoU - expected)


def test_more_first_layers_stay_float32_where_that_helps() -> None:
    import onnx
    import torch

    from exported_model import segmenter_of
    from maskwright.inference.exporting.metadata import Metadata
    from maskwright.inference.exporting.quantise import first, kept_of, quantising

    spec = ModelSpec("UNet", 4, args={"channels": [4, 4, 4, 4], "bottleneck": 4})
    torch.manual_seed(0)
    segmenter = segmenter_of(0, spec=spec, model=build_model(spec).eval())
    proto = graph.to_onnx(segmenter, Metadata(segmenter.classes, segmenter.preprocessing, segmenter.spec.to_dict()))
    layers = [node.name for node in proto.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    assert len(layers) >= 16 and kept_of(proto) == [1, 4]
    names = [*first(proto.graph, 4)]
    assert [name for name in names if name in layers] == layers[:4] and names[-1] == layers[3]
    images = [np.random.default_rng(number).integers(0, 256, (24, 40, 3), np.uint8) for number in range(4)]
    with quantising(proto, images) as quantise:
        integers = [
            sum(one.data_type == onnx.TensorProto.INT8 for one in quantise("minmax", kept).graph.initializer)
            for kept in (1, 4)
        ]
    assert integers[0] > integers[1] > 0


def test_int8_holds_integers(result: maskwright.ExportResult) -> None:
    import onnx

    model = onnx.load(result.file)
    kinds = [node.op_type for node in model.graph.node]
    assert "QuantizeLinear" in kinds and model.opset_import[0].version == result.opset == graph.OPSET
    (first, *_, last) = [node for node in model.graph.node if node.op_type == "Conv"]
    floats = {one.name for one in model.graph.initializer if one.data_type == onnx.TensorProto.FLOAT}
    assert {first.input[1], last.input[1]} <= floats, "the first and the last layer stay float32"
    integers = [one for one in model.graph.initializer if one.data_type == onnx.TensorProto.INT8 and len(one.dims) == 4]
    assert integers and all(np.abs(onnx.numpy_helper.to_array(one).astype(int)).max() <= 64 for one in integers)
    assert result.calibration.images == 8 and result.calibration.compared == 4
    agreement = result.calibration.agreement
    assert result.calibration.kept == 1, "a quarter of so few layers is not 4"
    assert set(agreement) == {"minmax 1", "percentile 1", "entropy 1"}
    assert agreement[f"{result.calibration.method} 1"] == max(agreement.values()) > 0.9


def test_what_is_said(result: maskwright.ExportResult) -> None:
    text = result.human()
    assert "opset 18, images of any size" in text and "5 validation images: 100.0000% of pixels agree" in text
    assert f"int8 and the run ({result.calibration.method}, 8 training images, {result.calibration.kept} layer" in text
    assert "torch " in text and set(result.rates) == {"torch", "onnx", "int8"} == set(result.to_dict()["speed"])


def test_a_worse_model_is_not_written(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "m.onnx"
    with pytest.raises(DataError, match=r"m\.onnx: not written: on 5 validation images only .* must agree; .*min_agr"):
        maskwright.export(run, out=file, min_agreement=1.01)
    with pytest.raises(
        DataError, match=r"m\.onnx: not written: the int8 model is worse beyond chance on 5 .*leave `int8` out"
    ):
        maskwright.export(run, out=file, int8=True, max_loss=-1)
    assert [*tmp_path.iterdir()] == [] and capsys.readouterr().out == "", "stdout is for results"


def test_when_a_loss_is_no_chance(result: maskwright.ExportResult) -> None:
    def refused(value: float, high: float) -> bool:
        parity = replace(result.int8, difference=replace(result.int8.difference, value=value, high=high))
        try:
            module._require_quality(Path("m.onnx"), parity, 0.005)
        except DataError:
            return True
        return False

    assert refused(-0.006, 0.1) and refused(-0.002, -0.0001)
    assert not refused(-0.004, 0.1) and not refused(-0.0009, -0.0001) and not refused(0.01, 0.02)


def test_wrong_arguments(run: Run, result: maskwright.ExportResult, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.pt: an exported model is an ONNX file; let its name end with"):
        maskwright.export(run, out=tmp_path / "model.pt")
    with pytest.raises(ConfigError, match="already exists"):
        maskwright.export(run, out=result.file)
    (tmp_path / "m.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"m\.json: already exists"):
        maskwright.export(run, out=tmp_path / "m.onnx")
    with pytest.raises(DataError, match=r"its class ids \[0, 5\] are not those of the run \[0, 1\]"):
        other = tiny.write_dataset(tmp_path / "other", {"train": 1, "val": 1}, ids=(0, 5))
        maskwright.export(run, out=tmp_path / "n.onnx", data=other)
    with pytest.raises(SystemExit) as ended:
        main(["export", str(tmp_path)])
    assert ended.value.code == 3


def test_a_network_that_cannot_be_exported(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such operator\nmore")

    monkeypatch.setattr(graph, "_traced", fail)
    with pytest.raises(
        ConfigError, match=r"model: UNet cannot be exported to ONNX \(no such operator\); export another"
    ):
        maskwright.export(run, out=tmp_path / "m.onnx")
    assert [*tmp_path.iterdir()] == []


def test_without_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from maskwright.base import extras

    find = extras.importlib.util.find_spec
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    with pytest.raises(SetupError, match=r"export needs onnxscript: not installed; `pip install maskwright\[export\]`"):
        maskwright.export(run)


def test_parity_by_hand() -> None:
    class Fixed:
        """A model that says the same of every image."""

        classes = maskwright.ClassTree.flat(["a", "b"])

        def __init__(self, share: list[float]) -> None:
            self.values = np.array([[1 - one for one in share], share], np.float32)[:, None]

        def labelled(self, images, together, probabilities):
            return iter([([self.values.argmax(0).astype(np.uint8)], self.values)] * len(images))

    image, truth = np.zeros((1, 4, 3), np.uint8), np.array([[0, 0, 1, 255]], np.uint8)
    before, after = Fixed([0.1, 0.2, 0.9, 0.3]), Fixed([0.1, 0.6, 0.9, 0.3])
    (found,) = parities(before, [after], [(image, truth)] * 3)
    assert found.images == 3 and found.agreement == 0.75 and found.max_difference == pytest.approx(0.4)
    assert found.reference_mIoU == 1 and found.mIoU == pytest.approx(0.5)
    assert (found.difference.value, found.difference.low, found.difference.high) == pytest.approx((-0.5,) * 3)
