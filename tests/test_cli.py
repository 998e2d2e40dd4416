"""The command line: exit codes, one clear line per problem, JSON on stdout, light imports."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import maskwright
from helpers import make_dataset, write
from maskwright import cli
from maskwright.cli import app, main
from maskwright.errors import SetupError

VERBS = [
    "fetch",
    "init",
    "audit",
    "suspects",
    "decide",
    "review",
    "convert",
    "import-edits",
    "split",
    "edits",
    "plan",
    "train",
    "resume",
    "evaluate",
    "compare",
    "explain",
    "study",
    "search",
    "refine",
    "next",
    "predict",
    "tune",
    "export",
    "serve",
    "sync",
    "report",
    "plot",
    "weights",
    "doctor",
    "demo",
]


def run(capsys, *arguments) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return stopped.value.code, out, err


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.parts[-2:] != (".maskwright", "hashes.json")  # a cache
    }


@pytest.fixture
def tiny_config(tmp_path) -> Path:
    make_dataset(tmp_path / "data", images=12, size=(32, 32))
    config = {
        "data": {"root": "data", "image_size": [32, 32]},
        "model": {"name": "UNet", "args": {"channels": [4], "bottleneck": 4}},
        "loss": ["ce", "dice"],
        "train": {"iterations": 6, "batch_size": 2, "evaluate_every": 3, "precision": "float32"},
        "augment": ["HorizontalFlip"],
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "run.yaml"


def test_the_whole_line(tmp_path, tiny_config, capsys):
    data, trained = tmp_path / "data", tmp_path / "run"
    before = tree(data)
    code, out, _ = run(capsys, "init", data, "--out", tmp_path / "set", "--json")
    assert code == 0 and json.loads(out)["dataset"]["layout"] == "split_folders"
    code, out, _ = run(capsys, "audit", data, "--json", "--out", tmp_path / "audit")
    found = json.loads(out)
    assert code == 0 and {"findings", "summary"} <= set(found)
    assert list((tmp_path / "audit").glob("*.html"))
    code, out, err = run(capsys, "train", tiny_config, "--out", trained, "--json")
    assert code == 0 and json.loads(out)["iterations"] == 6
    assert str(trained) in err.splitlines()[0] and str(trained) in err.splitlines()[-1]
    code, out, _ = run(capsys, "evaluate", trained, "--json")
    scores = json.loads(out)
    assert code == 0
    assert {"split", "images", "scores", "classes"} <= set(scores)
    assert set(scores["scores"]["mIoU"]) == {"value", "low", "high"}
    assert {"id", "name", "iou", "dice", "precision", "recall", "true_pixels", "predicted_pixels"} <= set(
        scores["classes"][0]
    )
    code, out, err = run(capsys, "explain", trained, "--top", 1, "--json")
    explained = json.loads(out)
    assert code == 0 and sum(kind["pixels"] for kind in explained["kinds"]) == explained["wrong_pixels"]
    assert explained["scores"]["mIoU"]["value"] == scores["scores"]["mIoU"]["value"]
    assert explained["page"] == str(trained / "explanations" / "test-001" / "index.html")
    assert str(trained / "explanations" / "test-001") in err.splitlines()[0]
    assert run(capsys, "explain", trained, "--out", trained)[0] == run(capsys, "explain", trained, "--by", "x")[0] == 2
    for verb in (["evaluate", trained], ["predict", trained, data, "--out", tmp_path / "x", "--levels"]):
        assert run(capsys, *verb, "--selector", "top_down")[0] == 2  # the classes are a flat list
    code, out, _ = run(capsys, "predict", trained, data / "img" / "test", "--out", tmp_path / "out", "--json")
    assert code == 0 and len(json.loads(out)["predictions"]) == 3
    code, out, _ = run(capsys, "report", trained, "--json")
    assert code == 0 and Path(json.loads(out)["report"]).stat().st_size > 10_000
    code, out, _ = run(capsys, "resume", trained, "--json")
    assert code == 0
    assert tree(data) == before


def test_preview(tmp_path, tiny_config, capsys):
    before = tree(tmp_path)
    code, out, err = run(capsys, "train", tiny_config, "--preview-count", 2, "--json", "--set", "seed=3")
    found, folder = json.loads(out), tmp_path / "previews" / "data-001"
    assert code == 0 and len(found["samples"]) == 2 and found["sheets"] == [str(folder / "preview-001.png")]
    assert str(folder) in err.splitlines()[0] and str(folder) in err.splitlines()[-1]
    code, out, err = run(capsys, "train", tiny_config, "--preview")  # all six, as fewer than eight
    assert code == 0 and "next: maskwright train" in out and "6 of 6 training images" in err
    assert {name for name in tree(tmp_path) if not name.startswith("previews")} == set(before)
    code, out, _ = run(capsys, "train", "--preview", tiny_config, "--out", tmp_path / "out")
    assert code == 0 and (tmp_path / "out" / "legend.png").is_file()
    code, _, err = run(capsys, "train", tiny_config, "--preview-count", 0)
    assert code == 2 and "--preview-count" in err
    code, _, err = run(capsys, "train", tiny_config, "--preview", 2)  # no optional values: 2 is another argument
    assert code == 2 and "unexpected extra argument" in err and not (tmp_path / "runs").exists()


def test_text_output_and_reasons(tmp_path, capsys):
    data = make_dataset(tmp_path / "data")
    code, out, _ = run(capsys, "init", data)
    assert code == 0 and "written:" in out and "pixel values are class ids" in out
    code, out, _ = run(capsys, "plan", data, "-o", tmp_path / "run.yaml", "--weights", "none")
    assert code == 0 and "maskwright train" in out
    assert "# " in (tmp_path / "run.yaml").read_text()
    code, out, _ = run(capsys, "doctor", "--json")
    assert code == 0 and json.loads(out)


def test_init_by_options_that_exclude_each_other_or_are_no_numbers(tmp_path, capsys):
    data = make_dataset(tmp_path / "data")
    code, _, err = run(capsys, "init", data, "--table", "--masks", "labels")
    assert code == 2 and "leave --masks out" in err and not (data / "labels.csv").exists()
    code, _, err = run(capsys, "init", data, "--levels", "0,x")
    assert code == 2 and "no list of grey values" in err
    code, _, err = run(capsys, "init", data, "--levels", "0,255", "--encoding", "index")
    assert code == 2 and "--encoding" in err and not (data / "dataset.yaml").exists()


def test_the_range_test_is_drawn_beside_the_config(tmp_path, capsys):
    data = make_dataset(tmp_path / "data", size=(32, 32))
    code, out, _ = run(capsys, "plan", data, "-o", tmp_path / "run.yaml", "--weights", "none", "--lr-find", "--json")
    found = json.loads(out)
    assert code == 0 and found["config"]["optimizer"]["lr"] == found["range_test"]["suggested"]
    assert len(found["range_test"]["rates"]) == len(found["range_test"]["losses"]) > 20
    assert found["range_test"]["picture"] == str(tmp_path / "run.lr-find.svg")
    assert (tmp_path / "run.lr-find.svg").read_text().startswith("<svg xmlns")
    (tmp_path / "run.yaml").unlink()
    code, _, err = run(capsys, "plan", data, "-o", tmp_path / "run.yaml", "--weights", "none", "--lr-find")
    assert code == 2 and "run.lr-find.svg: already exists" in err and not (tmp_path / "run.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["audt"], 2, "Did you mean 'audit'"),
        (["train"], 2, "Missing argument"),
        (["plan"], 2, "DIR"),
        (["audit", ".", "--fail-on", "bad"], 2, "warning"),
        (["audit", "nowhere"], 3, "no such folder"),
        (["train", "nowhere.yaml"], 2, "no such file"),
        (["evaluate", "."], 3, "not a run folder"),
        (["resume", "."], 3, "not a run folder"),
        (["report", "."], 3, "nothing to report on"),
        (["predict", ".", "x.png", "--out", "out"], 3, "not a run folder"),
        (["predict", "x"], 2, "IMAGES"),
        (["study"], 2, "study.yaml"),
        (["study", "status"], 2, "study.yaml"),
        (["study", "study.yaml", "x"], 2, "study.yaml"),
        (["study", "study.yaml", "--workers", "0"], 2, "--workers"),
        (["study", "nowhere.yaml"], 2, "no such file"),
        (["study", "status", "."], 3, "not a study's folder"),
        (["search"], 2, "search.yaml"),
        (["search", "nowhere.yaml"], 2, "no such file"),
        (["search", "."], 3, "not a search's folder"),
        (["search", "search.yaml", "--trials", "0"], 2, "--trials"),
    ],
)
def test_wrong_usage_ends_in_a_clear_line(tmp_path, monkeypatch, capsys, arguments, code, says):
    monkeypatch.chdir(tmp_path)
    got, out, err = run(capsys, *arguments)
    assert got == code and says in err and "Traceback" not in err and not out
    assert not list(tmp_path.iterdir())


def test_all_errors_of_a_config_at_once(tmp_path, capsys):
    (tmp_path / "run.yaml").write_text(
        "data: {root: data, image_size: [32, 0], keep_rato: false}\nmodel: Unett\nloss: [cee]\n"
        "train: {iterations: 3, epochs: 2}\naugment: [{name: HorizontalFlip, p: 2}]\n"
    )
    code, _, err = run(capsys, "train", tmp_path / "run.yaml")
    lines = err.splitlines()
    assert code == 2 and len(lines) == 6
    assert all(line.startswith(f"error: {tmp_path}/run.yaml:") for line in lines)
    for hint in ("'keep_ratio'", "'Unet'", "'ce'", "iterations, epochs", "p must be within 0..1"):
        assert any(hint in line for line in lines), hint


def test_existing_outputs_are_refused(tmp_path, tiny_config, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "keep.txt").write_text("mine")
    code, _, err = run(capsys, "train", tiny_config, "--out", tmp_path / "run")
    assert code == 2 and "never overwritten" in err
    assert (tmp_path / "run" / "keep.txt").read_text() == "mine"
    make_dataset(tmp_path / "other", describe=True)
    assert run(capsys, "init", tmp_path / "other")[0] == 2


def test_bad_data_stops_before_the_run_folder_exists(tmp_path, tiny_config, capsys):
    write(tmp_path / "data" / "labels" / "train" / "000.png", np.zeros((5, 5), np.uint8))
    code, _, err = run(capsys, "train", tiny_config, "--out", tmp_path / "run")
    assert code == 3 and "000.png" in err.splitlines()[-1]
    assert not (tmp_path / "run").exists()
    code, out, _ = run(capsys, "audit", tmp_path / "data", "--json")
    assert code == 1 and any(finding["severity"] == "error" for finding in json.loads(out)["findings"])


def no_masks(data):
    for path in (data / "labels").rglob("*.png"):
        path.unlink()


def one_missing(data):
    (data / "labels" / "train" / "000.png").unlink()


def one_speck(data):
    mask = np.zeros((48, 64), np.uint8)
    mask[20:40, 20:40], mask[2, 2] = 1, 2
    write(data / "labels" / "train" / "000.png", mask)


@pytest.mark.parametrize(
    ("change", "worst"), [(no_masks, "error"), (one_missing, "warning"), (one_speck, "info"), (lambda data: None, None)]
)
def test_findings_decide_about_the_exit_code_by_one_rule(tmp_path, capsys, change, worst):
    data = make_dataset(tmp_path / "data", describe=True, seed=1)
    change(data)
    order = ["info", "warning", "error"]
    for asked in (None, *order, "never"):
        code, out, _ = run(capsys, "audit", data, "--json", *(["--fail-on", asked] if asked else []))
        assert worst == max((f["severity"] for f in json.loads(out)["findings"]), key=order.index, default=None)
        expected = asked != "never" and worst is not None and order.index(worst) >= order.index(asked or "error")
        assert code == expected


def test_what_was_fixed_does_not_count_for_the_exit_code(tmp_path, capsys):
    data = make_dataset(tmp_path / "data", describe=True, seed=1)
    (data / "labels" / "train" / "000.png").write_bytes(b"nothing")
    assert run(capsys, "audit", data)[0] == 1
    code, out, _ = run(capsys, "audit", data, "--fix", "--out", tmp_path / "out", "--overlays", 0)
    assert code == 0 and "fixed: 1 sample excluded" in out and "and 1 excluded" in out
    assert len(json.loads((tmp_path / "out" / "audit.json").read_text())["fixed"]["edits"]) == 1
    assert "train/000" not in (tmp_path / "out" / "index.html").read_text().partition('id="sheet"')[2]


def test_the_rule_of_the_exit_code_is_in_the_help(capsys):
    for verb in ("audit", "suspects"):
        out = " ".join(run(capsys, verb, "--help")[1].split())
        assert "Exit with 1 when a finding is at least this severe" in out and "[default: error]" in out


def test_weights_that_are_not_here(tmp_path, tiny_config, capsys):
    code, _, err = run(
        capsys,
        "train",
        tiny_config,
        "--set",
        "model={name: Unet, encoder: tu-mobilenetv3_small_050, weights: imagenet}",
    )
    assert code == 4 and "--download" in err
    assert not (tmp_path / "runs").exists()


def test_unexpected_errors_are_one_line_without_debug(tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("maskwright.data.init.init", fail)
    code, _, err = run(capsys, "init", tmp_path)
    assert code == 1 and len(err.splitlines()) == 1 and "--debug" in err
    code, _, err = run(capsys, "--debug", "init", tmp_path)
    assert code == 1 and "Traceback" in err
    run(capsys, "--version")


def test_missing_torch_is_named_with_its_extra(monkeypatch, tiny_config, capsys):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else real(name, *rest))
    code, _, err = run(capsys, "train", tiny_config)
    assert code == SetupError.exit_code and "maskwright[train]" in err


def test_every_verb_has_a_function_of_its_name():
    assert [command.name or command.callback.__name__ for command in app.registered_commands] == VERBS
    for verb in (name.replace("-", "_") for name in VERBS):
        assert callable(getattr(maskwright, verb)) and getattr(maskwright, verb).__name__ == verb
    with pytest.raises(AttributeError):
        maskwright.nothing  # noqa: B018


def test_help_names_every_format():
    from maskwright.data.formats import FORMATS

    assert cli.data.WRITTEN.split(", ") == [name for name, row in FORMATS.items() if row.write]
    assert cli.data.READ.split(", ") == [name for name, row in FORMATS.items() if row.read]


def imported(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"GOMP_SPINCOUNT": "10000"}),
        ({"GOMP_SPINCOUNT": "5"}, {"GOMP_SPINCOUNT": "5"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
    ],
)
def test_waiting_threads_sleep_unless_the_user_decided(before, after):
    cli.wait_politely(before)
    assert before == after


def test_help_imports_nothing_heavy():
    modules = imported(
        "from maskwright.cli import main\ntry:\n    main(['train', '--help'])\nexcept SystemExit:\n    pass"
    )
    assert not modules & {"torch", "numpy", "cv2", "PIL", "timm", "jinja2", "yaml"}


def test_the_core_imports_no_torch():
    modules = imported(
        "import maskwright\nfor name in ('init', 'audit', 'plan', 'report', 'doctor', 'load_config', 'load_dataset', 'study_status'):\n"
        "    getattr(maskwright, name)\nimport maskwright.core.masks, maskwright.evaluation.metrics, maskwright.modeling.augment"
    )
    assert not modules & {"torch", "timm", "segmentation_models_pytorch"}
