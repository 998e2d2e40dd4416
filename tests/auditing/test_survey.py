"""The pass over the files: the same with any number of threads, never stopped by a file, never piling up."""

from __future__ import annotations

import threading
import time
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest

from helpers import make_dataset, write
from maskwright.auditing import audit, human
from maskwright.auditing.survey import _in_order, survey
from maskwright.core.dataset import load_dataset
from maskwright.core.storage import dump_json
from maskwright.errors import DataError


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    folder = make_dataset(tmp_path / "data", 24, describe=True)
    (folder / "img/train/000.png").write_bytes(b"")
    (folder / "labels/train/001.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    path = folder / "labels/test/003.png"
    path.write_bytes(path.read_bytes()[:-30])
    return folder


def test_any_number_of_threads_gives_the_same(damaged: Path) -> None:
    documents = {dump_json(audit(damaged, progress=False, threads=threads).to_dict()) for threads in (1, 2, 7, 7, 7)}
    assert len(documents) == 1


def test_damaged_files_do_not_stop_the_audit(damaged: Path) -> None:
    result = audit(damaged, progress=False)
    assert [(finding.code, finding.sample) for finding in result.findings] == [
        ("image.unreadable", "train/000"), ("mask.unreadable", "test/003"), ("mask.unreadable", "train/001")]
    assert result.statistics.total.images == 23
    assert result.statistics.total.labelled == 21
    assert len(result.version or "") == 32


def test_records_come_in_the_order_of_the_samples(damaged: Path) -> None:
    dataset = load_dataset(damaged)
    seen = survey(dataset, threads=5)
    assert [record.sample for record in seen.records] == list(dataset.samples)


def test_warnings_that_threads_silence_in_turn_are_as_before() -> None:
    """The first thread leaves its `catch_warnings` while the second is inside, which would undo the one of both."""
    entered, also_entered, left = threading.Event(), threading.Event(), threading.Event()

    def work(item: int) -> None:
        if item:
            entered.wait(10)
        with warnings.catch_warnings(action="ignore"):
            (also_entered if item else entered).set()
            (left if item else also_entered).wait(10)
            warnings.warn("of a damaged file", stacklevel=1)  # an error in these tests, unless silenced
        left.set()

    before = list(warnings.filters)
    assert list(_in_order(work, range(2), 2)) == [None, None]
    assert list(warnings.filters) == before


def test_progress_is_told_of_every_sample(damaged: Path) -> None:
    told: list[int] = []
    survey(load_dataset(damaged), advance=lambda done, note="": told.append(done))
    assert told == list(range(1, 25))


def test_progress_lines_go_to_stderr_only(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    human(audit(damaged))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("threads", [1, 3])
def test_work_ahead_is_bounded(threads: int) -> None:
    begun, taken, most = 0, 0, 0
    lock = threading.Lock()

    def work(item: int) -> int:
        nonlocal begun, most
        with lock:
            begun += 1
            most = max(most, begun - taken)
        return item

    for expected, item in enumerate(_in_order(work, range(50), threads)):
        assert item == expected
        time.sleep(0.001)
        taken += 1
    assert most <= 2 * threads + 1


def test_a_defect_of_our_own_is_not_swallowed() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise RuntimeError("a defect")
        return item

    with pytest.raises(RuntimeError, match="a defect"):
        list(_in_order(work, range(100), 2))


def test_memory_does_not_grow_with_pixels(tmp_path: Path) -> None:
    """Forty images of a megapixel take no more than four in flight, although they are 3 MB each."""
    folder = tmp_path / "data"
    for index in range(40):
        write(folder / "images" / f"{index:02d}.png", np.full((1000, 1000, 3), index, np.uint8), compress_level=1)
        write(folder / "masks" / f"{index:02d}.png", np.full((1000, 1000), index % 2, np.uint8), compress_level=1)
    dataset = load_dataset(folder)
    tracemalloc.start()
    try:
        seen = survey(dataset, threads=2)
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(seen.records) == 40
    assert left < 1e6
    assert peak < 60e6  # of 120 MB of images, and 320 MB of counters of their pixels


def test_no_dataset_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder of images found"):
        audit(tmp_path)
