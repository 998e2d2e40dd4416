"""What is planted in whom: as many as there are suspects, of their kinds and sizes, the same for the same seed."""

import numpy as np
import pytest

from doubted import write_doubted
from helpers import write
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError
from maskwright.labels.deciding.estimating import WAYS
from maskwright.labels.deciding.simulating import SuspectedError, kinds_of, prepared


@pytest.fixture
def data(tmp_path):
    return write_doubted(tmp_path / "data", 24, 0)


def made(data, out, models, share=0.25, seed=0, place=0):
    dataset = load_dataset(data)
    names = [sample.name for sample in dataset.samples]
    return dataset, prepared(
        out,
        data,
        dataset,
        [names[::4], names[1::4], names[2::4], names[3::4]],
        place,
        [[wrong] if isinstance(wrong, SuspectedError) else wrong for wrong in models],
        share,
        seed,
    )


def changed(dataset, repeat):
    """The share of pixels that differ, of each sample of which any do."""
    copy = load_dataset(repeat.folder / "data")
    found = {
        own.name: np.mean(copy.read_mask(sample) != dataset.read_mask(own))
        for sample, own in zip(copy.samples, dataset.samples, strict=True)
    }
    return {name: share for name, share in found.items() if share}


def test_who_trains_on_what(data, tmp_path):
    dataset, repeat = made(
        data, tmp_path / "out", [SuspectedError("missing", 1.0, 0.05), SuspectedError("swollen", 1.0, 0.05)]
    )
    names = {sample.name for sample in dataset.samples}
    assert {*repeat.train} | {*repeat.held_out} == names and not {*repeat.train} & {*repeat.held_out}
    assert len(repeat.planted) == repeat.wanted == round(0.25 * 18)
    assert changed(dataset, repeat).keys() == repeat.planted.keys() <= {*repeat.train}
    clean = [name for name in repeat.train if name not in repeat.planted]
    assert {way: repeat.training(way, data) for way in WAYS} == {
        "keep": (repeat.folder / "data", repeat.train),
        "exclude": (data, clean),
        "repair": (data, repeat.train),
    }
    assert {*kinds_of([repeat])} == {"missing", "swollen"}


def test_the_same_seed_plants_the_same(data, tmp_path):
    models = [
        SuspectedError("swollen", 1.0, 0.05),
        SuspectedError("hallucinated", 1.0, 0.05),
        SuspectedError("shifted", 1.0, 0.05),
    ]
    dataset, first = made(data, tmp_path / "a", models)
    assert made(data, tmp_path / "a", models, seed=9)[1] == first  # it is there
    for folder, same in (({"seed": 0}, True), ({"seed": 1}, False), ({"place": 1}, False)):
        other = made(data, tmp_path / f"b{folder}", models, **folder)[1]
        assert (changed(dataset, other) == changed(dataset, first)) is same
    half = tmp_path / "half"
    (half / "data").mkdir(parents=True)
    (half / "data" / "torn").write_text("")  # killed before it was whole
    assert changed(dataset, made(data, half, models)[1]) == changed(dataset, first)


def test_sizes_are_like_those_of_the_suspects(data, tmp_path):
    mean = {}
    for share in (0.0, 1.0):
        dataset, repeat = made(data, tmp_path / str(share), [SuspectedError("swollen", 1.0, share)], share=0.9)
        mean[share] = np.mean([*changed(dataset, repeat).values()])
    assert mean[1.0] > 1.4 * mean[0.0]


def test_an_error_is_planted_as_often_as_it_is_likely(data, tmp_path):
    kinds = kinds_of(
        [
            made(data, tmp_path / str(seed), [SuspectedError("missing", 0.7, 0.05)], share=0.9, seed=seed)[1]
            for seed in range(10)
        ]
    )
    assert {*kinds} == {"missing", "none"} and kinds["missing"] / sum(kinds.values()) == pytest.approx(0.7, abs=0.1)
    both = made(
        data, tmp_path / "both", [[SuspectedError("missing", 1.0, 0.05), SuspectedError("hallucinated", 1.0, 0.05)]]
    )[1]
    assert ["missing", "hallucinated"] in both.planted.values()


def test_what_has_no_place_is_passed_over(data, tmp_path):
    for file in [*(data / "masks").rglob("*.png")][5:]:
        write(file, np.zeros((32, 32), np.uint8))
    dataset, repeat = made(data, tmp_path / "some", [SuspectedError("shifted", 1.0, 0.05)], share=0.9)
    assert 0 < len(repeat.planted) <= 5 < repeat.wanted and changed(dataset, repeat).keys() == repeat.planted.keys()
    for file in (data / "masks").rglob("*.png"):
        write(file, np.zeros((32, 32), np.uint8))
    with pytest.raises(DataError, match="no error like those of the suspects could be planted in 18 other samples"):
        made(data, tmp_path / "none", [SuspectedError("shifted", 1.0, 0.05)])
