"""TensorBoard: an event file beside the run, written with the package's own protocol buffers; needs no torch.

tensorboard --logdir RUN/trackers/tensorboard
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maskwright.base.storage import disk_errors
from maskwright.training.tracking.trackers.base import TrackedRecord, TrackedRun, TrackedScores, Tracker


class TensorBoard(Tracker):
    """Scalars, pictures, and the config as text.

    The state is the length of the file: what was written behind it by a session that was killed is cut off.
    """

    package = "tensorboard"

    def __init__(self) -> None:
        super().__init__()
        self._file: Path | None = None

    @property
    def where(self) -> str:
        """The folder for `tensorboard --logdir`."""
        assert self._file is not None
        return str(self._file.parent)

    def open(self, facts: TrackedRun) -> None:
        """Starts the event file, or takes it up."""
        from tensorboard.compat.proto.event_pb2 import Event

        self._file = facts.folder / "events.out.tfevents.0.maskwright"
        if not self.state:
            self.state = {"bytes": 0}
            self._write([Event(wall_time=facts.started, file_version="brain.Event:2")])
            self._write(
                [_text(facts.started, name, values) for name, values in (("config", facts.params), ("run", facts.tags))]
            )

    def send(self, records: Sequence[TrackedRecord], at: float) -> None:
        """Appends scalars and pictures."""
        events = [_scalars(at, record.iteration, record.values) for record in records]
        events += [_picture(at, record.iteration, record.picture) for record in records if record.picture]
        self._write(events)

    def score(self, scores: TrackedScores) -> None:
        """Scalars named `SPLIT/…`, at the number of the evaluation."""
        values = {f"{scores.split}/{name}": value for name, value in scores.values.items()}
        self._write([_scalars(scores.at, scores.number, values)])

    def close(self, finished: bool, best: Path | None) -> None:
        """Nothing is left to do: the file is complete after every call."""

    def _write(self, events: Sequence[Any]) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        assert self._file is not None
        with disk_errors(self._file), open(self._file, "ab") as stream:
            stream.truncate(self.state["bytes"])
            writer = RecordWriter(stream)
            for event in events:
                writer.write(event.SerializeToString())
            stream.flush()
            os.fsync(stream.fileno())
            self.state = {"bytes": stream.tell()}


def _scalars(at: float, step: int, values: Mapping[str, float]) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    found = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
    return Event(wall_time=at, step=step, summary=Summary(value=found))


def _picture(at: float, step: int, file: Path) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    data = file.read_bytes()
    width, height = struct.unpack(">II", data[16:24])  # the first chunk of every PNG
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=data)
    return Event(wall_time=at, step=step, summary=Summary(value=[Summary.Value(tag="samples", image=image)]))


def _text(at: float, tag: str, values: Mapping[str, object]) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    table = "\n".join(["| key | value |", "|---|---|", *(f"| {key} | {value} |" for key, value in values.items())])
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    tensor = TensorProto(dtype=DT_STRING, string_val=[table.encode()])
    return Event(wall_time=at, summary=Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)]))
