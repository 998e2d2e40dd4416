"""Each record arrives once, whatever happens on the way."""

from __future__ import annotations

import shutil
from itertools import count

import pytest

from made_runs import add_evaluation, log, logged, make_run
from maskwright.base.storage import read_json
from maskwright.errors import DataError
from maskwright.training.tracking.delivery import sender as module
from maskwright.training.tracking.delivery.cursor import Cursor, statuses
from maskwright.training.tracking.delivery.sender import Courier, TooLong, said
from recorder import Recorder, rows, values


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def run(tmp_path, store):
    return make_run(tmp_path / "run", [{"name": "recorder", "store": str(store), "down": str(tmp_path / "down")}])


def test_what_is_sent(run, store):
    add_evaluation(run, "test-002")
    add_evaluation(run, ".partial-7-test-003")  # being written
    assert Courier(run, "recorder").deliver(True)
    assert values(store) == logged(run) and len(logged(run)) == 22
    opened, *_, closed = rows(store)
    assert opened["params"]["model.args.channels"] == "4" and opened["params"]["loss.1.name"] == "dice"
    assert not any("tracker" in name or value is None for name, value in opened["params"].items())
    assert opened["tags"] == {
        "dataset": "garden",
        "dataset_version": "abc",
        "maskwright": "0",
        "run_folder": str(run.path),
    }
    assert [row["picture"] for row in rows(store) if "picture" in row] == ["000020.png", "000040.png"]
    assert {"split": "test", "number": 2, "values": {"mIoU": 0.5, "iou/ground": 0.25}} in rows(store)
    assert closed == {"close": True, "best": str(run.best)}
    (status,) = statuses(run)
    assert status.complete and (status.delivered, status.records, status.evaluations) == (6, 6, 1)
    assert status.human() == f"recorder: 6 of 6 records delivered to {store}"


@pytest.mark.parametrize("name", ["recorder", "anew"])
def test_twice_is_once(tmp_path, store, name):
    run = make_run(tmp_path / "run", [{"name": name, "store": str(store)}])
    assert Courier(run, name).deliver(True)
    before = store.read_bytes()
    assert Courier(run, name).deliver(True) and store.read_bytes() == before
    add_evaluation(run, "test-001")
    assert not statuses(run)[0].complete
    assert Courier(run, name).deliver(True) and statuses(run)[0].complete
    assert values(store) == logged(run) and [row["split"] for row in rows(store) if "split" in row] == ["test"]


def test_follows_a_log_that_grows(tmp_path, store):
    run = make_run(tmp_path / "run", [{"name": "recorder", "store": str(store)}], steps=20, finished=False)
    courier = Courier(run, "recorder")
    assert courier.deliver(False) and values(store) == logged(run)
    log(run, range(30, 41, 10))
    with run.metrics.path.open("a") as stream:
        stream.write('{"iteration": 50')  # being written
    assert courier.deliver(False)
    assert values(store) == logged(run) and Cursor.read(run, "recorder").records == 6
    assert courier.deliver(True)
    assert [row for row in rows(store) if "open" in row or "close" in row][1:] == [
        {"close": False, "best": str(run.best)}
    ]


def test_a_log_that_was_cut_back(run, store):
    """Resuming forgets lines that have arrived, and writes them again."""
    assert Courier(run, "recorder").deliver(False)
    whole = run.metrics.path.read_bytes()
    expected = logged(run)
    run.metrics.truncate(len(whole) // 3)
    courier = Courier(run, "recorder")
    assert courier.deliver(False) and statuses(run)[0].delivered == statuses(run)[0].records
    run.metrics.path.write_bytes(whole)
    log(run, range(50, 61, 10))
    assert courier.deliver(True)
    assert values(store) == logged(run) and values(store) > expected


def test_a_server_that_is_down_for_a_while(tmp_path, run, store):
    down = tmp_path / "down"
    down.touch()
    courier = Courier(run, "recorder")
    assert not courier.deliver(False) and not courier.deliver(False)
    (status,) = statuses(run)
    assert status.problem == "Connection refused" and not status.complete and status.delivered == 0
    down.unlink()
    assert courier.deliver(True) and values(store) == logged(run)
    assert read_json(run.trackers / "recorder.json")["problem"] == "" and statuses(run)[0].complete


class Killed(BaseException):
    """What stands for a kill: nothing catches it."""


@pytest.mark.parametrize("name", ["recorder", "anew"])
def test_killed_at_any_moment(tmp_path, store, name, monkeypatch):
    """Before and after every write of the cursor and of the store; the clock goes on, batches are small."""
    monkeypatch.setattr(module, "BATCH", 2)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # the machine stays on
    moments = count(1)
    fatal = 0

    def mortal(call):
        def called(*arguments, **keywords):
            if next(moments) == fatal:
                raise Killed
            result = call(*arguments, **keywords)
            if next(moments) == fatal:
                raise Killed
            return result

        return called

    run = make_run(tmp_path / "run", [{"name": name, "store": str(store)}])
    add_evaluation(run, "test-001")
    whole = run.metrics.path.read_bytes()
    monkeypatch.setattr(Cursor, "write", mortal(Cursor.write))
    monkeypatch.setattr(Recorder, "_write", mortal(Recorder._write))
    kills = 0
    for moment in count(1):
        shutil.rmtree(run.trackers, ignore_errors=True)
        store.unlink(missing_ok=True)
        clock = count(1000)
        moments, fatal = count(1), moment
        try:
            Courier(run, name, lambda clock=clock: next(clock)).deliver(True)
        except Killed:
            kills += 1
        else:
            break
        fatal = 0
        if moment % 3 == 0:  # the training was killed too, and is resumed from far back
            run.metrics.truncate(whole.index(b"\n") + 1)
            assert Courier(run, name, lambda clock=clock: next(clock)).deliver(False)
            run.metrics.path.write_bytes(whole)
        assert Courier(run, name, lambda clock=clock: next(clock)).deliver(True)
        assert values(store) == logged(run), moment
        assert len({row["open"] for row in rows(store) if "open" in row}) == 1
        assert statuses(run)[0].complete and statuses(run)[0].evaluations == 1
    assert kills >= 50


def test_a_defect_in_a_tracker_stays_there(run, monkeypatch):
    monkeypatch.setattr(Recorder, "send", lambda self, records, at: {}["nothing"])
    assert not Courier(run, "recorder").deliver(True)
    assert statuses(run)[0].problem == "'nothing'"


def test_what_an_error_says():
    def failing():
        try:
            try:
                raise ConnectionRefusedError(111, "Connection refused")
            except OSError:
                raise RuntimeError("retries exceeded") from None
        except RuntimeError as error:
            raise ValueError("log_batch failed") from error

    with pytest.raises(ValueError) as caught:
        failing()
    assert said(caught.value) == "Connection refused"
    assert said(ValueError("cannot use http://me:secret@host/x\nand more")) == "cannot use http://host/x"
    assert said(ValueError("steers a terminal: \x1b[2J")) == "steers a terminal: \\x1b[2J"
    assert said(TooLong()) == "no answer in time" and said(KeyError()) == "KeyError"


def test_a_damaged_cursor(run):
    (run.trackers / "recorder.json").parent.mkdir()
    (run.trackers / "recorder.json").write_text('{"key": "x", "sending": null, "colour": 3}')
    with pytest.raises(DataError, match="delete it, and all is sent again"):
        Courier(run, "recorder")
