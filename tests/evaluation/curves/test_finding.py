"""From the paths of a user to the logs, each once, under names that tell them apart."""

from __future__ import annotations

import pytest

import maskwright
from evaluation.curves.logs import LOGS, lightning, mmengine, own, tensorboard
from maskwright.errors import ConfigError, DataError, MaskwrightError
from maskwright.evaluation.curves.finding import read_curves
from maskwright.run import Run


def names(sources) -> list[str]:
    return [one.name for one in read_curves(sources)]


def test_a_study_is_all_its_runs(tmp_path):
    for name in ("unet-ce", "unet-dice"):
        own(tmp_path / "study" / "runs" / name)
    assert names(tmp_path / "study") == ["unet-ce", "unet-dice"]
    (own(tmp_path / "study" / "runs" / "unet-waiting") / "metrics.jsonl").unlink()
    assert names(tmp_path / "study") == ["unet-ce", "unet-dice"]
    with pytest.raises(DataError, match="no log in it yet"):
        read_curves(tmp_path / "study" / "runs" / "unet-waiting")
    own(tmp_path / "nested" / "runs" / "unet-ce" / "seed-1")
    own(tmp_path / "nested" / "runs" / "unet-ce" / "seed-2")
    assert names(tmp_path / "nested") == ["seed-1", "seed-2"]
    assert names(tmp_path / "study" / "runs") == ["unet-ce", "unet-dice"]  # a folder of runs


def test_a_run_is_itself_whatever_lies_in_it(tmp_path):
    run = own(tmp_path / "run")
    tensorboard(run / "trackers" / "tensorboard")
    for source in (run, str(run), Run(run), run / "metrics.jsonl"):
        assert names(source) == ["run"]
    assert names([run, run, Run(run)]) == ["run"]


def test_folders_of_other_tools(tmp_path):
    mmengine(tmp_path / "work" / "20230101_120000")
    assert names(tmp_path / "work") == ["work"]
    mmengine(tmp_path / "work" / "20230102_120000")
    assert names(tmp_path / "work") == [f"work/2023010{day}_120000/vis_data/scalars" for day in (1, 2)]
    assert names([lightning(tmp_path / "a" / "version_0"), lightning(tmp_path / "b" / "version_0")]) == [
        "a/version_0",
        "b/version_0",
    ]


def test_sessions_of_tensorboard_are_one_training(tmp_path):
    tensorboard(tmp_path / "log")
    tensorboard(tmp_path / "log")
    assert len(list((tmp_path / "log").iterdir())) == 2
    (found,) = read_curves(tmp_path / "log")
    assert len(found.series["val_mIoU"]) == 2


def test_in_the_order_given(tmp_path):
    paths = [LOGS[tool](tmp_path / f"{tool}-run") for tool in ("mmengine", "maskwright", "lightning")]
    assert names(paths) == ["mmengine-run", "maskwright-run", "lightning-run"]
    assert [one.name for one in maskwright.read_curves(paths[::-1])] == [
        "lightning-run",
        "maskwright-run",
        "mmengine-run",
    ]


@pytest.mark.parametrize("place", ["", "nothing", "file.txt"])
def test_what_is_no_log(tmp_path, place):
    (tmp_path / "file.txt").write_text("hello")
    with pytest.raises(DataError, match="not a log that is known|no log in it|not readable"):
        read_curves(tmp_path / place)


def test_nothing_given():
    with pytest.raises(ConfigError, match="name at least one"):
        read_curves([])


def test_a_run_without_its_config(tmp_path):
    run = own(tmp_path / "run")
    (run / "config.yaml").write_text("model: [")
    with pytest.raises(MaskwrightError, match=r"config\.yaml"):
        read_curves(run)
    (alone := tmp_path / "alone.jsonl").write_bytes((run / "metrics.jsonl").read_bytes())
    (found,) = read_curves(alone)
    assert found.tool == "maskwright" and found.setup.loss is None
