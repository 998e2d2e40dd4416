"""`evaluate` on a folder of masks: the scores of the run that wrote them, without torch; and what is refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import write
from maskwright.cli import main
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError
from maskwright.evaluation.metrics import confusion_matrix, scores
from maskwright.evaluation.scoring.evaluate import evaluate
from tiny import write_dataset

IDS = [0, 7, 200]
INDEX = np.zeros(256, np.uint8)
INDEX[[*IDS, 255]] = [0, 1, 2, 255]


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def data(tmp_path):
    root = write_dataset(tmp_path / "data", {"train": 2, "test": 5}, ids=IDS, size=(24, 30))
    for path in (root / "masks/test").iterdir():
        mask = pixels(path).copy()
        mask[:3] = 255
        write(path, mask)
    return root


@pytest.fixture
def masks(data, tmp_path):
    """Predictions of some other tool: the truth moved a little, with a class at each ignored pixel."""
    for path in (data / "masks/test").iterdir():
        found = np.roll(pixels(path), (1, 2), (0, 1))
        write(tmp_path / "masks" / path.name, np.where(found == 255, 7, found).astype(np.uint8))
    return tmp_path / "masks"


def test_scores_are_those_of_the_masks(data, masks):
    found = evaluate(masks, data=data, boundary=True)
    assert found.folder == masks / "evaluations/test-001" and found.names == [f"test/test_0{i}" for i in range(5)]
    expected = sum(
        confusion_matrix(INDEX[pixels(data / f"masks/{name}.png")], INDEX[pixels(masks / f"{name[5:]}.png")], 3)
        for name in found.names
    )
    assert found.scores == scores(expected, [f"class_{id_}" for id_ in IDS], IDS)
    document = json.loads((found.folder / "scores.json").read_text())
    assert {"split", "images", "scores", "classes", "measures"} <= set(document) and document["size"] == {}
    assert document["tolerance"].startswith("0.75 % of the image's diagonal")
    assert [finding.code for finding in found.findings] == ["number.few_images", "number.unknown_training"]
    assert "boundary F" in found.human()
    for name in found.names:
        assert (found.folder / f"predictions/{name}.png").read_bytes() == (masks / f"{name[5:]}.png").read_bytes()


def test_an_evaluation_can_be_scored_again(data, masks):
    """Its masks lie in folders of splits."""
    first = evaluate(masks, data=data)
    again = evaluate(first.folder / "predictions", data=data)
    assert again.scores == first.scores and again.measures.keys() == first.measures.keys()


def test_what_predict_has_written_is_scored(data, masks, tmp_path):
    """Beside the masks lie overlays and more."""
    out = tmp_path / "out"
    shutil.copytree(masks, out / "masks")
    (out / "predictions.jsonl").write_text("")
    found = evaluate(out, data=data)
    assert found.folder == out / "evaluations/test-001" and found.scores == evaluate(masks, data=data).scores
    (out / "masks/test_03.png").unlink()
    with pytest.raises(DataError, match=r"lacks 1 of 5 \(test_03.png\); .* like masks/test/test_00.png"):
        evaluate(out, data=data, again=True)


def test_all_samples_of_a_flat_dataset(tmp_path):
    root = write_dataset(tmp_path / "data", {"": 4})
    found = evaluate(root / "masks", data=root, split="all")
    assert found.scores.mIoU == 1 and len(found.names) == 4 and found.split == "all"
    with pytest.raises(ConfigError, match="`split` test: .* it has all"):
        evaluate(root / "masks", data=root)


def test_truth_that_is_weak_is_noted(data, masks):
    rows = [
        f"images/{path.parent.name}/{path.name},masks/{path.parent.name}/{path.name},test,{made}"
        for path, made in zip(sorted((data / "images/test").iterdir()), ["hand", "box", "model"] * 2, strict=False)
    ]
    (data / "labels.csv").write_text("\n".join(["image,mask,split,provenance", *rows]))
    text = (data / "dataset.yaml").read_text().replace("split_folders", "table").split("\n")
    (data / "dataset.yaml").write_text("\n".join(line for line in text if not line.startswith("splits")))
    for path in list(masks.iterdir()):
        write(masks / "images/test" / path.name, pixels(path))
    found = evaluate(masks, data=data)
    assert found.origin.weak == 3 and "number.weak_truth" in [finding.code for finding in found.findings]
    assert any("3 ground-truth masks were not drawn by hand" in note for note in found.notes)


def test_no_torch_is_needed(data, masks):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from maskwright.cli import main\n"
        f"main(['evaluate', {str(masks)!r}, '--data', {str(data)!r}, '--boundary', '--json'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["measures"]["mean_image_hd95"]["unit"] == "px"
    assert (
        "evaluation folder: " in done.stderr.splitlines()[0] and "evaluation folder: " in done.stderr.splitlines()[-1]
    )


def test_masks_that_are_missing_are_named(data, masks):
    (masks / "test_03.png").unlink()
    with pytest.raises(DataError, match=r"lacks 1 of 5 \(test_03\.png\); name the masks .* like test/test_00\.png"):
        evaluate(masks, data=data)
    shutil.rmtree(masks)
    masks.mkdir()
    with pytest.raises(DataError, match="lacks 5 of 5"):
        evaluate(masks, data=data)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda mask: mask[:-1], "is 30x23, but the mask of test/test_00 is 30x24"),
        (lambda mask: np.where(mask == 0, 3, mask), r"unknown class ids: 3 \("),
        (lambda mask: np.where(mask == 0, 255, mask), "has pixels of the ignore id 255"),
        (lambda mask: np.stack([mask, mask // 2, mask], -1), "a colour mask where class ids are expected"),
    ],
)
def test_masks_that_do_not_fit_are_refused(data, masks, change, error):
    file = masks / "test_00.png"
    write(file, change(pixels(file)).astype(np.uint8))
    with pytest.raises(DataError, match=rf"test_00\.png: {error}"):
        evaluate(masks, data=data)
    assert not list((masks / "evaluations").glob("*"))


def test_what_masks_cannot_tell_is_refused(data, masks):
    for asked in ({"calibration": True}, {"selector": "levels"}):
        with pytest.raises(ConfigError, match="neither probabilities nor levels of their own"):
            evaluate(masks, data=data, **asked)
    with pytest.raises(DataError, match="not a run folder .* or with a folder of masks the dataset too"):
        evaluate(masks)
    with pytest.raises(ConfigError, match="tolerance: 'wide' is no distance"):
        evaluate(masks, data=data, tolerance="wide")


def test_the_command_line(data, masks, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", str(masks), "--data", str(data), "--tolerance", "3%"])
    assert stopped.value.code == 0 and "boundaries agree within 3 % of the image's diagonal" in capsys.readouterr().out
    assert Path(masks / "evaluations/test-001/scores.json").is_file()


def test_a_dataset_may_be_given_instead_of_its_folder(data, masks):
    found = evaluate(masks, data=load_dataset(data))
    assert found.scores == evaluate(masks, data=data, again=True).scores
    assert evaluate(masks, data=load_dataset(data)).folder.name == "test-002"  # the same inputs


def test_with_out_nothing_is_written_into_the_folder_of_masks(data, masks, tmp_path, capsys):
    usual = evaluate(masks, data=data)
    shutil.rmtree(masks / "evaluations")
    before = sorted(masks.rglob("*"))
    found = evaluate(masks, data=data, out=tmp_path / "scores")
    assert sorted(masks.rglob("*")) == before
    assert found.folder == tmp_path / "scores" and found.scores == usual.scores
    assert [finding.code for finding in found.findings] == [finding.code for finding in usual.findings]
    assert evaluate(masks, data=data, out=tmp_path / "scores").folder == found.folder
    assert "is there already" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="already exists and outputs are never overwritten"):
        evaluate(masks, data=data, out=tmp_path / "scores", boundary=True)
