"""The event file, read back by TensorBoard itself."""

from __future__ import annotations

from collections import Counter

import pytest

from maskwright.training.tracking.delivery.cursor import Cursor
from maskwright.training.tracking.delivery.sender import Courier
from run_folders import log, logged, logged_run, scored_half

pytest.importorskip("tensorboard")


def shown(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run.trackers / "tensorboard"), {"scalars": 0, "images": 0, "tensors": 0})
    found.Reload()
    return found


def scalars(run):
    found = shown(run)
    return Counter(
        (tag, event.step, round(event.value, 6))
        for tag in found.Tags()["scalars"]
        if "test/" not in tag
        for event in found.Scalars(tag)
    )


def expected(run):
    return Counter({(name, step, round(value, 6)): n for (name, step, value), n in logged(run).items()})


def test_read_back(tmp_path):
    run = logged_run(tmp_path / "run", ["tensorboard"])
    scored_half(run)
    assert Courier(run, "tensorboard", lambda: 1234.5).deliver(True)
    assert scalars(run) == expected(run)
    found = shown(run)
    (score,) = found.Scalars("test/mIoU")
    assert (score.step, score.value) == (1, 0.5)
    assert {event.wall_time for event in found.Scalars("loss")} == {1234.5}
    first, second = found.Images("samples")
    assert (first.step, first.width, first.height, second.step) == (20, 8, 6, 40)
    assert first.encoded_image_string == run.sample_file(20).read_bytes()
    text = found.Tensors("config")[0].tensor_proto.string_val[0].decode()
    assert "| model.name | UNet |" in text and found.SummaryMetadata("config").plugin_data.plugin_name == "text"
    assert "| dataset_version | abc |" in found.Tensors("run")[0].tensor_proto.string_val[0].decode()


def test_what_a_kill_left_is_written_again(tmp_path):
    run = logged_run(tmp_path / "run", ["tensorboard"], finished=False)
    assert Courier(run, "tensorboard").deliver(False)
    before = Cursor.read(run, "tensorboard")
    log(run, range(50, 81, 10))
    assert Courier(run, "tensorboard").deliver(True)
    file = run.trackers / "tensorboard" / "events.out.tfevents.0.maskwright"
    whole = file.read_bytes()
    for left in (whole, whole[:-100], whole[: before.state["bytes"] + 5]):
        before.write(run, "tensorboard")  # killed before it could be noted that all this was written
        file.write_bytes(left)
        assert Courier(run, "tensorboard").deliver(True)
        assert scalars(run) == expected(run)
