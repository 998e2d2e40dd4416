"""bench/peers.py prepares the data, runs drivers, scores their masks and prints the table; no peer is installed here."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib import util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from helpers import draw_pair, write
from maskwright.evaluation.metrics import confusion_matrix, mIoU

FILE = Path(__file__).parents[2] / "bench" / "peers.py"
DRIVER = f"""
import sys
sys.path.insert(0, {str(FILE.with_suffix(""))!r})
import numpy as np
from job import Job

job = Job.read()
print("the log")
if job.variant == "broken":
    sys.exit("out of luck")
with open(job.work.parent / "started", "a") as started:
    print(job.variant, job.seed, file=started)
job.start()
job.stop(steps=3, batch_size=2, pretrained=False, model="none")
for path in job.images("test"):
    truth = job.pair(path)[1]
    if job.variant == "short" and path == job.images("test")[0]:
        continue
    job.write(path, truth if job.variant == "exact" else np.zeros_like(truth))
job.finish()
"""


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = util.spec_from_file_location("bench_peers", FILE)
    module = util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path: Path, rng: np.random.Generator) -> Path:
    """`faces` without a val split, whose last test image is a training image."""
    data = tmp_path / "root" / "faces"
    for split, count in (("train", 6), ("test", 5)):
        for index in range(count):
            image, mask = draw_pair(rng, (64, 48), 3)
            write(data / f"img/{split}/{split}_{index}.png", image)
            write(data / f"labels_precise/{split}/{split}_{index}.png", mask)
    for folder in ("img", "labels_precise"):
        (data / folder / "test/test_4.png").write_bytes((data / folder / "train/train_0.png").read_bytes())
    return data.parent


def test_the_table_holds_what_the_masks_are_worth_and_why_an_entry_failed(bench, root, tmp_path, monkeypatch, capsys):
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    variants = {"ours": "exact", "plain": "constant", "ultralytics": "short", "nnunet": "broken"}
    entries = {name: replace(bench.Entry(str(driver)), variant=variant) for name, variant in variants.items()}
    monkeypatch.setattr(bench, "ENTRIES", entries)
    words = [
        "--data",
        "faces",
        "--root",
        str(root),
        "--budget",
        "1",
        "--seeds",
        "0",
        "1",
        "--out",
        str(tmp_path / "out"),
    ]
    monkeypatch.setattr(sys, "argv", ["peers.py", *words])
    monkeypatch.setattr(bench.signal, "signal", lambda *_: None)  # those of the tests stay
    bench.main()
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    out = tmp_path / "out" / "faces-1"
    assert result == json.loads((out / "result.json").read_text())
    assert result["images"] == {"train": 4, "val": 2, "test": 4} and result["left_out"] == ["test_4.png"]
    assert result["classes"] == 3 and result["size"] == [64, 64]
    rows = {row["entry"]: row for row in result["rows"]}
    assert rows["ours"]["mIoU"] == {"value": 1.0, "low": 1.0, "high": 1.0} and rows["ours"]["mean_image_IoU"] == 1.0
    masks = sorted((out / "data/masks/test").iterdir())
    truths = [np.asarray(Image.open(mask)) for mask in masks]
    expected = sum(confusion_matrix(truth, np.zeros_like(truth), classes=3) for truth in truths)
    plain = rows["plain"]
    assert plain["mIoU"]["value"] == pytest.approx(float(mIoU(expected)))
    assert plain["mIoU_by_seed"] == pytest.approx([plain["mIoU"]["value"]] * 2)
    assert plain["to_ours"]["value"] == pytest.approx(plain["mIoU"]["value"] - 1)
    assert plain["to_ours"]["low"] <= plain["to_ours"]["value"] <= plain["to_ours"]["high"] < 0
    assert [run["steps"] for run in plain["runs"]] == [3, 3] and plain["versions"]["numpy"] == np.__version__
    assert "test_0" in rows["ultralytics"]["failed"] and "mIoU" not in rows["ultralytics"]
    assert rows["nnunet"]["failed"] == "exit 1: out of luck"
    for text in (
        "ours             1.000",
        "nnunet           failed: exit 1: out of luck",
        "2 val, 4 test",
        "test_4.png",
    ):
        assert text in printed.err

    began = (out / "started").read_text()
    assert began.count("exact") == 2
    bench.main()  # goes on: nothing is trained again, but data and masks are scored again
    assert (out / "started").read_text() == began
    assert json.loads(capsys.readouterr().out)["rows"][0]["mIoU"] == rows["ours"]["mIoU"]
    monkeypatch.setattr(sys, "argv", ["peers.py", *words, "--threads", "1", "--entries", "plain"])
    monkeypatch.setattr(bench.os, "sched_setaffinity", lambda *_: None)  # that of the tests stays
    bench.main()
    assert (out / "started").read_text() == began + "constant 0\nconstant 1\n", "another job is another run"


def test_the_size_to_train_at_is_near_that_of_the_images(bench):
    assert bench.size_for(192, 256) == (192, 256)
    assert bench.size_for(200, 200) == (192, 192)
    assert bench.size_for(512, 370) == (256, 192)
    height, width = bench.size_for(3000, 4000)
    assert height % 32 == width % 32 == 0 and 40_000 < height * width <= 52_000
