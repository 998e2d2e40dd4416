"""A proposal for a dataset: duplicates together, broken files noted, and the table against a recount."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import draw_pair, fingerprint, make_dataset, write
from maskwright.base.storage import dump_json
from maskwright.core.dataset import Dataset
from maskwright.data.opening import load_dataset
from maskwright.data.splitting import Proposal, propose
from maskwright.data.splitting.grouping import group_of
from maskwright.errors import ConfigError, DataError

THIRDS = {"train": 0.6, "val": 0.2, "test": 0.2}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load_dataset(make_dataset(tmp_path_factory.mktemp("split") / "data", 40, layout="flat", describe=True))


def run(dataset: Dataset, **options: object) -> Proposal:
    return propose(dataset, **{"fractions": THIRDS, "seed": 0, "progress": False, **options})  # type: ignore[arg-type]


def test_the_table_is_a_recount(dataset: Dataset) -> None:
    proposal = run(dataset)
    assert list(proposal.splits) == [sample.name for sample in dataset.samples]
    assert [row.images for row in proposal.table] == [24, 8, 8]
    pixels = {sample.name: np.bincount(dataset.read_mask(sample).ravel(), minlength=3) for sample in dataset.samples}
    for row in proposal.table:
        inside = [name for name, split in proposal.splits.items() if split == row.split]
        assert len(inside) == row.images == row.groups
        assert row.wished == THIRDS[row.split] and row.deviation == pytest.approx(row.share - row.wished)
        for k, found in enumerate(row.classes):
            assert found.pixels == sum(pixels[name][k] for name in inside)
            assert found.images == sum(pixels[name][k] > 0 for name in inside)
            assert found.pixel_share == pytest.approx(found.pixels / sum(p[k] for p in pixels.values()))
            assert found.deviation == pytest.approx(found.pixel_share - row.wished)
            assert abs(found.deviation) < 0.02
    assert proposal.trusted == {} and proposal.notes == ()


def test_nothing_is_written(dataset: Dataset) -> None:
    before = fingerprint(dataset.root)
    run(dataset, trusted=6)
    assert fingerprint(dataset.root) == before


@given(st.integers(0, 2**32), st.integers(0, 3), st.integers(2, 12))
@settings(max_examples=6)
def test_the_order_of_samples_does_not_matter(dataset: Dataset, shuffle: int, seed: int, trusted: int) -> None:
    order = np.random.default_rng(shuffle).permutation(40).tolist()
    shuffled = replace(dataset, samples=tuple(dataset.samples[i] for i in order))
    first, second = (run(data, seed=seed, trusted=trusted) for data in (shuffled, dataset))
    assert dump_json(first.to_dict()) == dump_json(second.to_dict())  # the order of their entries as well


def test_seeds_differ(dataset: Dataset) -> None:
    assert run(dataset, seed=1).splits != run(dataset, seed=2).splits


def test_groups_by_pattern_and_by_mapping(dataset: Dataset) -> None:
    pattern = r"^(\d\d)"  # tens: four groups of ten
    by_pattern = run(dataset, pattern=pattern)
    mapping = {sample.name: group_of(sample.name, pattern) for sample in dataset.samples}
    assert run(dataset, groups=mapping) == by_pattern
    assert [row.groups for row in by_pattern.table] == [2, 1, 1]
    for group in set(mapping.values()):
        assert len({by_pattern.splits[name] for name in mapping if mapping[name] == group}) == 1
    del mapping["000"]
    mapping["001"] = ""
    some = run(dataset, groups=mapping)
    assert some.groups["000"] == "000" and some.groups["001"] == "001" and some.groups["002"] == "00"
    assert some.notes == ("2 of 40 samples have no group and stand alone",)


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    folder = make_dataset(tmp_path / "data", 30, layout="flat", describe=True)
    (folder / "images/003.png").write_bytes(b"")
    write(folder / "masks/004.png", np.full((48, 64), 77, np.uint8))
    write(folder / "masks/005.png", np.zeros((5, 5), np.uint8))
    return folder


def test_what_cannot_be_read_is_in_no_split(damaged: Path) -> None:
    proposal = run(load_dataset(damaged), trusted=8)
    assert [name for name, split in proposal.splits.items() if split is None] == ["003", "004", "005"]
    assert sum(row.images for row in proposal.table) == 27
    assert not {"003", "004", "005"} & {*proposal.trusted, *proposal.groups}
    assert [note.split(" is left out: ")[0] for note in proposal.notes] == ["003", "004", "005"]
    assert "is 5x5 but the image" in proposal.notes[2]


def test_excluded_samples_are_left_out(dataset: Dataset) -> None:
    samples = tuple(replace(s, status="exclude") if s.name < "010" else s for s in dataset.samples)
    assert sorted(run(replace(dataset, samples=samples)).splits) == [s.name for s in dataset.samples[10:]]


def test_equal_images_stay_together(tmp_path: Path) -> None:
    """Copies in another format, across groups: three copies of each of eight images."""
    rng = np.random.default_rng(0)
    for i in range(24):
        image, mask = draw_pair(rng)
        for copy, ending in enumerate(("png", "bmp", "tif") if i < 8 else ("png",)):
            write(tmp_path / f"images/{copy}_{i:02d}.{ending}", image)
            write(tmp_path / f"masks/{copy}_{i:02d}.png", mask)
    dataset = load_dataset(tmp_path)
    for seed in range(5):
        proposal = run(dataset, seed=seed, trusted=12)
        for i in range(8):
            assert len({proposal.splits[f"{copy}_{i:02d}"] for copy in range(3)}) == 1
            assert proposal.groups[f"2_{i:02d}"] == f"0_{i:02d}"
        assert len({name[2:] for name in proposal.trusted}) == len(proposal.trusted) == 12  # no image twice
    assert "16 images are equal to another one" in proposal.notes[0]
    every = run(dataset, trusted=40).trusted
    assert len({name[2:] for name in every}) == len(every)
    joined = run(dataset, groups={"0_00": "a", "1_00": "b", "0_01": "b", "0_02": "a", "0_20": "c"})
    assert len({joined.groups[name] for name in ("0_00", "1_00", "2_00", "1_01", "2_02")}) == 1
    assert joined.groups["0_20"] == "c"


def test_the_trusted_are_from_train_and_show_every_class(dataset: Dataset) -> None:
    proposal = run(dataset, trusted=6, eval_share=0.5, pattern=r"^(\d\d\d)")
    assert {proposal.splits[name] for name in proposal.trusted} == {"train"}
    assert sorted(proposal.trusted.values()) == ["baseline"] * 3 + ["eval"] * 3
    by_name = {sample.name: sample for sample in dataset.samples}
    shown = {value for name in proposal.trusted for value in np.unique(dataset.read_mask(by_name[name])).tolist()}
    assert shown == {0, 1, 2}
    everything = run(dataset, trusted=30)
    assert len(everything.trusted) == 24
    assert everything.notes == ("only 24 different images are there to be labelled by hand, not 30",)


def test_images_without_masks(tmp_path: Path) -> None:
    """Two looks, one of them rare: both must be in a small trusted set, which appearance alone decides."""
    rng = np.random.default_rng(0)
    for i in range(40):
        noise = rng.integers(0, 60, (20, 20, 3), dtype=np.uint8)
        write(tmp_path / f"images/{i:02d}.png", noise + np.uint8(150 * (i % 10 == 0)))
    proposal = run(load_dataset(tmp_path), trusted=4)
    assert [row.images for row in proposal.table] == [24, 8, 8]
    assert all(row.classes == () for row in proposal.table)
    bright = [name for name, split in proposal.splits.items() if int(name) % 10 == 0 and split == "train"]
    assert 1 <= len(set(bright) & set(proposal.trusted)) <= len(bright) < 5
    assert "class" not in proposal.human()


def test_a_class_that_a_split_lacks_is_noted(tmp_path: Path) -> None:
    for i in range(20):
        mask = np.zeros((16, 16), np.uint8)
        mask[:5, :5] = 1 if i != 7 else 2
        write(tmp_path / f"images/{i:02d}.png", np.full((16, 16, 3), i, np.uint8))
        write(tmp_path / f"masks/{i:02d}.png", mask)
    proposal = run(load_dataset(tmp_path))
    assert proposal.splits["07"] == "train"
    assert proposal.notes == (
        "class 'class_2' is not in val and test: it is in 1 image in all; "
        "label more of it, or expect no score for it there",
    )


def test_a_split_of_nothing_lacks_nothing(dataset: Dataset) -> None:
    proposal = run(dataset, fractions={"train": 0.8, "val": 0, "test": 0.2})
    assert [row.images for row in proposal.table] == [32, 0, 8] and proposal.notes == ()


def test_json_and_text(damaged: Path) -> None:
    proposal = run(load_dataset(damaged), trusted=4)
    document = json.loads(dump_json(proposal.to_dict()))
    assert document["splits"]["003"] is None and len(document["trusted"]) == 4
    assert document["table"][0]["classes"][1]["name"] == "class_1"
    text = proposal.human()
    lines = text.splitlines()
    assert lines[0] == "data: 27 images in 27 groups, seed 0"
    assert lines[2].split() == ["train", "16", "16", "59.3%", "60.0%"]
    assert "2 to train on (BASELINE) and 2 to judge by (EVAL)" in text and text.count("note: ") == 3
    assert len(lines) < 25 and max(map(len, lines[:9])) < 100


def test_progress_is_told_on_stderr_only(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    run(dataset, progress=True)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fractions": {"train": 0.5}}, "add up to 0.5"),
        ({"seed": -3}, "seed: -3"),
        ({"trusted": 1}, "trusted: 1"),
        ({"trusted": -2}, "trusted: -2"),
        ({"pattern": "("}, "no regular expression"),
        ({"pattern": "x", "groups": {}}, "give one of them"),
        ({"trusted": 4, "eval_share": 1.5}, "from 0 to 1"),
    ],
)
def test_wrong_arguments(dataset: Dataset, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(dataset, **options)


def test_impossible_data(dataset: Dataset, damaged: Path) -> None:
    with pytest.raises(DataError, match="40 samples in 1 group cannot fill 3 splits"):
        run(dataset, pattern="^0")
    for path in (damaged / "images").iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(DataError, match="no usable sample"):
        run(load_dataset(damaged))


REAL = os.environ.get("MASKWRIGHT_REAL_DATA")


@pytest.mark.skipif(not REAL, reason="MASKWRIGHT_REAL_DATA is not set")
def test_real_data_is_balanced() -> None:
    proposal = run(load_dataset(Path(REAL or "") / "steel"), trusted=20)
    assert sum(row.images for row in proposal.table) == 500
    assert max(abs(found.deviation) for row in proposal.table for found in row.classes) < 0.01
    assert sorted(proposal.trusted.values()) == ["baseline"] * 10 + ["eval"] * 10
