"""`split` as a verb: edits and lists, nothing else."""

import json

import pytest

from helpers import fingerprint, make_dataset
from maskwright.cli import main
from maskwright.core.edits import FOLDER, edits
from maskwright.data.opening import load_dataset
from maskwright.data.splitting.split import parse_fractions, split
from maskwright.errors import ConfigError, DataError


@pytest.fixture
def data(tmp_path):
    return make_dataset(tmp_path / "data", images=20, layout="flat", describe=True)


def test_a_split_holds_is_listed_and_can_be_undone(data):
    files = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    before = load_dataset(data)
    assert list(before.splits) == [""]
    result = split(data, seed=3, progress=False)
    after = load_dataset(data)
    assert {name: len(samples) for name, samples in after.splits.items()} == {"train": 14, "val": 3, "test": 3}
    assert {s.name: s.split for s in after.samples} == result.proposal.splits
    for name, samples in after.splits.items():
        assert (result.lists / f"{name}.txt").read_text().split() == [s.name for s in samples]
    assert json.loads((result.lists / "split.json").read_text())["seed"] == 3
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file() and FOLDER not in path.parts} == files
    assert edits(data, undo=True).batches == ()
    assert load_dataset(data).samples == before.samples


def test_a_dry_run_writes_nothing(data):
    before = sorted(data.rglob("*"))
    assert split(data, dry_run=True, progress=False).batch is None
    assert sorted(data.rglob("*")) == before


def test_groups_from_a_file_and_from_names(data, tmp_path):
    table = tmp_path / "groups.csv"
    table.write_text("sample,group\n" + "".join(f"{i:03d},g{i // 4}\n" for i in range(20)))
    by_file = split(data, group_file=table, fractions={"train": 0.6, "test": 0.4}, progress=False).proposal
    by_name = split(data, group="^(..)", fractions={"train": 0.5, "test": 0.5}, progress=False).proposal
    for proposal, key in ((by_file, lambda n: int(n) // 4), (by_name, lambda n: n[:2])):
        parts = {}
        for name, part in proposal.splits.items():
            parts.setdefault(key(name), set()).add(part)
        assert all(len(found) == 1 for found in parts.values())
    assert sum(part == "test" for part in by_file.splits.values()) == 8


@pytest.mark.parametrize(
    ("text", "says"),
    [("sample\n000\n", "needs the columns"), ("sample,group\nx,1\n", "names none"), (None, "cannot be read")],
)
def test_bad_group_files(data, tmp_path, text, says):
    table = tmp_path / "groups.csv"
    if text is not None:
        table.write_text(text)
    with pytest.raises(DataError, match=says):
        split(data, group_file=table, progress=False)


def test_trusted_images_are_listed(data, tmp_path):
    result = split(data, trusted=6, out=tmp_path / "lists", progress=False)
    baseline, judged = ((tmp_path / "lists" / f"{part}.txt").read_text().split() for part in ("baseline", "eval"))
    assert len(baseline) == len(judged) == 3 and not set(baseline) & set(judged)
    assert set(baseline + judged) == set(result.proposal.trusted)
    with pytest.raises(ConfigError, match="never overwritten"):
        split(data, out=tmp_path / "lists", progress=False)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("0.7,0.2,0.1", {"train": 0.7, "val": 0.2, "test": 0.1}), ("train=0.8, test=0.2", {"train": 0.8, "test": 0.2})],
)
def test_fractions(text, wanted):
    assert parse_fractions(text) == wanted


@pytest.mark.parametrize("text", ["", "0.5", "a,b,c", "train=0.5,train=0.5", "train=0.5,0.5", "train=x,test=1"])
def test_bad_fractions(text):
    with pytest.raises(ConfigError, match="three shares"):
        parse_fractions(text)


def test_the_command_line(data, capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            main([*arguments])
        return stopped.value.code or 0, capsys.readouterr().out

    code, text = run("split", str(data), "--fractions", "0.5,0.25,0.25", "--json")
    assert code == 0 and json.loads(text)["batch"] == "1"
    assert "1: 20 edits" in run("edits", str(data))[1]
    code, text = run("edits", str(data), "--undo", "--json")
    undone = json.loads(text)
    assert code == 0 and undone["batches"] == [] and undone["undone"]["name"] == "1"
    assert run("edits", str(data), "--undo")[0] == 2
    assert run("split", str(data), "--fractions", "0.5,0.25,0.5")[0] == 2


def test_a_pattern_that_catches_nothing_is_wrong_usage_and_writes_nothing(data):
    before = fingerprint(data)
    with pytest.raises(ConfigError, match=r"`group` '\^film': catches nothing of any of the 20 names, .* like '010'"):
        split(data, group="^film", progress=False)
    assert fingerprint(data) == before
    with pytest.raises(SystemExit) as stopped:
        main(["split", str(data), "--group", "^film"])
    assert stopped.value.code == 2 and fingerprint(data) == before


def test_a_pattern_that_keeps_nothing_together_is_said(data):
    notes = split(data, group="^0(..)", dry_run=True, progress=False).proposal.notes
    assert "makes a group of each sample" in notes[0]


def test_trusted_images_of_splits_that_stay(data):
    split(data, fractions={"train": 0.6, "test": 0.4}, seed=3)
    before = {sample.name: sample.split for sample in load_dataset(data).samples}
    count = len(edits(data).batches)
    result = split(data, trusted=4, keep=True)
    chosen = (result.lists / "baseline.txt").read_text().split() + (result.lists / "eval.txt").read_text().split()
    assert len(chosen) == 4 and {before[name] for name in chosen} == {"train"}
    assert {sample.name: sample.split for sample in load_dataset(data).samples} == before
    test = {name for name, part in before.items() if part == "test"}
    assert {*(result.lists / "test.txt").read_text().split()} == test
    assert result.batch is None and len(edits(data).batches) == count
    assert "the splits are as they were" in result.human()
    for options in ({"trusted": 0}, {"trusted": 4, "fractions": {"train": 1.0}}):
        with pytest.raises(ConfigError, match="only picks `trusted` images"):
            split(data, keep=True, **options)


def test_splits_that_are_not_there_cannot_stay(data):
    with pytest.raises(ConfigError, match="in no split; leave it out"):
        split(data, trusted=4, keep=True)
