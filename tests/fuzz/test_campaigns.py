"""The campaigns in short; in full they take hours (`make fuzz`, or `pytest -m slow tests/fuzz`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from broken.folders import NEEDS
from fuzz import heaps, readers, trips
from fuzz.mutations import BYTES, TEXT, archive, chunks, element, tree
from helpers import draw_pair, encoded
from maskwright.data.formats import FORMATS
from maskwright.data.formats.archives import pack


@pytest.mark.parametrize("form", readers.FORMS)
def test_a_few_mutated_files(form: str) -> None:
    if form in NEEDS:
        pytest.importorskip(NEEDS[form])
    tally = readers.fuzz(form, 5)
    assert tally.cases == tally.accepted + tally.partly + tally.refused == 5 and not tally.unexpected, tally


@pytest.mark.slow
@pytest.mark.parametrize("form", readers.FORMS)
def test_mutated_files(form: str) -> None:
    if form in NEEDS:
        pytest.importorskip(NEEDS[form])
    tally = readers.fuzz(form, 2000, seed=1)
    assert tally.cases == 2000 and not tally.unexpected, tally
    assert tally.accepted and tally.partly and tally.refused  # the mutations are neither too weak nor too strong


def test_a_few_folders_of_random_files() -> None:
    tally = heaps.heaps(60, seed=2)
    assert tally.cases == tally.understood + tally.refused == 60 and not tally.unexpected, tally
    assert tally.pairs and len(tally.errors) > 3


@pytest.mark.slow
def test_folders_of_random_files() -> None:
    tally = heaps.heaps(5000, seed=1)
    assert tally.cases == tally.understood + tally.refused == 5000 and not tally.unexpected, tally


@pytest.mark.parametrize("name", trips.TRIPS)
def test_a_few_random_masks(name: str) -> None:
    tally = trips.trips(name, 10, 0)
    assert tally.masks == 10 and (tally.exact == 10 or not trips.lossless(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", trips.TRIPS)
def test_random_masks(name: str) -> None:
    tally = trips.trips(name, 3000, 1)
    assert tally.masks == 3000 and (tally.changed == 0) is trips.lossless(name)


@pytest.mark.slow
@pytest.mark.parametrize("first", trips.TRIPS)
@pytest.mark.parametrize("second", trips.TRIPS)
def test_random_masks_from_format_to_format(first: str, second: str) -> None:
    tally = trips.pair(first, second, 50, 1)
    assert tally.masks == 50 and tally.agreed
    assert tally.changed == 0 or not (trips.lossless(first) and trips.lossless(second))


def test_every_format_is_in_the_campaigns() -> None:
    assert {name for name, row in FORMATS.items() if row.read} <= set(readers.FORMS)
    assert {name for name, row in FORMATS.items() if row.write} <= set(trips.TRIPS)


def test_a_process_that_dies_is_unexpected(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_case(form: str, home: Path, work: Path, number: int, seed: int, tally: readers.Tally) -> None:
        if number == 3:
            readers.os.abort()
        tally.cases += 1
        tally.accepted += 1

    monkeypatch.setattr(readers, "run_case", run_case)
    tally = readers.fuzz("folders", 9)
    assert (tally.cases, len(tally.unexpected)) == (6, 1) and "case 3, seed 0: process ended" in tally.unexpected[0]


def test_what_is_no_error_of_ours_or_takes_too_long_is_unexpected(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(_: Path) -> None:
        while True:
            pass

    for broken, words in ((lambda _: [][0], "IndexError"), (slow, "TooSlow")):
        monkeypatch.setattr(readers, "load_dataset", broken)
        monkeypatch.setattr(readers, "_SECONDS", 0.2)
        tally = readers.fuzz("folders", 2)
        assert len(tally.unexpected) == 2 and words in tally.unexpected[0]


def test_mutations_are_functions_of_the_generator_and_change_something(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.json").write_text('{"a": [1, 2.5, {"b": "c d"}], "e": null}')
    (tmp_path / "in/a.xml").write_text('<a x="1"><b y="2"/>text</a>')
    pack(tmp_path / "in", tmp_path / "a.zip")
    png = encoded(draw_pair(np.random.default_rng(0))[0], "PNG")
    files = [
        ((tmp_path / "in/a.json").read_bytes(), [*BYTES, *TEXT, tree]),
        (png, [chunks]),
        ((tmp_path / "in/a.xml").read_bytes(), [element]),
        ((tmp_path / "a.zip").read_bytes(), [archive]),
    ]
    for data, mutations in files:
        for mutate in mutations:
            found = [mutate(data, np.random.default_rng(seed)) for seed in range(12)]
            assert found == [mutate(data, np.random.default_rng(seed)) for seed in range(12)]
            assert len(set(found) - {data}) > 2
