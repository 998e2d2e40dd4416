"""A run that was killed, stopped or disturbed ends as if nothing had happened, or says clearly why it cannot."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kept import artifacts, stop_in_batch
from maskwright.base.storage import atomic_write_json, exclusive_lock
from maskwright.core.edits import Edit, add_edits
from maskwright.errors import DataError, Interrupted, LockedError, SetupError
from maskwright.modeling.models.segmenter import read_tensors
from maskwright.run import Run
from maskwright.training import loop
from maskwright.training.train import resume, train
from tiny import EVERY_AUGMENTATION, config, write_dataset


def snapshot(run):
    """Every file but the lock, with its time of change."""
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in run.path.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("resume") / "data", {"train": 6, "val": 2, "test": 1})


@pytest.fixture(scope="module")
def settings(data):
    return config(
        data,
        train={"iterations": 12, "evaluate_every": 5},
        model={"dropout": 0.2},
        augment=EVERY_AUGMENTATION,
        optimizer={"lr": 0.01},
        data={"root": str(data), "image_size": [32, 32], "repeat_rare": 1.0},
    )


@pytest.fixture(scope="module")
def whole(settings, tmp_path_factory):
    return train(settings, out=tmp_path_factory.mktemp("resume") / "run")


def interrupted(settings, out, monkeypatch, step=6, number=signal.SIGINT):
    """A run that was stopped in the iteration `step` + 1."""
    with monkeypatch.context() as patch:
        stop_in_batch(patch, step, number)
        with pytest.raises(Interrupted) as caught:
            train(settings, out=out)
    return Run(out), caught.value


def killed(tmp_path, kills, timeout):
    command = [sys.executable, Path(__file__).parents[1] / "kills.py", tmp_path, str(kills), "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print(
        f"{found['kills']} kills ({found['early']} before the run folder appeared) and {found['stops']} stops in "
        f"{found['runs']} runs: {found['mismatches']} mismatches ({found['seconds']} s)"
    )
    assert found["problems"] == []
    assert found["mismatches"] == 0
    assert found["kills"] >= kills
    assert 0 < found["early"] < found["kills"]


def test_killed_runs_end_with_the_same_bytes(tmp_path):
    killed(tmp_path, 10, 300)


@pytest.mark.slow
def test_killed_runs_end_with_the_same_bytes_many_times(tmp_path):
    killed(tmp_path, 400, 3000)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_saves_its_state_and_goes_on_exactly(settings, whole, tmp_path, monkeypatch, number):
    before = signal.getsignal(number)
    run, error = interrupted(settings, tmp_path / "run", monkeypatch, step=6, number=number)
    assert error.exit_code == 130
    assert "iteration 7 of 12" in str(error) and f"maskwright resume {run.path}" in str(error)
    assert read_tensors(run.last)[0]["step"] == 7  # between two log lines
    assert signal.getsignal(number) is before
    assert run.finished is None
    resume(run.path)
    assert artifacts(run) == artifacts(whole)
    assert run.finished["iterations"] == 12


def test_a_model_with_an_auxiliary_head_goes_on_exactly(data, tmp_path, monkeypatch):
    settings = config(data, train={"iterations": 8, "evaluate_every": 4})
    settings = settings.model_copy(
        update={
            "model": settings.model.model_copy(
                update={"name": "UNetFCN", "args": {"base": 4, "stages": 3, "dropout": 0.2}}
            )
        }
    )
    whole = train(settings, out=tmp_path / "whole")
    run, _ = interrupted(settings, tmp_path / "run", monkeypatch, step=5)
    resume(run)
    assert artifacts(run) == artifacts(whole)
    first, last = (read_tensors(path)[1] for path in (whole.best, whole.last))
    assert any(key.startswith("auxiliary.") for key in first) and "optimizer/0/exp_avg" in last


def test_a_second_ctrl_c_stops_at_once(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "validate", lambda *_: signal.raise_signal(signal.SIGINT))
    stop_in_batch(monkeypatch, 4, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(settings, out=tmp_path / "run")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_with_loader_processes_goes_on_exactly(settings, whole, tmp_path, monkeypatch, number):
    """A terminal or a scheduler sends the signal to all of them. Here the loaders get it so early that the steps
    until this process gets it need batches which are not made yet."""
    settings = settings.model_copy(update={"train": settings.train.model_copy(update={"workers": 2})})
    make = loop.train_step

    def stopping(*args):
        step, steps = make(*args), iter(range(12))

        def step_and_stop(images, targets):
            done = next(steps)
            if done == 0:
                for child in multiprocessing.active_children():
                    os.kill(child.pid, number)
            if done == 10:
                signal.raise_signal(number)
            return step(images, targets)

        return step_and_stop

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", stopping)
        with pytest.raises(Interrupted, match="iteration 11 of 12"):
            train(settings, out=tmp_path / "run")
    assert artifacts(resume(tmp_path / "run")) == artifacts(whole)


def test_resuming_works_from_another_folder(settings, data, whole, tmp_path, monkeypatch):
    monkeypatch.chdir(data.parent)
    nearby = settings.model_copy(update={"data": settings.data.model_copy(update={"root": data.name})})
    interrupted(nearby, tmp_path / "run", monkeypatch)
    moved = shutil.move(tmp_path / "run", tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    assert artifacts(resume(moved)) == artifacts(whole)


def test_a_run_killed_after_its_last_state_only_gets_marked_as_finished(whole, tmp_path):
    run = Run(shutil.copytree(whole.path, tmp_path / "run"))
    (run.path / "finished.json").unlink()
    resume(run)
    assert artifacts(run) == artifacts(whole)
    assert run.finished["iterations"] == 12 and run.finished["best_val_mIoU"] == whole.finished["best_val_mIoU"]


def test_an_early_stopped_run_does_not_go_on_after_a_kill(settings, tmp_path):
    frozen = settings.model_copy(
        update={
            "train": settings.train.model_copy(update={"early_stopping": 1, "evaluate_every": 2}),
            "optimizer": settings.optimizer.model_copy(update={"lr": 1e-12}),
        }
    )
    run = train(frozen, out=tmp_path / "run")
    ended = run.finished
    assert ended["early_stopped"] and ended["iterations"] < 12
    expected = artifacts(run)
    (run.path / "finished.json").unlink()
    resume(run)
    assert artifacts(run) == expected
    assert run.finished["iterations"] == ended["iterations"] and run.finished["early_stopped"]


def test_without_an_average_of_the_weights_a_run_goes_on_exactly(settings, tmp_path, monkeypatch):
    plain = settings.model_copy(update={"train": settings.train.model_copy(update={"ema": None})})
    expected = artifacts(train(plain, out=tmp_path / "whole"))
    run, _ = interrupted(plain, tmp_path / "run", monkeypatch)
    assert run.config().train.ema is None
    assert artifacts(resume(run)) == expected


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        ({"name": "adamw", "groups": {"head": {"lr_mult": 0.1}}}, {"name": "cosine", "floor": 0.1}),
        ({"name": "adam", "betas": [0.8, 0.9], "weight_decay": 0.1}, {"name": "one_cycle"}),
        ({"name": "sgd"}, {"name": "step", "at": [0.2, 0.6]}),
        ({"name": "sgd", "nesterov": True}, {"name": "poly", "power": 2.0}),
        ({"name": "sgd", "momentum": 0.0}, {"name": "constant"}),
    ],
)
def test_every_optimizer_and_schedule_goes_on_exactly(data, tmp_path, monkeypatch, optimizer, schedule):
    settings = config(
        data,
        train={"iterations": 12, "evaluate_every": 5, "ema": 0.9},
        model={"dropout": 0.2},
        optimizer={"lr": 0.02, **optimizer},
        schedule=schedule,
    )
    expected = artifacts(train(settings, out=tmp_path / "whole"))
    run, _ = interrupted(settings, tmp_path / "run", monkeypatch)
    assert artifacts(resume(run)) == expected
    assert artifacts(train(run.path / "config.yaml", out=tmp_path / "again")) == expected


def test_a_finished_run_is_left_alone(whole):
    before = snapshot(whole)
    assert resume(whole.path).path == whole.path
    assert snapshot(whole) == before


def test_unfinished_files_of_a_kill_are_cleared(settings, tmp_path, monkeypatch):
    run, _ = interrupted(settings, tmp_path / "run", monkeypatch)
    torn = run.last.with_name(".partial-1-last.safetensors")
    torn.write_bytes(b"half")
    evaluation = run.evaluations_folder / ".partial-2-val-001/.partial-2-scores.json"
    evaluation.parent.mkdir(parents=True)
    evaluation.write_bytes(b"half")
    resume(run)
    assert not torn.exists()
    assert evaluation.exists()  # another process may be writing it


def test_a_run_belongs_to_one_process(settings, tmp_path, monkeypatch):
    run, _ = interrupted(settings, tmp_path / "run", monkeypatch)
    before = snapshot(run)
    hold = (
        "import sys; from pathlib import Path; from maskwright.base.storage import exclusive_lock\n"
        "with exclusive_lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", hold, run.path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(LockedError, match=rf"pid {other.pid}\b") as caught:
            resume(run)
        other.stdin.close()
    assert caught.value.exit_code == 5
    assert snapshot(run) == before
    with exclusive_lock(run.path):
        pass  # free again


def test_loader_processes_do_not_keep_the_lock_of_a_killed_run(tmp_path):
    """They live on for some seconds; the run can be resumed at once."""
    fork = (
        "import os, sys, time; from pathlib import Path; from maskwright.base.storage import exclusive_lock\n"
        "with exclusive_lock(Path(sys.argv[1])):\n"
        "    ready, say = os.pipe()\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        os.write(say, b'.'); time.sleep(60)\n"
        "    os.read(ready, 1)\n"
        "    print(child, flush=True); os.kill(os.getpid(), 9)"
    )
    with subprocess.Popen([sys.executable, "-c", fork, tmp_path], stdout=subprocess.PIPE) as other:
        child = int(other.stdout.readline())
        other.wait()
    try:
        with exclusive_lock(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_training_run_is_locked(settings, tmp_path, monkeypatch):
    refused = []

    def resume_meanwhile(*_):
        with pytest.raises(LockedError, match=f"pid {os.getpid()}") as caught:
            resume(tmp_path / "run")
        refused.append(caught.value)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "validate", resume_meanwhile)
    with pytest.raises(KeyboardInterrupt):
        train(settings, out=tmp_path / "run")
    assert len(refused) == 1


def copied(settings, data, folder):
    root = Path(shutil.copytree(data, folder))
    return root, settings.model_copy(update={"data": settings.data.model_copy(update={"root": str(root)})})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("mask", "the mask of 'train/train_00' differs"),
        ("image", "the image of 'train/train_00' differs"),
        ("gone", "'val/val_01' is gone"),
        ("ids", r"the class ids differ \(was \[0, 1\], is \[1, 0\]\)"),
        ("excluded", "'train/train_00' is excluded now"),
        ("old", ""),
    ],
)
def test_a_changed_dataset_is_refused(settings, data, tmp_path, monkeypatch, change, said):
    root, own = copied(settings, data, tmp_path / "data")
    run, _ = interrupted(own, tmp_path / "run", monkeypatch)
    file = root / "dataset.yaml"
    if change == "ids":
        swapped = file.read_text().replace("id: 1,", "id: 2,").replace("id: 0,", "id: 1,").replace("id: 2,", "id: 0,")
        file.write_text(swapped)
    elif change == "gone":
        (root / "images/val/val_01.png").unlink()
    elif change == "excluded":
        add_edits(root, [Edit("status", "train/train_00", "exclude")], "test")
    elif change == "old":  # a run from before its masks were stored: a colour is a change
        (run.path / "masks.json").unlink()
        file.write_text(file.read_text().replace("name: class_1", "name: class_1, colour: '#123456'"))
    else:
        files = sorted((root / f"{change}s" / "train").iterdir())
        shutil.copy(files[1], files[0])
    before = snapshot(run)
    with pytest.raises(DataError, match=rf"data: has changed since [^:]*(: )?{said}.*; restore it, or train a new run"):
        resume(run)
    assert snapshot(run) == before


@pytest.mark.parametrize("change", ["colour", "name", "test image", "test mask", "moved"])
def test_what_is_not_trained_on_may_change(settings, data, whole, tmp_path, monkeypatch, change, capsys):
    root, own = copied(settings, data, tmp_path / "data")
    run, _ = interrupted(own, tmp_path / "run", monkeypatch)
    file, place = root / "dataset.yaml", None
    if change == "colour":
        file.write_text(file.read_text().replace("name: class_1", "name: class_1, colour: '#123456'"))
    elif change == "name":
        file.write_text(file.read_text().replace("class_1", "lesion"))
    elif change == "test image":
        for kind in ("images", "masks"):
            shutil.copy(root / kind / "train/train_01.png", root / kind / "test/more.png")
    elif change == "test mask":
        shutil.copy(root / "masks/train/train_01.png", root / "masks/test/test_00.png")
    else:
        place = root.rename(tmp_path / "elsewhere")
        with pytest.raises(DataError, match=r"the dataset of .*run is not there; put it back, or say where .*`data`"):
            resume(run)
    resumed = resume(run, data=place)
    assert artifacts(resumed) == artifacts(whole)
    assert ("but nothing that it trains on" in capsys.readouterr().err) == (change != "moved")
    assert resumed.config().data.root == str(place or root)


def test_a_run_from_a_gpu_goes_on_without_one(whole, tmp_path, monkeypatch, capsys):
    run = Run(shutil.copytree(whole.path, tmp_path / "run"))
    (run.path / "finished.json").unlink()
    atomic_write_json(run.info_file, run.info() | {"device": "cuda"})
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    ended = resume(run)
    assert f"{run.path}: began on cuda and continues on cpu: the same training, but not the same bytes" in (
        capsys.readouterr().err
    )
    assert ended.finished["iterations"] == 12
    with pytest.raises(SetupError, match="`device` cuda: there is no GPU that torch can use here"):
        resume(run, device="cuda")


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path):
    path.write_bytes(bytes(range(256)) * 40)


def another_kind(path):
    shutil.copy(path.with_name("best.safetensors"), path)


def other_shapes(path):
    path.write_bytes(path.read_bytes().replace(b'"shape":[4]', b'"shape":[2]'))


@pytest.mark.parametrize("damage", [half, garbage, another_kind, other_shapes, Path.unlink])
def test_a_damaged_state_is_refused_in_one_line(whole, tmp_path, damage):
    run = Run(shutil.copytree(whole.path, tmp_path / "run"))
    (run.path / "finished.json").unlink()
    damage(run.last)
    before = snapshot(run)
    with pytest.raises(DataError) as caught:
        resume(run)
    assert str(caught.value).startswith(f"{run.last}: ") and "\n" not in str(caught.value)
    assert snapshot(run) == before
