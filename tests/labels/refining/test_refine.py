"""`refine` with real trainings of a tiny model: rounds, stops, what it refuses, and its page."""

import html
import json
import shutil

import numpy as np
import pytest
import yaml

import maskwright
from doubted import SETTINGS
from helpers import fingerprint
from maskwright.cli import main
from maskwright.core.classes import IGNORE
from maskwright.core.mask_files import read_grey
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError, Interrupted
from maskwright.labels.refining import running
from maskwright.labels.refining.boxes import boxes_of
from maskwright.labels.refining.combining import combine
from maskwright.labels.refining.config import load_refinement
from maskwright.labels.suspecting.copies import planted_copy
from maskwright.run import Run
from maskwright.training import train as training
from tiny import write_dataset

NAMES = [f"train/train_{index:02d}" for index in range(16)]
BASELINE, HELD = NAMES[:4], NAMES[4:8]


def boxed(dataset, sample):
    mask = dataset.read_mask(sample)
    filled = np.zeros_like(mask)
    for one in boxes_of(sample, mask, dataset.classes, 0):
        filled[one.window] = one.label
    return filled


def made(root):
    """A dataset whose masks are good in `good`, and boxes in `data` but for the trusted ones."""
    write_dataset(root / "good", {"train": 16, "test": 2}, ids=(0, 1, 2))
    good = load_dataset(root / "good")
    masks = {name: boxed(good, good[name]) for name in NAMES[8:]}
    planted_copy(root / "good", root / "data", masks, "boxes")
    for part, names in (("baseline", BASELINE), ("eval", HELD)):
        (root / f"{part}.txt").write_text("".join(f"{name}\n" for name in names))
    return root


def write_plan(root, name="refine.yaml", **named):
    maskwright.plan_refine(
        root / "data",
        out=root / name,
        trusted=root,
        weights="none",
        overrides=[*SETTINGS, "train.iterations=6"],
        **named,
    )
    return root / name


