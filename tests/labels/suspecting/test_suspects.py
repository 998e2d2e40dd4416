"""The verb `suspects` with trainings of a tiny model: its files, JSON, edits, stops, and what it refuses."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from doubted import SETTINGS as TINY
from helpers import fingerprint, write
from maskwright.base import work_folder
from maskwright.cli import main
from maskwright.core.edits import FOLDER, Edit, add_edits, read_batches
from maskwright.core.mask_files import read_grey
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError, Interrupted
from maskwright.labels.suspecting import detector, folds, judging, labelsets, selftest
from maskwright.labels.suspecting.planting import KINDS
from maskwright.labels.suspecting.stored import newest_suspects
from maskwright.verbs import suspects as verb
from maskwright.verbs.plan import plan
from maskwright.verbs.suspects import small_config, suspects
from tiny import write_dataset

IMAGES = 16
SETTINGS = [*TINY, "train.iterations=60"]


@pytest.fixture(autouse=True, scope="module")
def light():
    """A detector that learns little, in little time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detector, "LEAST_PLANTED", 400)
        patch.setattr(detector, "VOTERS", 1)
        patch.setattr(detector, "TREES", detector.TREES | {"max_iter": 30, "max_bins": 32})
        yield


def write_data(root, **changed):
    """Whose classes look so different that a tiny model sees them, and of whose masks some are empty and some have their
    classes in each other's place."""
    home = write_dataset(root, {"train": IMAGES}, **{"ids": (0, 1, 2), **changed})
    ids = changed.get("ids", (0, 1, 2))
    one, other = ids[-1], ids[len(ids) // 2 - 1]
    for number in range(3):
        write(home / f"masks/train/train_{number:02d}.png", np.zeros((32, 32), np.uint8))
    for number in (3, 4):
        file = home / f"masks/train/train_{number:02d}.png"
        mask = read_grey(file)
        write(file, np.where(mask == one, other, np.where(mask == other, one, mask)).astype(np.uint8))
    return home


def asked(home, **changed):
    return suspects(home, **{"folds": 2, "weights": "none", "overrides": SETTINGS, **changed})


def command(*words):
    return [
        "suspects",
        *map(str, words),
        "--folds",
        "2",
        "--weights",
        "none",
        *(word for setting in SETTINGS for word in ("--set", setting)),
    ]


def run(capsys, *words):
    """The exit code, what was printed, and what was said."""
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    said = capsys.readouterr()
    return ended.value.code or 0, said.out, said.err


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search that was not disturbed, with a self-test and the labels themselves as another set."""
    home = write_data(tmp_path_factory.mktemp("whole") / "data")
    before = fingerprint(home)
    result = asked(home, self_test=True, others=[home])
    after = fingerprint(home)
    assert {name: value for name, value in after.items() if FOLDER not in name} == before
    return SimpleNamespace(home=home, result=result, stored=json.loads((result.folder / "suspects.json").read_text()))


@pytest.fixture
def copied(whole, tmp_path):
    """The dataset with its result, to be changed."""
    return shutil.copytree(whole.home, tmp_path / "data")


def test_what_lies_in_the_folder(whole):
    folder = whole.result.folder
    assert folder == whole.home / FOLDER / "suspects-001" and [*folder.parent.glob("suspects-*")] == [folder]
    found = {row["sample"] for row in whole.stored["findings"] if row["evidence"]["number"]}  # with a proposal
    assert {path.name for path in folder.iterdir()} - {".lock"} == {
        "suspects.json",
        "ranked.txt",
        "index.html",
        "probabilities",
        "trust",
        *(["proposals", "changes"] if found else []),
    }
    names = {f"train/train_{number:02d}" for number in range(IMAGES)}
    ranked = (folder / "ranked.txt").read_text().split()
    assert {*ranked} == names and ranked == [row["sample"] for row in whole.stored["samples"]]
    for part, expected in {"probabilities": names, "trust": names, "proposals": found, "changes": found}.items():
        assert {str(path.relative_to(folder / part))[:-4] for path in (folder / part).rglob("*.png")} == expected
    assert read_grey(folder / "trust" / "train" / "train_00.png").shape == (32, 32)


def test_the_json(whole):
    stored = whole.stored
    assert stored == json.loads(json.dumps(whole.result.to_dict()))
    assert stored["dataset"]["version"] == load_dataset(whole.home).version()
    assert stored["findings"], "the tiny model finds something"
    for row in stored["findings"]:
        assert row["code"] == f"label.{row['kind']}" and row["kind"] in KINDS and row["fix"] and row["message"]
        assert row["severity"] == ("warning" if row["score"] >= 0.9 else "info") and 0.5 <= row["score"] <= 1
        assert row["split"] == "train" and len(row["region"]) == 4 and min(row["region"][2:]) > 0
        assert row["evidence"]["labelled"] in ("class_0", "class_1", "class_2")
    scores = [row["score"] for row in stored["findings"]]
    assert scores == sorted(scores, reverse=True)
    summary = stored["summary"]
    assert (
        summary["findings"] == len(scores) == sum(summary["by_kind"].values()) == sum(summary["by_severity"].values())
    )
    assert summary["samples"] == IMAGES == len(stored["samples"])
    assert summary["suspect_samples"] == len({row["sample"] for row in stored["findings"]})
    assert [fold["images"] for fold in stored["folds"]] == [8, 8] and {f["iterations"] for f in stored["folds"]} == {60}
    assert any(note.startswith("only 16 samples") for note in stored["notes"])


def test_the_self_test(whole):
    test = whole.stored["self_test"]
    assert test["planted"] == len(KINDS) == sum(row["planted"] for row in test["kinds"].values())
    assert {*test} >= {"average_precision", "precision", "kinds", "baselines", "clean", "seed"}
    assert 0 < test["average_precision"] <= 1 and 0 < test["baselines"]["softmin"]["average_precision"] <= 1
    assert [*test["precision"]] == ["5", "15"] and test["clean"]["masks"] == IMAGES - test["planted"]
    for kind, row in test["kinds"].items():
        assert kind in KINDS and 0 <= row["average_precision"] <= 1 and 0 <= row["recalled"] <= 1


def test_labels_beside_themselves(whole):
    (labels,) = whole.stored["label_sets"]
    assert labels["agreement"] == 1 and labels["samples"] == IMAGES
    assert labels["preferred"] == {"this": 0, "other": 0, "undecided": IMAGES}


# What dies in which call, of one search that is begun again and again.
STAGES = {
    "planting": (selftest, "plant", 3),
    "a training": (folds, "train_fold", 2),
    "a prediction": (folds, "predict_samples", 1),
    "learning": (detector, "fit_classifiers", 2),
    "the self-test's end": (selftest, "measured", 1),
    "proposals": (judging, "judge_sample", 5),
    "label sets": (labelsets, "preferred_label", 3),
    "the end": (verb, "_notes", 1),
}


@pytest.mark.slow
def test_what_was_killed_goes_on_to_the_same(whole, tmp_path, monkeypatch):
    home = write_data(tmp_path / "data")
    # Processes of their own would each count for themselves.
    monkeypatch.setattr(judging, "in_order", lambda work, items, count: map(work, items))
    for place, name, last in STAGES.values():
        real, calls = getattr(place, name), []

        def dying(*given, real=real, calls=calls, last=last):
            calls.append(given)
            if len(calls) == last:
                raise KeyboardInterrupt
            return real(*given)

        monkeypatch.setattr(place, name, dying)
        with pytest.raises(Interrupted, match="the same command resumes it"):
            asked(home, self_test=True, others=[home])
        monkeypatch.setattr(place, name, real)
        assert not (home / FOLDER / "suspects-001").exists()

    def killed(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # even while what is no longer needed is cleared away
        patch.setattr(work_folder.shutil, "rmtree", killed)
        with pytest.raises(Interrupted):
            asked(home, self_test=True, others=[home])
    again = json.loads((newest_suspects(home) / "suspects.json").read_text())
    assert json.dumps(again).replace(str(home), "HOME") == json.dumps(whole.stored).replace(str(whole.home), "HOME")
    assert [path.name for path in (home / FOLDER).glob("suspects-*")] == ["suspects-001"]


def test_apply_takes_over_the_sure_ones_and_undo_takes_them_back(copied, capsys):
    folder = copied / FOLDER / "suspects-001"
    dataset = load_dataset(copied)
    rows = json.loads((folder / "suspects.json").read_text())["findings"]
    least = float(np.median([row["evidence"]["confidence"] for row in rows]))
    sure = [row for row in rows if row["evidence"]["confidence"] >= least]
    untouched = {name: value for name, value in fingerprint(copied).items() if FOLDER not in name}
    before = {sample.name: dataset.read_mask(sample) for sample in dataset.samples}
    code, out, _ = run(capsys, "suspects", copied, "--apply", "--min-confidence", least, "--json")
    assert code == 0
    (batch,) = read_batches(copied)
    assert json.loads(out)["applied"]["name"] == batch.name
    assert {edit.sample for edit in batch.edits} == {row["sample"] for row in sure} and len(sure) < len(rows)
    changed = load_dataset(copied)
    for sample in changed.samples:
        numbers = [row["evidence"]["number"] for row in sure if row["sample"] == sample.name]
        differs = changed.read_mask(sample) != before[sample.name]
        expected = (
            np.isin(read_grey(folder / "changes" / f"{sample.name}.png"), numbers) if numbers else differs & False
        )
        assert (differs == expected).all()
    code, _, err = run(capsys, "suspects", copied, "--apply", "--min-confidence", least)
    assert code == DataError.exit_code == 3 and "has changed since" in err
    assert run(capsys, "edits", copied, "--undo")[0] == 0
    assert load_dataset(copied).version() == dataset.version() and not read_batches(copied)
    assert {name: value for name, value in fingerprint(copied).items() if FOLDER not in name} == untouched


def test_nothing_so_sure_changes_nothing(copied, capsys):
    code, out, _ = run(capsys, "suspects", copied, "--apply", "--min-confidence", "1")
    assert code == 0 and "no proposal has this confidence" in out and not read_batches(copied)


def test_a_dataset_that_has_changed_is_not_repaired(copied, capsys):
    add_edits(copied, [Edit("status", "train/train_00", "exclude")], "test")
    code, _, err = run(capsys, "suspects", copied, "--apply")
    assert code == 3 and "has changed since" in err and len(read_batches(copied)) == 1


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"seed": 1}, r"seed \(0 then, 1 now\)"),
        ({"folds": 3}, r"folds \(2 then, 3 now\)"),
        ({"background": "class_1"}, "background"),
        ({"overrides": [*SETTINGS, "train.iterations=9"]}, r"config.train.iterations \(60 then, 9 now\)"),
    ],
)
def test_unfinished_work_on_something_else_is_refused(tmp_path, monkeypatch, changed, key):
    home = write_data(tmp_path / "data")
    monkeypatch.setattr(verb, "search", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(Interrupted):
        asked(load_dataset(home))  # which stands for its folder
    with pytest.raises(ConfigError, match=f"holds unfinished work with other settings: {key}.*; give the same again"):
        asked(home, **changed)


def test_the_verb_in_a_terminal(tmp_path, capsys):
    home = write_data(tmp_path / "data", ids=(0, 1))
    code, out, _ = run(capsys, *command(home, "--out", tmp_path / "out", "--fail-on", "info", "--json"))
    told = json.loads(out)
    assert code == bool(told["findings"]) and (tmp_path / "out" / "index.html").is_file()
    assert told == json.loads((tmp_path / "out" / "suspects.json").read_text())
    assert {path.name for path in (home / FOLDER).glob("*")} <= {"hashes.json"}  # a cache
    code, _, err = run(capsys, *command(home, "--out", tmp_path / "out"))
    assert code == ConfigError.exit_code == 2 and "never overwritten" in err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--background", "clas_1"], 2, "--background clas_1: there is no such class; did you mean class_1?"),
        (["--budget", "soon"], 2, "--budget"),
        (["--set", "train.iteration=3"], 2, "iterations"),
    ],
)
def test_what_is_refused(tmp_path, capsys, words, code, says):
    home = write_data(tmp_path / "data")
    found, _, err = run(capsys, *command(home, *words))
    assert found == code and says in err.replace("'", "") and not (home / FOLDER).exists()


def test_one_class_is_refused(tmp_path, capsys):
    code, _, err = run(capsys, *command(write_data(tmp_path / "data", ids=(0,))))
    assert code in (2, 3) and "class" in err


def test_fewer_than_two_labelled_samples_are_refused(tmp_path):
    home = write_data(tmp_path / "data")
    for path in sorted((home / "masks").rglob("*.png"))[1:]:
        path.unlink()
    with pytest.raises(DataError):
        asked(home)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"ids": (0, 1, 4)}, r"its class ids \[0, 1, 4\] are not those of"),
        ({"counts": {"val": 2}}, "labels none of the samples of .*; they are called like 'train/train_00'"),
    ],
)
def test_other_labels_that_cannot_be_compared_are_refused_before_the_search(tmp_path, changed, says):
    home = write_data(tmp_path / "data")
    other = write_dataset(tmp_path / "other", **{"counts": {"train": 3}, "ids": (0, 1, 2), **changed})
    with pytest.raises(DataError, match=says):
        asked(home, others=[other])
    assert not (home / FOLDER).exists()


@pytest.mark.parametrize("given", [["--min-confidence", "0.5"], ["--apply", "--self-test"]])
def test_options_that_would_do_nothing_are_refused(copied, capsys, given):
    assert run(capsys, "suspects", copied, *given)[0] == 2


def test_whole_images_are_judged_where_plan_chooses_windows(tmp_path):
    for index in range(4):
        mask = np.zeros((600, 600), np.uint8)
        mask[100 + 40 * index : 102 + 40 * index] = 1
        write(tmp_path / f"images/{index}.png", mask * 200)
        write(tmp_path / f"masks/{index}.png", mask)
    (tmp_path / "classes.txt").write_text("wall\ncrack\n")
    assert plan(tmp_path, weights="none").config.data.crop is not None
    found = small_config(tmp_path, "1m", "none", []).data
    assert found.crop is None and found.image_size == [128, 128]
    assert small_config(tmp_path, "1m", "none", ["data.crop=null"]).data.crop is None
    with pytest.raises(ConfigError, match=r"data\.crop: labels are judged over whole images here"):
        small_config(tmp_path, "1m", "none", ["data.crop.scale=0.5"])
