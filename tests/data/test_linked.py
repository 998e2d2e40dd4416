"""Images and masks that lie elsewhere, behind symbolic links: `init` says so, and what it writes is read."""

import pytest

from maskwright import audit, init
from maskwright.core.image_files import images_below, links_outside
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError
from tiny import write_dataset


@pytest.fixture
def elsewhere(tmp_path):
    root = write_dataset(tmp_path / "elsewhere", {"train": 4, "val": 2})
    (root / "dataset.yaml").unlink()
    return root


def linked_folders(elsewhere, root):
    root.mkdir()
    for kind in ("images", "masks"):
        (root / kind).symlink_to(elsewhere / kind)


def linked_splits(elsewhere, root):
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
        for split in ("train", "val"):
            (root / kind / split).symlink_to(elsewhere / kind / split)


def linked_files(elsewhere, root):
    for kind in ("images", "masks"):
        for path in (elsewhere / kind).rglob("*.png"):
            place = root / kind / path.parent.name
            place.mkdir(parents=True, exist_ok=True)
            (place / path.name).symlink_to(path)


def linked_by_other_names(elsewhere, root):
    """Paired by patterns."""
    root.mkdir()
    for kind in ("images", "masks"):
        for path in (elsewhere / kind).rglob("*.png"):
            suffix = "_mask" if kind == "masks" else ""
            (root / f"{path.stem}{suffix}.png").symlink_to(path)


def linked_in_a_table(elsewhere, root):
    linked_folders(elsewhere, root)
    names = [path.relative_to(elsewhere / "images") for path in sorted((elsewhere / "images").rglob("*.png"))]
    rows = "".join(f"images/{name},masks/{name},train\n" for name in names)
    (root / "labels.csv").write_text(f"image,mask,split\n{rows}")


@pytest.mark.parametrize(
    "link", [linked_folders, linked_splits, linked_files, linked_by_other_names, linked_in_a_table]
)
def test_what_init_takes_is_read_by_all(elsewhere, tmp_path, link):
    root = tmp_path / "data"
    link(elsewhere, root)
    with pytest.raises(DataError, match=r"lead outside through a symbolic link; .* run `maskwright init .*data`"):
        audit(root)
    made = init(root)
    assert "followed" in made.human() and str(elsewhere) in made.human()
    assert "links: follow  # " in made.file.read_text()
    dataset = load_dataset(root)
    assert len(dataset) == 6 and all(sample.labelled for sample in dataset)
    assert not [finding for finding in audit(root).findings if "link" in finding.code]
    for sample in dataset:
        assert dataset.read(sample)[0].shape == (32, 32, 3)
    made.file.write_text(made.file.read_text().replace("links: follow", "links: refuse"))
    with pytest.raises(DataError, match="through a symbolic link|no images found"):
        load_dataset(root)


def test_links_in_a_circle_are_entered_once(elsewhere, tmp_path):
    root = tmp_path / "data"
    linked_folders(elsewhere, root)
    (elsewhere / "images/again").symlink_to(elsewhere / "images")
    (elsewhere / "images/back").symlink_to(root)
    (elsewhere / "images/all").symlink_to(tmp_path)
    links = []
    assert len(images_below(root, links, follow=True)) == 12
    assert {path.name for path in links} == {"again", "back", "all"}
    assert [path.name for path in sorted(links_outside(root))] == ["images", "masks"]
    assert len(images_below(root)) == 0


def test_a_folder_without_links_has_no_such_line(elsewhere):
    assert "links:" not in init(elsewhere).file.read_text()
