"""The edit store: exact bytes through any sequence of edits, undoing, redoing and restarts; nobody overwrites unseen."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import make_dataset
from maskwright.core.edits import Edit, add_edits, edits
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError
from maskwright.reviewing.store import Conflict, EditStore


def sources(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and ".maskwright" not in path.parts
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "data", images=4, size=(12, 16), describe=True)


def seen(store: EditStore) -> list[tuple[str, bytes]]:
    """Status and mask of every sample."""
    return [(sample.status, store.mask(sample).tobytes()) for sample in store.now()[0]]


def change(store: EditStore, number: int, **what: object) -> None:
    store.save(number, store.revision(store.sample(number)), **what)


def follow(folder: Path, steps: list[tuple[str, int]]) -> None:
    """Makes the steps, and after each one every sample has to be what it was when that state was made."""
    data = make_dataset(folder, images=4, size=(6, 8), describe=True)
    before, store = sources(data), EditStore(data)
    past, future = [seen(store)], []
    for step, seed in steps:
        rng = np.random.default_rng(seed)
        if step == "paint":
            mask = store.mask(store.sample(seed % 4)).copy()
            mask[rng.integers(6), rng.integers(8)] = rng.choice([0, 1, 2, 255])
            change(store, seed % 4, mask=mask)
        elif step == "status":
            change(store, seed % 4, status=("keep", "exclude", "suspect")[seed % 3])
        elif step == "undo" and len(past) > 1:
            store.undo(store.now()[1].last.name)
            future.append(past.pop())
        elif step == "redo" and future:
            store.redo(store.now()[1].next.name)
            past.append(future.pop())
        elif step == "restart":
            store = EditStore(data)
        if step in ("paint", "status"):
            past, future = [*past, seen(store)], []
        assert seen(store) == past[-1]
        history = store.now()[1]
        assert (history.last is not None, history.next is not None) == (len(past) > 1, bool(future))
    again = load_dataset(data)
    assert [again.read_mask(sample).tobytes() for sample in again] == [mask for _, mask in past[-1]]
    assert sources(data) == before


STEPS = ("paint", "status", "undo", "redo", "restart")


@settings(max_examples=15)
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 99)), max_size=14))
def test_any_sequence_restores_exact_bytes(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    follow(tmp_path_factory.mktemp("any"), steps)


@pytest.mark.slow
def test_a_thousand_sequences_restore_exact_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(1000):
        steps = [(str(rng.choice(STEPS)), int(rng.integers(100))) for _ in range(rng.integers(5, 30))]
        follow(tmp_path / str(number), steps)
        shutil.rmtree(tmp_path / str(number))


KILLS, SAVES_EACH = 2000, 40


def save_for_ever(data: Path, seed: int, told: int) -> None:
    """Saves masks until it is killed, and tells the seed of each one that was saved."""
    store = EditStore(data)
    for number in range(10**6):
        mask = mask_of(seed + number)
        change(store, (seed + number) % 4, mask=mask)
        os.write(told, (seed + number).to_bytes(8, "little"))


def mask_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, (96, 128), dtype=np.uint8)


@pytest.mark.slow
def test_a_killed_save_is_whole_or_absent(tmp_path: Path) -> None:
    """2,000 SIGKILLs at random moments: every mask that was saved is there to the last pixel, no other one but the one
    that was on its way is, and no source has changed."""
    rng, saved, on_its_way = np.random.default_rng(0), 0, 0
    for turn in range(KILLS // SAVES_EACH):
        data = make_dataset(tmp_path / str(turn), images=4, size=(96, 128), describe=True)
        before, held = sources(data), [mask_bytes(data, number) for number in range(4)]
        for kill in range(SAVES_EACH):
            first = (turn * SAVES_EACH + kill) * 1000
            reading, writing = os.pipe()
            if not (child := os.fork()):
                try:
                    save_for_ever(data, first, writing)
                finally:
                    os._exit(1)
            os.close(writing)
            time.sleep(float(rng.uniform(0.005, 0.06)))
            os.kill(child, signal.SIGKILL)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
            with os.fdopen(reading, "rb") as pipe:
                heard = np.frombuffer(pipe.read(), "<u8").astype(int).tolist()
            for seed in heard:
                held[seed % 4] = mask_of(seed).tobytes()
            found = [mask_bytes(data, number) for number in range(4)]
            late = heard[-1] + 1 if heard else first  # saved, but not told any more
            if found != held:
                held[late % 4] = mask_of(late).tobytes()
                on_its_way += 1
            assert found == held
            saved += len(heard)
        assert sources(data) == before
        shutil.rmtree(data)
    print(f"{KILLS} kills, {saved} masks saved, {on_its_way} of them untold")
    assert saved > KILLS // 4


def mask_bytes(data: Path, number: int) -> bytes:
    dataset = load_dataset(data)
    return dataset.read_mask(dataset.samples[number]).tobytes()


def test_a_change_names_the_revision_that_it_is_based_on(data: Path) -> None:
    one, other = EditStore(data), EditStore(data)  # as two servers
    old = one.revision(one.sample(0))
    change(other, 0, status="exclude")
    with pytest.raises(Conflict, match="changed elsewhere"):
        one.save(0, old, status="keep")
    assert one.sample(0).status == "exclude" and len(edits(data).batches) == 1
    change(one, 1, status="suspect")  # of another sample: no conflict
    one.save(0, one.revision(one.sample(0)), status="keep")
    assert [sample.status for sample in other.now()[0]] == ["keep", "suspect", "keep", "keep"]


def test_undo_is_of_the_batch_that_the_page_shows(data: Path) -> None:
    store = EditStore(data)
    change(store, 0, status="exclude")
    first = store.now()[1].last.name
    change(store, 1, status="exclude")
    with pytest.raises(Conflict):
        store.undo(first)
    with pytest.raises(Conflict):
        store.redo(first)
    with pytest.raises(Conflict):
        store.undo(None)
    assert len(edits(data).batches) == 2


def test_what_others_edit_is_not_undone_here_and_ends_redoing(data: Path) -> None:
    store = EditStore(data)
    change(store, 0, status="exclude")
    name = store.sample(1).name
    add_edits(data, [Edit("status", name, "suspect")], "by hand")
    store.undo(store.now()[1].last.name)
    assert store.sample(1).status == "suspect" and store.now()[1].last is None and store.now()[1].next
    add_edits(data, [Edit("status", name, "keep")], "by hand")
    assert store.now()[1].next is None
    edits(data, undo=True)  # on the command line
    assert store.sample(1).status == "suspect"


def test_masks_that_cannot_be_are_refused(data: Path) -> None:
    store = EditStore(data)
    for mask in (np.zeros((2, 2), np.uint8), np.full((12, 16), 3, np.uint8)):
        with pytest.raises(DataError, match="reload the page"):
            change(store, 0, mask=mask)
    with pytest.raises(DataError, match="there are 4"):
        store.sample(4)
    assert store.now()[1].last is None
