"""Copies in any of the eight positions are found across splits, told apart, and nothing else is."""

from __future__ import annotations

import time

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from data.auditing.test_near_duplicates import as_jpeg, scene
from helpers import make_dataset, write
from maskwright.data.auditing import audit, near_duplicates, turned
from maskwright.data.auditing.near_duplicates import SIDE, thumbnail
from maskwright.data.auditing.turned import TURNS, turned_copies

Pixels = npt.NDArray[np.uint8]
# By NumPy's own words for what the copy shows.
BY_WORDS = {
    "mirrored left to right": np.fliplr,
    "mirrored upside down": np.flipud,
    "turned by 180 degrees": lambda image: np.rot90(image, 2),
    "mirrored at the diagonal": lambda image: image.swapaxes(0, 1),
    "turned by 90 degrees to the right": lambda image: np.rot90(image, -1),
    "turned by 90 degrees to the left": lambda image: np.rot90(image),
    "mirrored at the other diagonal": lambda image: np.rot90(image, 2).swapaxes(0, 1),
}


def put(image: Pixels, words: str) -> Pixels:
    return np.ascontiguousarray(BY_WORDS[words](image))


@pytest.mark.parametrize("again", [lambda image: image, as_jpeg], ids=["exact", "JPEG"])
@pytest.mark.parametrize("size", [(120, 160), (131, 197), (64, 64)])
def test_copies_in_each_position_are_found_and_others_are_not(again, size) -> None:
    originals = [scene(seed, size) for seed in range(70)]
    wanted = [*BY_WORDS] * 4
    copies = [again(put(originals[2 * k], words)) for k, words in enumerate(wanted)]
    others = [scene(1000 + seed, size) for seed in range(30)]
    splits = ["train"] * 70 + ["val", "test"] * 14 + ["test"] * 30
    found, complete = turned_copies([thumbnail(image) for image in originals + copies + others], splits)
    assert complete
    assert [(one.original, one.copy, one.turn.words) for one in found] == [
        (2 * k, 70 + k, words) for k, words in enumerate(wanted)
    ]


def test_the_turns_are_what_their_words_say() -> None:
    square = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE), np.uint8)
    assert [turn.words for turn in TURNS] == [*BY_WORDS]
    for turn in TURNS:
        told = turn.of(square.reshape(5, -1))
        assert np.array_equal(told, np.stack([put(one, turn.words) for one in square]).reshape(5, -1))
        assert np.array_equal(turn.inverse.of(told), square.reshape(5, -1))
        waves = square.reshape(5, -1).astype(np.float32) @ near_duplicates.basis()
        np.testing.assert_allclose(turn.waves(waves), told.astype(np.float32) @ near_duplicates.basis(), atol=0.5)


def test_only_other_splits_count_and_unturned_copies_do_not() -> None:
    image = scene(1)
    for splits, number in ((["train", "train"], 0), (["", ""], 0), (["train", "val"], 1)):
        both = [thumbnail(image), thumbnail(np.fliplr(image).copy())]
        assert len(turned_copies(both, splits)[0]) == number
    assert turned_copies([thumbnail(image)] * 2, ["train", "val"]) == ([], True)
    symmetric = cv2.add(image // 2, np.fliplr(image) // 2)
    assert turned_copies([thumbnail(symmetric), thumbnail(as_jpeg(symmetric))], ["train", "val"])[0] == []
    assert turned_copies([], []) == ([], True)
    flat = np.full(SIDE * SIDE, 9, np.uint8).tobytes()
    assert turned_copies([flat, flat], ["train", "val"]) == ([], True)


def test_many_images_that_are_all_alike_end_soon() -> None:
    rng = np.random.default_rng(0)
    centre = cv2.resize(rng.normal(128, 50, (5, 5)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    noisy = np.clip(centre + rng.normal(0, 2, (20_000, SIDE, SIDE)), 0, 255).astype(np.uint8)
    noisy[::10] = noisy[::10, :, ::-1]
    splits = (["val"] * 3 + ["train"] * 7) * 2000
    began = time.process_time()
    found, _ = turned_copies([one.tobytes() for one in noisy], splits)
    assert time.process_time() - began < 20
    assert found and all(splits[one.copy] == "val" and one.copy % 10 == 0 for one in found)


def test_a_search_without_end_is_given_up_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turned, "HASHES", 0)
    both = [thumbnail(scene(1)), thumbnail(np.fliplr(scene(1)).copy())]
    assert turned_copies(both, ["train", "val"]) == ([], False)


def test_an_audit_names_the_copy_the_original_and_how(tmp_path) -> None:
    folder = make_dataset(tmp_path / "data", describe=True, seed=1)
    image, mask = scene(5), np.zeros((120, 160), np.uint8)
    mask[20:40, 30:90] = 1
    for split, words in (("train", None), ("test", "turned by 90 degrees to the left")):
        pixels, labels = (image, mask) if words is None else (put(image, words), put(mask, words))
        write(folder / f"img/{split}/x.png", pixels)
        write(folder / f"labels/{split}/x.png", labels)
    findings = [one for one in audit(folder, progress=False).findings if one.code == "split.near_leakage"]
    assert [(one.sample, one.message) for one in findings] == [
        ("test/x", "looks like train/x turned by 90 degrees to the left")
    ]
    assert findings[0].evidence == {
        "count": 2,
        "samples": ["test/x", "train/x"],
        "splits": ["test", "train"],
        "turn": "turned by 90 degrees to the left",
    }
