"""The pass over the files: the same with any number of threads, never stopped by a file, never piling up."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers import make_dataset, write
from maskwright.base.storage import dump_json
from maskwright.core.regions import Drawing
from maskwright.data.auditing import audit
from maskwright.data.auditing.survey import survey
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    folder = make_dataset(tmp_path / "data", 24, describe=True, seed=1)
    (folder / "img/train/000.png").write_bytes(b"")
    (folder / "labels/train/001.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    path = folder / "labels/test/003.png"
    path.write_bytes(path.read_bytes()[:-30])
    return folder


def test_any_number_of_workers_gives_the_same(damaged: Path) -> None:
    documents = {dump_json(audit(damaged, progress=False, workers=workers).to_dict()) for workers in (1, 2, 3, 7)}
    assert len(documents) == 1


def test_damaged_files_do_not_stop_the_audit(damaged: Path) -> None:
    result = audit(damaged, progress=False)
    assert [(finding.code, finding.sample) for finding in result.findings] == [
        ("image.unreadable", "train/000"),
        ("mask.unreadable", "test/003"),
        ("mask.unreadable", "train/001"),
    ]
    assert result.statistics.total.images == 23
    assert result.statistics.total.labelled == 21
    assert len(result.version or "") == 32


def test_records_come_in_the_order_of_the_samples(damaged: Path) -> None:
    dataset = load_dataset(damaged)
    seen = survey(dataset, workers=5)
    assert [record.sample for record in seen.records] == list(dataset.samples)


def test_progress_is_told_of_every_sample(damaged: Path) -> None:
    told: list[int] = []
    survey(load_dataset(damaged), advance=lambda done, note="": told.append(done))
    assert told[-1] == 24
    assert told == sorted(set(told))


def test_progress_lines_go_to_stderr_only(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audit(damaged).human()
    assert capsys.readouterr().out == ""


def test_memory_does_not_grow_with_pixels(tmp_path: Path) -> None:
    """Forty images of a megapixel, 3 MB each, take no more than what is in flight."""
    folder = tmp_path / "data"
    for index in range(40):
        write(folder / "images" / f"{index:02d}.png", np.full((1000, 1000, 3), index, np.uint8), compress_level=1)
        write(folder / "masks" / f"{index:02d}.png", np.full((1000, 1000), index % 2, np.uint8), compress_level=1)
    dataset = load_dataset(folder)
    tracemalloc.start()
    try:
        seen = survey(dataset, workers=1)  # a process of its own would not be seen
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(seen.records) == 40
    assert left < 2e5
    assert peak < 60e6  # of 120 MB of images, and 320 MB of counters of their pixels


def test_no_dataset_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images found"):
        audit(tmp_path)


def test_a_record_takes_about_a_kilobyte(tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "data", 300, (20, 20), describe=True)
    dataset = load_dataset(folder)
    survey(dataset, workers=1)  # what is made once
    tracemalloc.start()
    try:
        seen = survey(dataset, workers=1)
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(seen.records) == 300
    assert left < 300 * 1100


def test_masks_that_are_drawn_from_annotations_are_looked_at_too(tmp_path: Path) -> None:
    """The reader renders them; there is no file whose kind could be told."""
    dataset = load_dataset(make_dataset(tmp_path / "data", describe=True))
    drawn = replace(
        dataset,
        samples=tuple(
            replace(sample, mask=None, drawing=Drawing((), 1, tmp_path / "annotations.json"))
            for sample in dataset.samples
        ),
    )
    seen = survey(drawn, workers=1)
    assert all(record.usable for record in seen.records)
    assert {mask.present for _, mask in seen.masks} == {bytes([1])}
    assert seen.statistics.total.class_pixels.tolist() == [0, 12 * 48 * 64, 0]
