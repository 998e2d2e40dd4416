"""What `suspects` has left: the newest of it, what is read, and what is refused."""

import json

import pytest

from doubted import suspect_row, write_doubted, write_suspects
from maskwright.base.storage import atomic_write_json
from maskwright.core.edits import FOLDER
from maskwright.core.findings import Finding
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError
from maskwright.labels.suspecting.results import Suspect, SuspectsResult
from maskwright.labels.suspecting.stored import StoredSuspect, newest_suspects, read_stored


def test_what_suspects_writes_is_read(tmp_path):
    dataset = load_dataset(write_doubted(tmp_path, 2, 0))
    suspects = [
        Suspect(name, "train", number, score, "missing", {"missing": 1.0}, (0, 0, 4, 4), "a", "b", 12, 0.5)
        for name, number, score in (("x", 1, 0.9), ("y", 1, 0.5), ("x", 2, 0.4))
    ]
    result = SuspectsResult("set", tmp_path, tmp_path / "out", dataset.classes, "v1", suspects, [], [], [])
    assert isinstance(suspects[0].finding(), Finding)
    atomic_write_json(tmp_path / "out" / "suspects.json", result.to_dict())
    stored = read_stored(tmp_path / "out")
    x, y = (StoredSuspect(name, "missing", score, 12, 1, 0.5) for name, score in (("x", 0.9), ("y", 0.5)))
    assert stored.version == "v1" and stored.by_sample(0.5) == {"x": [x], "y": [y]} and not stored.by_sample(0.95)
    with pytest.raises(DataError, match="has changed since .*out was made; run `maskwright suspects` again"):
        stored.require_version(dataset)


def test_the_newest_finished_folder_counts(tmp_path):
    write_doubted(tmp_path, 2, 1)
    with pytest.raises(DataError, match="not known yet; run `maskwright suspects` first"):
        newest_suspects(tmp_path / "images")
    assert newest_suspects(tmp_path).name == "suspects-001"
    for name in ("suspects-009", "suspects-1000", "suspects-1001.unfinished", "suspects-old"):
        write_suspects(tmp_path, [], name)
    (tmp_path / FOLDER / "suspects-1002").mkdir()
    newest = newest_suspects(tmp_path)
    assert newest.name == "suspects-1000"
    read_stored(newest).require_version(load_dataset(tmp_path))


@pytest.mark.parametrize(
    "change",
    [
        {"findings": None},
        {"findings": [3]},
        {"dataset": {}},
        {"findings": [suspect_row("a", "odd")]},
        {"findings": [suspect_row("a", ["missing"])]},
        {"findings": [suspect_row("a", score=1.5)]},
        {"findings": [suspect_row("a", score=None)]},
        {"findings": [suspect_row("a", score=float("nan"))]},
        {"findings": [suspect_row("a", error_pixels=float("inf"))]},
        {"findings": [suspect_row("a", error_pixels=-1)]},
        {"findings": [suspect_row(3)]},
        {"findings": [{"sample": "a", "kind": "missing", "score": 1}]},
    ],
)
def test_what_is_no_result_is_refused(tmp_path, change):
    (tmp_path / "suspects.json").write_text(json.dumps({"dataset": {"version": "v1"}, "findings": []} | change))
    with pytest.raises(
        DataError, match=r"suspects\.json: is no result of `suspects` .*; run `maskwright suspects` again"
    ):
        read_stored(tmp_path)