@pytest.fixture
def root(tmp_path):
    return made(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    place = made(tmp_path_factory.mktemp("whole"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "helps", lambda counts: True)
        before = {part: fingerprint(place / part) for part in ("good", "data")}
        result = maskwright.refine(write_plan(place), overrides=["rounds=2"])
        assert {part: fingerprint(place / part) for part in ("good", "data")} == before
    return place, result


def test_the_rounds_and_what_they_learn_from(whole):
    place, result = whole
    assert (result.baseline, result.held, result.poor) == (4, 4, 8)
    assert {row["name"] for row in result.rounds[:2]} == {"poor", "trusted"}
    assert [row["name"] for row in result.rounds[2:]] == ["H1", "H2"]
    for row in result.rounds:
        info = Run(result.folder / row["name"]).info()["splits"]
        learnt = NAMES[:4] if row["name"] == "trusted" else [*NAMES[:4], *NAMES[8:]]
        assert {*info["train"]} == {*learnt} and {*info["val"]} == {*HELD}
        assert Run(result.folder / row["name"]).finished["iterations"] == 6
    good, poor = load_dataset(place / "good"), load_dataset(place / "data")
    last = load_dataset(result.folder / "data_H2")
    for name in (*BASELINE, *HELD):
        np.testing.assert_array_equal(last.read_mask(last[name]), good.read_mask(good[name]))
    assert any((last.read_mask(last[name]) != poor.read_mask(poor[name])).any() for name in NAMES[8:])


def test_masks_are_those_of_the_rule_and_what_became_of_them_is_told(whole):
    place, result = whole
    poor, better = load_dataset(place / "data"), load_dataset(result.folder / "data_H1")
    starts = [row for row in result.rounds if row["name"] in ("poor", "trusted")]
    together = [row["name"] for row in starts if row["difference"] is None or row["difference"]["high"] >= 0]
    segmenters = [maskwright.load(result.folder / name) for name in together]
    moved = np.zeros((4, 4), np.int64)
    for name in NAMES[8:]:
        image, mask = poor.read(poor[name])
        seen = sum(next(iter(one.own_probabilities([image]))).numpy() for one in segmenters) / len(segmenters)
        boxes = boxes_of(poor[name], mask, poor.classes, 0)
        expected, fate = combine(mask, seen, boxes, 0, "box", 0.15)
        found = better.read_mask(better[name])
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(read_grey(result.folder / "provenance" / "H1" / f"{name}.png"), fate)
        np.add.at(moved, (np.minimum(mask, 3), np.minimum(found, 3)), 1)
    (row,) = (row for row in result.rounds if row["name"] == "H1")
    assert row["masks"]["moved"] == moved.tolist() and row["masks"]["classes"][-1] == "ignored"
    assert {*row["masks"]["seen_by"].split(" and ")} == {f"'{name}'" for name in together}


def test_the_page_and_the_text(whole):
    _, result = whole
    page = html.unescape(result.page.read_text("utf-8"))
    assert result.reason in page and "Masks side by side" in page and page.count("<article") == 8
    text = result.human()
    assert f"result: {result.reason}" in text and f"run to use: {result.folder / result.best}" in text
    stored = json.loads((result.folder / "refine.json").read_text())
    assert stored["best"] == result.best and stored["run"] == str(result.run)
    assert maskwright.RefineResult.from_dict(stored).to_dict() == stored


def test_what_is_finished_is_returned_and_never_overwritten(whole):
    place, result = whole
    before = fingerprint(result.folder)
    assert maskwright.refine(place / "refine.yaml", overrides=["rounds=2"]).to_dict() == result.to_dict()
    with pytest.raises(ConfigError, match="holds finished rounds with other settings or data"):
        maskwright.refine(place / "refine.yaml", overrides=["rounds=1"])
    assert fingerprint(result.folder) == before


def test_rounds_that_were_stopped_go_on(whole, root, monkeypatch):
    """Stopped before each training and in the middle of the masks; the result is the same."""
    _, result = whole
    monkeypatch.setattr(running, "helps", lambda counts: True)
    config = write_plan(root)
    real, mixing = training.train_part, running.combine
    trained: list[str] = []
    masks: list[int] = []

    def train(*given, **named):
        trained.append(named["out"].name)
        if trained.count(named["out"].name) == 1:
            raise KeyboardInterrupt
        return real(*given, **named)

    def mix(*given):
        masks.append(1)
        if len(masks) == 5:
            raise KeyboardInterrupt
        return mixing(*given)

    monkeypatch.setattr(training, "train_part", train)
    monkeypatch.setattr(running, "combine", mix)
    for _ in range(5):
        with pytest.raises(Interrupted, match="the same command resumes it"):
            maskwright.refine(config, overrides=["rounds=2"])
    found = maskwright.refine(config, overrides=["rounds=2"])
    assert [row["mIoU"] for row in found.rounds] == [row["mIoU"] for row in result.rounds]
    assert len(masks) == 4 + 8 + 8 + 1
    assert not [*found.folder.rglob(".maskwright-staging*")]


def test_a_round_that_does_not_help_is_the_last(root, monkeypatch):
    monkeypatch.setattr(running, "helps", lambda counts: False)
    result = maskwright.refine(write_plan(root))
    assert [row["name"] for row in result.rounds][2:] == ["H1"]


def test_good_masks_of_another_dataset(root):
    """The dataset itself has boxes everywhere."""
    good = load_dataset(root / "good")
    shutil.rmtree(root / "data")
    planted_copy(root / "good", root / "data", {name: boxed(good, good[name]) for name in NAMES}, "boxes")
    config = write_plan(root, trusted_masks=root / "good")
    result = maskwright.refine(config, overrides=["rounds=1", "start=[poor]"])
    first = load_dataset(result.folder / "data_H0")
    for name in (*BASELINE, *HELD):
        np.testing.assert_array_equal(first.read_mask(first[name]), good.read_mask(good[name]))
    assert [row["name"] for row in result.rounds] == ["poor", "H1"]


def test_boxes_only_say_that_nothing_was_judged(root, capsys):
    good = load_dataset(root / "good")
    shutil.rmtree(root / "data")
    planted_copy(root / "good", root / "data", {name: boxed(good, good[name]) for name in NAMES}, "boxes")
    out = root / "plan.yaml"
    settings = [word for one in (*SETTINGS, "train.iterations=6") for word in ("--set", one)]
    for words in (
        ["plan", str(root / "data"), "--refine", "-o", str(out), "--weights", "none", *settings],
        ["refine", str(out), "--set", "rounds=1", "--json"],
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert not ended.value.code
    assert "nothing can judge" in out.read_text()
    found = json.loads(capsys.readouterr().out)
    assert found["best"] is None and "no mask is trusted" in found["reason"] and found["enough"] >= 10
    assert [row["name"] for row in found["rounds"]] == ["poor", "H1"] and "mIoU" not in found["rounds"][0]
    cut = load_dataset(root / "rounds" / "plan" / "data_H0")
    poor = load_dataset(root / "data")
    for name in NAMES:  # GrabCut leaves the boxes' outside alone
        assert not (cut.read_mask(cut[name]) != 0)[poor.read_mask(poor[name]) == 0].any()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["combine=boxes"], "combine: the combination 'boxes' is not known; did you mean 'box'?"),
        (["rounds=0"], "rounds"),
        (["start=[trusted, trusted]"], "the same start twice"),
        (["trusted.eval=gone.txt"], "cannot be read"),
        (["trusted.eval=baseline.txt"], "is in baseline and in eval"),
        (["trusted.eval=[]"], "names no sample"),
        (["run.loss=[dce]"], "dce"),
    ],
)
def test_what_the_file_says_wrong(root, change, said):
    config = write_plan(root)
    with pytest.raises(ConfigError) as caught:
        maskwright.refine(config, overrides=change)
    assert said in str(caught.value)


