"""Without what Windows lacks, the torch-free modules are imported, data is audited, models predict, and locks hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers import make_dataset
from lacking import run_lacking

IMPORTS = """
import json, pkgutil, maskwright
imported, refused = [], {}
for module in pkgutil.walk_packages(maskwright.__path__, "maskwright.", lambda name: None):
    if module.name == "maskwright.__main__":
        continue
    try:
        importlib.import_module(module.name)
        imported.append(module.name)
    except ModuleNotFoundError as error:
        refused[module.name] = error.name.partition(".")[0]
print(json.dumps([imported, refused]))
"""

AUDIT = """
from maskwright import cli
root, out = sys.argv[1:]
for arguments in (["audit", root, "--out", f"{out}/audit"], ["convert", root, f"{out}/coco", "--to", "coco"],
                  ["edits", root], ["doctor"]):
    try:
        cli.main(arguments)
    except SystemExit as end:
        print("\\nended", arguments[0], end.code or 0, file=sys.stderr)
"""

LOCKS = """
from pathlib import Path
from maskwright.base import storage
from maskwright.errors import LockedError
folder = Path(sys.argv[1])
with storage.exclusive_lock(folder):
    assert (folder / ".lock").read_text("ascii") == str(os.getpid())
    assert storage.lock_owner(folder) == os.getpid()
    try:
        with storage.exclusive_lock(folder):
            raise SystemExit("taken twice")
    except LockedError as error:
        assert f"pid {os.getpid()}" in str(error)
assert storage.lock_owner(folder) is None
with storage.exclusive_lock(folder):
    pass
with storage.staged_folder(folder / "deep" / "out") as staging:
    storage.atomic_write_text(staging / "a", "a")
journal = storage.Journal(folder / "journal")
journal.append({"a": 1})
with open(journal.path, "ab") as stream:
    stream.write(b'{"torn')
journal.append({"b": 2})
assert journal.read() == [{"a": 1}, {"b": 2}]
from maskwright.base.workers import available_cores, in_order, worker_count
assert available_cores() >= 1 and worker_count() >= 2
assert list(in_order(lambda item: item + 1, range(20), 2)) == list(range(1, 21))
"""

PREDICT = """
import maskwright
from maskwright.errors import SetupError
model, images, out, nowhere = sys.argv[1:]
assert len(maskwright.predict(model, [images], out=out).rows) == 12
assert len(maskwright.predict(model, [images], out=out).rows) == 12
os.chdir(nowhere)
for verb in ("train", "resume", "study", "suspects", "decide", "sync", "demo"):
    try:
        getattr(maskwright, verb)("x")
        raise SystemExit(verb)
    except SetupError as error:
        assert str(error).startswith(f"{verb}: runs on Linux and macOS only; on Windows use WSL"), error
assert not os.listdir(nowhere)
"""


def test_modules_without_torch_are_imported() -> None:
    done = run_lacking(IMPORTS)
    assert done.returncode == 0, done.stderr
    imported, refused = json.loads(done.stdout)
    training = {"safetensors", "segmentation_models_pytorch", "sklearn", "timm", "torch", "torchvision"}
    assert set(refused.values()) <= training
    assert {
        "maskwright.cli.data",
        "maskwright.data.auditing",
        "maskwright.data.formats.coco",
        "maskwright.base.storage",
        "maskwright.diagnosis",
        "maskwright.reporting.audit_report",
        "maskwright.training.doctor",
    } <= set(imported)
    assert len(imported) > 100


def test_a_dataset_is_audited_and_converted(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "data", describe=True)
    done = run_lacking(AUDIT, root, tmp_path / "out")
    ends = dict(line.split()[1:] for line in done.stderr.splitlines() if line.startswith("ended "))
    assert ends == {"audit": ends.get("audit"), "convert": "0", "edits": "0", "doctor": ends.get("doctor")}, done.stderr
    assert any((tmp_path / "out/audit").glob("*.html")), done.stderr
    assert any((tmp_path / "out/coco").rglob("*.json"))
    assert "/dev/shm              not used on this system" in done.stdout


def test_locks_journals_and_folders_work(tmp_path: Path) -> None:
    done = run_lacking(LOCKS, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "deep/out/a").read_text() == "a"


def test_a_model_predicts_and_what_trains_says_where_it_runs(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from maskwright.core.classes import ClassTree
    from maskwright.core.geometry import Geometry
    from maskwright.modeling.models.build import ModelSpec, build_model
    from maskwright.modeling.models.segmenter import Preprocessing, Segmenter

    spec = ModelSpec("UNet", 3, args={"channels": [4], "bottleneck": 4})
    Segmenter(
        build_model(spec),
        spec,
        ClassTree.flat(["a", "b", "c"]),
        Preprocessing(Geometry((32, 32)), (0.5,) * 3, (0.25,) * 3),
    ).save(tmp_path / "model.safetensors")
    root = make_dataset(tmp_path / "data")
    (tmp_path / "nowhere").mkdir()
    done = run_lacking(
        PREDICT, tmp_path / "model.safetensors", root / "img", tmp_path / "out", tmp_path / "nowhere", torch=True
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out/masks").rglob("*.png"))) == 12
