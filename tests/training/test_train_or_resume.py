"""`train_or_resume`: what it does follows from what lies in the folder."""

import pytest

from maskwright.run import Run
from maskwright.training import train as training
from maskwright.training.train import train_or_resume


@pytest.fixture
def done(monkeypatch):
    """What was called, with its arguments; nothing is trained."""
    calls = []
    monkeypatch.setattr(training, "train_part", lambda config, **named: calls.append(("train", config, named)))
    monkeypatch.setattr(training, "resume_part", lambda run, **named: calls.append(("resume", run, named)))
    return calls


def test_nothing_there_is_trained(tmp_path, done):
    train_or_resume("config", out=tmp_path / "run", splits=(["a"], ["b"]))
    assert done == [("train", "config", {"out": tmp_path / "run", "decoded": None, "splits": (["a"], ["b"])})]


def test_what_was_stopped_is_resumed(tmp_path, done):
    run = Run(tmp_path)
    run.write_info({}, {"train": {}, "val": {}})
    train_or_resume("config", out=tmp_path, decoded=tmp_path / "images")
    assert done == [("resume", run, {"decoded": tmp_path / "images"})]


def test_what_has_finished_is_returned_as_it_is(tmp_path, done):
    run = Run(tmp_path)
    run.write_info({}, {"train": {}, "val": {}})
    run.finish({"iterations": 3})
    assert train_or_resume("config", out=tmp_path) == run and done == []