def test_all_errors_at_once(root):
    config = write_plan(root)
    with pytest.raises(ConfigError) as caught:
        maskwright.refine(config, overrides=["rounds=0", "trusted.eval=gone.txt", "run.loss=[dce]"])
    assert len(caught.value.problems) == 3


def test_samples_that_cannot_be_used(root):
    config = write_plan(root)
    with pytest.raises(DataError, match="has no sample 'nobody'"):
        maskwright.refine(config, overrides=["trusted.baseline=[nobody]"])
    with pytest.raises(DataError, match="1 poor mask to make better"):
        maskwright.refine(config, overrides=[f"trusted.baseline=[{', '.join((*BASELINE, *NAMES[8:15]))}]"])


def test_plan_chooses_by_what_the_masks_are(root):
    assert "combine: box  #" in write_plan(root).read_text()
    shutil.rmtree(root / "data")
    planted_copy(root / "good", root / "data", {}, "nothing")
    assert "combine: confident  #" in write_plan(root, "other.yaml").read_text()
    with pytest.raises(ConfigError, match="already exists"):
        write_plan(root, "other.yaml")
    assert IGNORE == 255


def test_settings_reach_into_the_file_of_the_run(tmp_path):
    (tmp_path / "configs").mkdir()
    run = {"data": {"root": "x", "image_size": [32, 32]}, "model": "UNet", "loss": "ce", "train": {"budget": "5m"}}
    (tmp_path / "configs" / "run.yaml").write_text(yaml.safe_dump(run))
    (tmp_path / "refine.yaml").write_text("data: data\nrun: configs/run.yaml\nrounds: 3\n")
    found = load_refinement(tmp_path / "refine.yaml", ["rounds=1", "run.train.iterations=7", "run.seed=5"])
    assert (found.config.rounds, found.run.train.iterations, found.run.train.budget, found.run.seed) == (1, 7, None, 5)
    with pytest.raises(ConfigError, match="train.batch_size"):
        load_refinement(tmp_path / "refine.yaml", ["run.train.batch_size=none"])
