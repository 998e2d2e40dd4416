"""The verb `decide` with real trainings of a tiny model: its numbers, its files, stops, and what it refuses."""

import html
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

import maskwright
from doubted import SETTINGS, suspect_row, write_doubted, write_suspects
from helpers import fingerprint
from maskwright.base.storage import exclusive_lock
from maskwright.base.work_folder import WorkFolder
from maskwright.cli import main
from maskwright.core.edits import FOLDER, Edit, add_edits
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError, Interrupted, LockedError
from maskwright.labels.deciding import running
from maskwright.labels.deciding.estimating import PAIRS, WAYS, way_differences
from maskwright.run import Run
from maskwright.training import measuring
from maskwright.training import train as training
from maskwright.training.length import Length
from maskwright.verbs import decide as deciding
from maskwright.verbs.decide import decide


@pytest.fixture
def data(tmp_path):
    return write_doubted(tmp_path / "data")


def asked(home, **changed):
    return decide(home, **{"repeats": 2, "weights": "none", "overrides": SETTINGS, **changed})


def copied(work, out, keep):
    """Publishes a copy."""
    out.mkdir()
    for name in keep:
        shutil.copy(work.path / name, out / name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A decision that was not disturbed, with what was trained for it."""
    home = write_doubted(tmp_path_factory.mktemp("whole") / "data")
    before, train, seen = fingerprint(home), deciding.train_ways, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deciding, "train_ways", lambda *given: seen.append(train(*given)) or seen[0])
        patch.setattr(WorkFolder, "publish", copied)  # for the work is looked at
        result = asked(home)
    assert {name: value for name, value in fingerprint(home).items() if "decision-" not in name} == before
    return SimpleNamespace(result=result, work=home / FOLDER / "decision-001.unfinished", home=home, trained=seen[0])


def numbers(result):
    return {key: value for key, value in result.to_dict().items() if key not in ("question", "folder", "seconds")}


def test_three_ways_are_trained_on_the_same_images(whole):
    suspects = {sample.name for sample in load_dataset(whole.home).samples[:4]}
    held_out = []
    for place, repeat in enumerate(whole.trained.repeats):
        runs = {way: Run(repeat.folder / way) for way in WAYS}
        assert not suspects & {*repeat.train, *repeat.held_out} and len(repeat.planted) == round(0.2 * 12)
        for way, run in runs.items():
            root, names = repeat.training(way, whole.home)
            splits, config = run.info()["splits"], run.config()
            assert {*splits["train"]} == {*names} and {*splits["val"]} == {*repeat.held_out}
            assert (config.data.root, config.seed) == (str(root), place)
            assert run.finished["iterations"] == run.finished["best_iteration"] == 20  # no label has chosen it
        held_out.append({*repeat.held_out})
    assert not held_out[0] & held_out[1]


def test_the_result_follows_from_the_evaluations(whole):
    result = whole.result
    scored = {
        way: [whole.work / f"repeat-{place}" / way / "evaluations" / "val-001" for place in (1, 2)] for way in WAYS
    }
    assert result.differences == way_differences(
        [{way: np.load(scored[way][r] / "confusions.npy") for way in WAYS} for r in range(2)]
    )
    for way, folders in scored.items():
        values = [json.loads((folder / "scores.json").read_text())["scores"]["mIoU"]["value"] for folder in folders]
        assert result.scores[way] == pytest.approx(values)
    assert (result.trusted, result.train, result.held_out, result.iterations) == (16, [12, 12], [4, 4], 20)
    assert result.question.cost == 12 and sum(result.planted.values()) == 4
    stored = json.loads((result.folder / "decision.json").read_text())
    assert result.reason in html.unescape(result.page.read_text("utf-8")) and result.page.parent == result.folder
    assert stored["verdict"] == result.verdict and stored["question"]["minutes_of_repair"] == 12
    assert [row["way"] for row in stored["ways"]] == list(WAYS)
    text = result.human()
    assert "simulated 2 times on 16 other samples" in text and f"verdict: {result.reason}" in text
    assert all(f"{first} - {second}" in text for first, second in PAIRS) and "12 min (4 masks, 3 min each)" in text


def test_a_decision_that_was_killed_goes_on(whole, data, monkeypatch):
    score, train, scored, trained = running.held_out_counts, training.train_part, [], []
    monkeypatch.setattr(
        training, "train_part", lambda *given, **named: trained.append(named["out"]) or train(*given, **named)
    )
    for done in (0, 4):

        def dying(run, done=done):
            if len(scored) == done:
                raise KeyboardInterrupt
            scored.append(run.path)
            return score(run)

        monkeypatch.setattr(running, "held_out_counts", dying)
        with pytest.raises(Interrupted, match=r"decision-001\.unfinished: stopped; the same command resumes it"):
            asked(data)
    with pytest.raises(
        ConfigError, match=r"decision-001\.unfinished: holds .* other settings: seed \(0 then, 1 now\);"
    ):
        asked(data, seed=1)
    monkeypatch.setattr(running, "held_out_counts", score)
    assert numbers(asked(data)) == numbers(whole.result)
    assert len(trained) == len({*trained}) == 6
    assert {path.name for path in (data / FOLDER).iterdir()} - {"hashes.json"} == {"decision-001", "suspects-001"}


def test_a_training_that_is_stopped_says_how_to_go_on(data, monkeypatch):
    def stopped(*given, **named):
        raise Interrupted("run: stopped at iteration 3; go on with `maskwright resume run`")

    monkeypatch.setattr(training, "train_part", stopped)
    with pytest.raises(Interrupted, match=r"decision-001\.unfinished: stopped; the same command resumes it"):
        asked(data)
    with exclusive_lock(data / FOLDER / "decision-001.unfinished"), pytest.raises(LockedError):
        asked(data)


def test_the_first_training_measures_and_the_others_do_as_much(data, monkeypatch):
    lengths, budgets, train = iter([3, 99]), [], training.train_part
    monkeypatch.setattr(measuring.Speed, "fitted", lambda *_: next(lengths))
    monkeypatch.setattr(Length, "refit", lambda *_: None)
    monkeypatch.setattr(
        training, "train_part", lambda config, **named: budgets.append(config.train.budget) or train(config, **named)
    )
    result = asked(data, repeats=1, budget="30m", overrides=SETTINGS[2:])
    assert result.iterations == 3 and budgets == ["510.00s", None, None]
    assert any("with one repeat" in note for note in result.notes)
    assert any("learnt hardly anything" in note for note in result.notes)


def test_the_test_split_has_no_part(data, whole, monkeypatch):
    names = [sample.name for sample in load_dataset(data).samples]
    add_edits(
        data,
        [Edit("split", names[0], "test"), Edit("split", names[-1], "test"), Edit("status", names[-2], "exclude")],
        "splits",
    )
    write_suspects(data, [suspect_row(name) for name in names[:3]], "suspects-002")
    seen = []
    monkeypatch.setattr(deciding, "train_ways", lambda *given: seen.append(given) or whole.trained)
    result = asked(data)
    assert result.question.suspects == names[1:3] and [one.name for one in seen[0][2]] == names[3:-2]
    assert seen[0][3] == [[deciding.SuspectedError("swollen", 1.0, 60 / 32**2)]] * 2 and seen[0][4] == 2 / 17
    assert any("1 more suspect sample in the test split" in note for note in result.notes)


def test_nothing_to_decide(data, capsys):
    before = fingerprint(data)
    write_suspects(data, [suspect_row(load_dataset(data).samples[0].name, score=0.4)], "suspects-010")
    (data / FOLDER / "suspects-011").mkdir()  # not finished
    result = maskwright.decide(load_dataset(data))  # a Dataset stands for its folder
    assert result.verdict == "nothing" and result.folder is None and result.to_dict()["ways"] == []
    for arguments in ([], ["--json"]):
        with pytest.raises(SystemExit) as stopped:
            main(["decide", str(data), *arguments])
        out = capsys.readouterr().out
        assert stopped.value.code == 0 and "nothing to decide: no sample" in out
        assert not arguments or json.loads(out)["verdict"] == "nothing"
    assert {name for name in fingerprint(data) if "suspects-01" not in name} == {*before}


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"budget": "soon"}, ConfigError, "`budget`: 'soon' is not a time"),
        ({"repeats": 0}, ConfigError, "`repeats` 0: out of range"),
        ({"min_score": 1.5}, ConfigError, "`min_score` 1.5: out of range"),
        ({"minutes_per_mask": -1}, ConfigError, "`minutes_per_mask` -1: out of range"),
        ({"repeats": 6}, DataError, "16 labelled samples are not suspect, and 6 parts of them are needed with 3 each"),
        ({"suspects": "nowhere"}, DataError, "suspects.json: the file is missing"),
        ({"out": "."}, ConfigError, "never overwritten"),
        ({"budget": "0.1s", "overrides": SETTINGS[2:]}, ConfigError, r"`budget`: too short for 6 trainings .*step"),
    ],
)
def test_what_is_refused(data, monkeypatch, arguments, error, says):
    monkeypatch.chdir(data)
    with pytest.raises(error, match=says):
        asked(data, **arguments)
    assert not (data / FOLDER / "decision-001").exists()


def test_suspects_of_another_version_are_refused(data):
    with pytest.raises(DataError, match="no such folder"):
        decide(data / "nowhere")
    add_edits(data, [Edit("split", load_dataset(data).samples[0].name, "val")], "by hand")
    with pytest.raises(DataError, match="has changed since .*suspects-001 was made; run `maskwright suspects` again"):
        decide(data)


def test_too_few_others_are_refused(tmp_path):
    with pytest.raises(DataError, match="11 labelled samples are not suspect"):
        asked(write_doubted(tmp_path / "few", images=15))
