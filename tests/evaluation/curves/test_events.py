"""The decoder of event files, against TensorBoard's own writers and checksums, and against hostile bytes."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwright.errors import DataError
from maskwright.evaluation.curves.events import crc32c, masked_crc, records, scalars

pytest.importorskip("tensorboard")


def framed(*data: bytes) -> bytes:
    parts = []
    for one in data:
        head = struct.pack("<Q", len(one))
        parts += [head, struct.pack("<I", masked_crc(head)), one, struct.pack("<I", masked_crc(one))]
    return b"".join(parts)


def event(step: int = 3, **value: object) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Event(wall_time=1.0, step=step, summary=Summary(value=[Summary.Value(**value)])).SerializeToString()


@pytest.fixture
def read(tmp_path):
    def of(data: bytes) -> list[tuple[str, int, float]]:
        file = tmp_path / "events.out.tfevents.1"
        file.write_bytes(data)
        return list(scalars(file))

    return of


@given(st.binary(max_size=100), st.integers(0, 5000))
def test_checksums_are_those_of_tensorboard(start, more):
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import crc32c as theirs

    data = start + np.random.default_rng(more).bytes(more)
    assert crc32c(data) == theirs(data)


def test_the_checksum_of_the_standard():
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720 and every list of CRCs
    assert crc32c(bytes(32)) == 0x8A9136AA and crc32c(b"") == 0


def test_what_torch_writes(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        for step, value in ((0, 1.5), (1, -2.0), (7_000_000_000, 3e38)):
            writer.add_scalar("loss/train", value, step)
        writer.add_scalar("nan", math.nan, 1)
        writer.add_scalar("new", 0.25, 4, new_style=True)  # as a tensor
        writer.add_image("picture", np.zeros((3, 60, 50), np.uint8), 1)
        writer.add_histogram("weights", np.arange(50.0), 1)
        writer.add_text("note", "ünder", 1)
    (file,) = tmp_path.iterdir()
    found = list(scalars(file))
    assert [one for one in found if one[0] == "loss/train"] == [
        ("loss/train", 0, 1.5),
        ("loss/train", 1, -2.0),
        ("loss/train", 7_000_000_000, np.float32(3e38)),
    ]
    assert ("new", 4, 0.25) in found and {tag for tag, _, _ in found} == {"loss/train", "nan", "new"}
    assert math.isnan(next(value for tag, _, value in found if tag == "nan"))


def test_agrees_with_tensorboards_reader(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    rng = np.random.default_rng(0)
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(200):
            writer.add_scalar(f"tag {step % 3}", rng.normal(), step)
    theirs = EventAccumulator(str(tmp_path), {"scalars": 0})
    theirs.Reload()
    (file,) = tmp_path.iterdir()
    assert sorted(scalars(file)) == sorted(
        (tag, one.step, one.value) for tag in theirs.Tags()["scalars"] for one in theirs.Scalars(tag)
    )


def test_tensors_of_one_number(read):
    from tensorboard.compat.proto.tensor_pb2 import TensorProto

    tensors = [
        (TensorProto(dtype=1, float_val=[0.5]), 0.5),
        (TensorProto(dtype=2, double_val=[0.1]), 0.1),
        (TensorProto(dtype=1, tensor_content=struct.pack("<f", 0.25)), 0.25),
        (TensorProto(dtype=1, float_val=[1, 2]), None),
        (TensorProto(dtype=7, string_val=[b"abcd"]), None),
        (TensorProto(dtype=3, int_val=[1]), None),
        (TensorProto(), None),
    ]
    for tensor, value in tensors:
        assert read(framed(event(tag="t", tensor=tensor))) == ([] if value is None else [("t", 3, value)])


def test_steps_may_be_negative_and_empty_files_are_empty(read):
    assert read(framed(event(-1, tag="t", simple_value=1.0))) == [("t", -1, 1.0)]
    assert read(b"") == [] and read(framed(b"")) == []


def test_a_torn_end_is_left_out(read):
    whole = framed(event(1, tag="t", simple_value=1.0), event(2, tag="t", simple_value=2.0))
    for cut in range(len(whole) // 2, len(whole)):
        assert read(whole[:cut]) == [("t", 1, 1.0)]


@pytest.mark.parametrize(("place", "what"), [(0, "length"), (8, "length"), (14, "data"), (-1, "data")])
def test_a_flipped_bit_is_named(read, place, what):
    data = bytearray(framed(event(tag="t", simple_value=1.0)))
    data[place] ^= 4
    with pytest.raises(DataError, match=f"record 1: .* {what}|record 1: its {what}"):
        read(bytes(data))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\x2b", "wire type 3"),
        (b"\x2a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "longer than its message"),
        (b"\x80" * 11, "longer than ten"),
        (b"\x80", "cut off"),
        (b"\x09\x00", "longer than its message"),
        (b"\x2a\x06\x0a\x04\x0a\x02\xff\xfe", "UTF-8"),
    ],
)
def test_messages_that_are_none(read, data, what):
    with pytest.raises(DataError, match=f"record 2: .*{what}"):
        read(framed(b"", data))


def test_a_length_beyond_the_file_is_not_read(read):
    head = struct.pack("<Q", 1 << 62)
    assert read(head + struct.pack("<I", masked_crc(head)) + b"x" * 100) == []


@given(st.binary(max_size=300))
def test_any_message_is_read_or_refused(tmp_path_factory, data):
    survives(tmp_path_factory, framed(data))


@given(st.binary(max_size=300))
def test_any_file_is_read_or_refused(tmp_path_factory, data):
    survives(tmp_path_factory, data)


@given(st.data())
def test_any_damage_is_read_or_refused(tmp_path_factory, data):
    inner = bytearray(event(tag="loss", simple_value=0.5) + event(tag="t", metadata={"display_name": "x"}))
    for _ in range(data.draw(st.integers(1, 4))):
        inner[data.draw(st.integers(0, len(inner) - 1))] = data.draw(st.integers(0, 255))
    survives(tmp_path_factory, framed(bytes(inner)))


def survives(tmp_path_factory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "events.out.tfevents.fuzz"
    file.write_bytes(data)
    try:
        found = list(scalars(file))
        assert len(list(records(file))) <= len(data)
    except DataError as error:
        assert str(error).startswith(f"{file}: record ")
        return
    assert all(
        isinstance(tag, str) and -(1 << 63) <= step < 1 << 63 and isinstance(value, float) for tag, step, value in found
    )
