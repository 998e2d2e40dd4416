"""The journal of edits: kept beside the dataset, applied when it is opened, taken back by name."""

import json
import os

import numpy as np
import pytest

from helpers import make_dataset
from maskwright.base.storage import exclusive_lock
from maskwright.cli import main
from maskwright.core.edits import FOLDER, Edit, add_edits, edits, journal_of, mask_edit, read_batches, take_back
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError, LockedError


@pytest.fixture
def home(tmp_path):
    return make_dataset(tmp_path / "data", images=4, describe=True)


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and FOLDER not in path.parts}


def test_split_status_and_mask_are_changed_and_nothing_else(home):
    before, sources = load_dataset(home), files_of(home)
    a, b, c, d = before.samples
    mask = 1 - before.read_mask(c)
    add_edits(
        home,
        [Edit("split", a.name, "val"), Edit("status", b.name, "exclude"), mask_edit(home, c, mask, before.classes)],
        "by hand",
    )
    after = load_dataset(home)
    assert after.samples[0].split == "val" and after.samples[1].status == "exclude"
    assert (after.read_mask(after.samples[2]) == mask).all()
    assert after.samples[3] == d
    assert files_of(home) == sources
    assert after.version() != before.version()


def test_the_last_edit_counts_and_undo_takes_batches_back(home):
    before = load_dataset(home)
    name = before.samples[0].name
    add_edits(home, [Edit("split", name, "val")], "one")
    second = add_edits(home, [Edit("split", name, "")], "two")
    assert load_dataset(home).samples[0].split is None
    assert take_back(home).name == second.name
    assert load_dataset(home).samples[0].split == "val"
    assert add_edits(home, [], "three").name == "3"  # no name twice, also after an undo
    assert take_back(home, "1").reason == "one"
    assert load_dataset(home).samples == before.samples
    with pytest.raises(ConfigError, match="no batch '1' holds; those that do: 3"):
        take_back(home, "1")
    take_back(home)
    with pytest.raises(ConfigError, match="no edit to undo"):
        take_back(home)


def test_an_edited_mask_is_an_index_mask_whatever_the_encoding(tmp_path, home):
    text = (home / "dataset.yaml").read_text()
    dataset = load_dataset(home)
    sample = dataset.samples[0]
    mask = np.full_like(dataset.read_mask(sample), 1)
    mask[:3] = 255
    add_edits(home, [mask_edit(home, sample, mask, dataset.classes)], "")
    (home / "dataset.yaml").write_text(text.replace("encoding: index", "encoding: colour"))
    changed = load_dataset(home)
    assert changed.encoding.kind == "colour"
    assert (changed.read_mask(changed.samples[0]) == mask).all()


def test_edits_work_beside_data_that_is_elsewhere(tmp_path, home):
    view = tmp_path / "view"
    view.mkdir()
    (view / "dataset.yaml").write_text((home / "dataset.yaml").read_text().replace('root: "."', f'root: "{home}"'))
    name = load_dataset(view).samples[0].name
    add_edits(view, [Edit("status", name, "suspect")], "")
    assert load_dataset(view).samples[0].status == "suspect"
    assert load_dataset(home).samples[0].status == "keep"


@pytest.mark.parametrize(
    "record",
    [
        {"batch": "1"},
        [],
        3,
        {"batch": "1", "reason": "", "time": "", "edits": [{"kind": "move", "sample": "a", "value": ""}]},
        {"batch": "1", "reason": "", "time": "", "edits": [{"kind": "status", "sample": "a", "value": "lost"}]},
        {"batch": "1", "reason": "", "time": "", "edits": [{"kind": "split", "sample": 1, "value": "a"}]},
        {
            "batch": "1",
            "reason": "",
            "time": "",
            "edits": [{"kind": "mask", "sample": "train/000", "value": "../../x.png"}],
        },
    ],
)
def test_a_journal_that_is_not_ours_is_refused(home, record):
    path = journal_of(home).path
    path.parent.mkdir()
    path.write_text(json.dumps(record) + "\n")
    with pytest.raises(DataError, match=r"edits\.jsonl"):
        load_dataset(home)


def test_a_torn_line_is_no_batch(home):
    add_edits(home, [Edit("split", "train/000", "val")], "")
    with journal_of(home).path.open("ab") as stream:
        stream.write(b'{"batch": "2", "rea')
    assert [batch.name for batch in read_batches(home)] == ["1"]
    assert add_edits(home, [], "").name == "2"


def test_two_processes_do_not_edit_at_once(home):
    (home / FOLDER).mkdir()
    with exclusive_lock(home / FOLDER):  # what another process would hold
        for change in (lambda: add_edits(home, [], ""), lambda: take_back(home)):
            with pytest.raises(LockedError, match=str(os.getpid())):
                change()
    assert os.listdir(home / FOLDER) == [".lock"]


def said(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["edits", *map(str, arguments)])
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_undoing_says_what_was_undone_and_what_is_left(home, capsys):
    two = add_edits(home, [Edit("split", "train/000", "val"), Edit("status", "train/000", "suspect")], "by two hands")
    one = add_edits(home, [Edit("split", "train/000", "test")], "by hand")
    assert said(capsys, home) == f"1: 2 edits, {two.time}, by two hands\n2: 1 edit, {one.time}, by hand\n"
    lines = said(capsys, home, "--undo").splitlines()
    assert lines == [
        "undone: 1 edit; 2 edits left",
        f"  it was batch 2: {one.time}, by hand",
        "left:",
        f"  1: 2 edits, {two.time}, by two hands",
    ]
    assert said(capsys, home, "--undo").splitlines()[0] == "undone: 2 edits; none left"
    assert said(capsys, home) == "no edits\n"


def test_what_was_undone_is_in_the_document_and_in_python(home, capsys):
    first, second = (add_edits(home, [Edit("split", "train/000", split)], split) for split in ("val", "test"))
    assert json.loads(said(capsys, home, "--json"))["undone"] is None
    document = json.loads(said(capsys, home, "--undo", "--batch", "1", "--json"))
    assert document["undone"]["name"] == "1" and document["undone"]["edits"] == [
        {"kind": "split", "sample": "train/000", "value": "val"}
    ]
    assert [batch["name"] for batch in document["batches"]] == ["2"]
    result = edits(home, undo=True)
    assert result.undone == second and result.batches == ()
    assert edits(home).undone is None and first not in edits(home).batches


def test_a_batch_without_undo_is_refused(home):
    add_edits(home, [Edit("split", "train/000", "val")], "")
    with pytest.raises(ConfigError, match="give `undo`"):
        edits(home, batch="1")
    assert len(edits(home).batches) == 1
