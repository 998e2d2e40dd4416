"""Which files of a folder are its images, and in which order."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from maskwright.base.storage import natural
from maskwright.core.image_files import holds_images, images_below, images_in, listed_in


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b/10.png", "b/2.PNG", "b/a/1.tif", "b/.hidden.png", ".git/x.png", "note.txt", "1.jpg", "notes/a.csv"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "data" / "folder.png").mkdir()
    return tmp_path / "data"


def names(folder: Path, paths: list[Path]) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_images_come_in_natural_order_without_hidden_ones(folder: Path) -> None:
    assert names(folder, images_below(folder)) == ["1.jpg", "b/2.PNG", "b/10.png", "b/a/1.tif"]


def test_those_directly_inside(folder: Path) -> None:
    assert names(folder, images_in(folder)) == ["1.jpg"]
    assert names(folder / "b", images_in(folder / "b")) == ["2.PNG", "10.png"]
    assert names(folder, listed_in(folder)) == ["1.jpg", "b", "folder.png", "note.txt", "notes"]


def test_what_is_no_folder_holds_nothing(folder: Path) -> None:
    for path in (folder / "missing", folder / "note.txt"):
        assert images_below(path) == images_in(path) == listed_in(path) == []
        assert not holds_images(path)


def test_whether_there_are_any(folder: Path) -> None:
    assert holds_images(folder)
    assert holds_images(folder / "b")
    assert not holds_images(folder / "notes")
    assert not holds_images(folder / "folder.png")
    assert not holds_images(folder, 0)


def test_linked_folders_are_named_and_not_entered(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "b", target_is_directory=True)
    (folder / "linked.png").symlink_to(folder / "b" / "10.png")
    links: list[Path] = []
    assert "linked.png" in names(folder, images_below(folder, links))
    assert not any(name.startswith("link/") for name in names(folder, images_below(folder)))
    assert links == [folder / "link"]


def test_the_order_does_not_depend_on_the_listing() -> None:
    paths = [Path(name) for name in ("a", "a1", "a1b", "a01", "a2", "a10", "10", "9", "b/1", "b/1/2", "١")]
    expected = sorted(paths, key=natural)
    for seed in range(20):
        assert sorted(random.Random(seed).sample(paths, len(paths)), key=natural) == expected
