"""Parquet files with pictures inside: `convert` unpacks them, and every other verb says so."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers import draw_pair, encoded, palette_image, write
from maskwright.cli import main
from maskwright.data.convert import convert
from maskwright.data.formats.hf_parquet import detect, pictures_unpacked
from maskwright.data.init import init
from maskwright.data.opening import load_dataset
from maskwright.errors import DataError, SetupError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

NAMES = ["nothing", "bread", "egg"]


def drawn(count: int, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [draw_pair(rng, (30 + number, 40)) for number in range(count)]


def save(path: Path, columns: dict[str, list[Any]], info: dict[str, Any] | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.table(columns)
    if info is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": info}})})
    parquet.write_table(table, path, **options)
    return path


def cell(content: bytes | None, path: str | None = None) -> dict[str, Any]:
    return {"bytes": content, "path": path}


def columns(pairs: list[tuple[np.ndarray, np.ndarray]], **more: Any) -> dict[str, list[Any]]:
    return {
        "image": [cell(encoded(image, "PNG")) for image, _ in pairs],
        "label": [cell(encoded(mask, "PNG")) for _, mask in pairs],
    } | more


def check(out: Path, wanted: list[tuple[np.ndarray, np.ndarray]]) -> Any:
    dataset = load_dataset(out)
    assert len(dataset) == len(wanted)
    found = {np.asarray(dataset.read_image(sample)).tobytes(): dataset.read_mask(sample) for sample in dataset.samples}
    for image, mask in wanted:
        assert (found[image.tobytes()] == mask).all()
    return dataset


def test_splits_names_and_every_pixel(tmp_path: Path) -> None:
    train, val = drawn(5), drawn(2, 1)
    info = {
        "image": {"_type": "Image"},
        "label": {"_type": "Image"},
        "scene": {"names": ["a", "b"] * 40, "_type": "ClassLabel"},
    }
    info["on_image"] = {"feature": {"names": NAMES, "_type": "ClassLabel"}, "_type": "Sequence"}
    source = tmp_path / "source"
    save(source / "data/train-00000-of-00002.parquet", columns(train[:3]), info)
    save(source / "data/train-00001-of-00002.parquet", columns(train[3:]), info)
    save(source / "data/validation-00000-of-00001.parquet", columns(val), info)
    (source / "README.md").write_text("# card")
    assert detect(source) == "data/train-00000-of-00002.parquet is there"
    certificate = convert(source, tmp_path / "out", to="index", progress=False)
    assert certificate.exact and certificate.source == str(source)
    dataset = check(tmp_path / "out", train + val)
    assert {split: len(samples) for split, samples in dataset.splits.items()} == {"train": 5, "val": 2}
    assert dataset.classes.names == NAMES
    assert not list(tmp_path.glob("maskwright-*"))


def test_other_verbs_say_how(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "train.parquet", columns(drawn(2)))
    for verb in (load_dataset, init):
        with pytest.raises(
            DataError, match=r"inside parquet files \(train\.parquet\), which `maskwright convert .* unpacks"
        ):
            verb(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["init", str(tmp_path)])
    assert stopped.value.code == 3 and len(capsys.readouterr().err.splitlines()) == 1
    write(tmp_path / "images/a.png", np.zeros((5, 6, 3), np.uint8))
    assert detect(tmp_path) is None


@pytest.mark.parametrize(
    "named",
    [
        {"image": "image", "label": "annotation"},
        {"image": "pixel_values", "label": "label"},
        {"image": "a", "label": "b"},
    ],
)
def test_the_column_of_masks_is_told_by_its_pixels(tmp_path: Path, named: dict[str, str]) -> None:
    pairs = drawn(3)
    given = {named.get(key, key): value for key, value in reversed(columns(pairs).items())}
    path = save(tmp_path / "x.parquet", given | {"id": [1, 2, 3], "text": ["a", "b", "c"]})
    assert convert(path, tmp_path / "out", to="index", progress=False).exact
    check(tmp_path / "out", pairs)


def test_bytes_without_a_struct_files_of_other_kinds_and_their_names(tmp_path: Path) -> None:
    pairs = drawn(3)
    palette = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint8)
    given = {
        "image": [cell(encoded(image, "TIFF"), f"deep/photo {n}.tif") for n, (image, _) in enumerate(pairs)],
        "mask": [encoded(palette_image(mask, palette), "PNG") for _, mask in pairs],
    }
    path = save(tmp_path / "x.parquet", given, row_group_size=1)
    with pictures_unpacked(path) as folder:
        assert sorted(found.relative_to(folder).as_posix() for found in folder.rglob("*.*")) == [
            *(f"images/photo {n}.tif" for n in range(3)),
            *(f"masks/photo {n}.png" for n in range(3)),
        ]
    convert(path, tmp_path / "out", to="index", progress=False)
    check(tmp_path / "out", pairs)


def test_names_of_cells_that_are_the_same_or_lead_elsewhere(tmp_path: Path) -> None:
    pairs = drawn(4)
    given = columns(pairs)
    for row, path in enumerate(("a.png", "other/a.png", "../../../escape.png", "\x1b[31m.png")):
        given["image"][row]["path"] = path
    with pictures_unpacked(save(tmp_path / "x.parquet", given)) as folder:
        names = sorted(found.name for found in (folder / "images").iterdir())
        assert names == ["a.png", "escape.png", "x_000001.png", "x_000003.png"]
    assert not folder.exists() and sorted(tmp_path.iterdir()) == [tmp_path / "x.parquet"]


def test_names_of_classes_beside_the_files(tmp_path: Path) -> None:
    save(tmp_path / "source/train.parquet", columns(drawn(3)))
    file = tmp_path / "source/id2label.json"
    file.write_text(json.dumps({str(number): name for number, name in enumerate(NAMES)}))
    convert(tmp_path / "source", tmp_path / "out", to="index", progress=False)
    assert load_dataset(tmp_path / "out").classes.names == NAMES
    for text in ('{"0": "a", "1": "a"}', "[]", '{"x": "a"}', '{"0": 5}', '{"0": "a\\u001b"}'):
        file.write_text(text)
        with pictures_unpacked(tmp_path / "source") as folder:
            assert not (folder / "classes.txt").exists()
    file.write_text("{")
    with (
        pytest.raises(DataError, match=r"id2label\.json: not readable as JSON"),
        pictures_unpacked(tmp_path / "source"),
    ):
        pass


def test_rows_without_a_mask_are_not_labelled(tmp_path: Path) -> None:
    pairs = drawn(4)
    given = columns(pairs)
    given["label"][2] = cell(None)
    certificate = convert(save(tmp_path / "x.parquet", given), tmp_path / "out", to="index", progress=False)
    assert len(certificate.samples) == 3 and list(certificate.left_out.values()) == ["has no mask"]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda given: given.pop("label"), r"columns of pictures \(image\) are not one of images and one of masks"),
        (lambda given: given.update(second=given["label"]), None),
        (lambda given: given.update(second_mask=given["label"]), r"\(image, label, second_mask\) are not one of"),
        (lambda given: given["image"].__setitem__(1, cell(None, "a.png")), "row 1 holds no bytes of an image; embed"),
        (lambda given: given["image"].__setitem__(1, cell(b"text")), "row 1 holds bytes that are no picture"),
        (lambda given: (given.clear(), given.update(text=["a", "b"])), r"columns of pictures \(none\)"),
    ],
)
def test_what_cannot_be_unpacked(tmp_path: Path, spoil: Any, says: str | None) -> None:
    given = columns(drawn(3))
    spoil(given)
    path = save(tmp_path / "x.parquet", given)
    if says is None:
        assert convert(path, tmp_path / "out", to="index", progress=False).exact
        return
    with pytest.raises(DataError, match=says) as error:
        convert(path, tmp_path / "out", to="index", progress=False)
    assert str(path) in str(error.value) and not (tmp_path / "out").exists()


def test_damaged_files(tmp_path: Path) -> None:
    path = save(tmp_path / "source/x.parquet", columns(drawn(3)))
    content = path.read_bytes()
    for broken in (content[:200], b"PAR1", b"PAR1" + b"\xff" * 500 + b"PAR1", content[:-60] + bytes(60)):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"x\.parquet: cannot be read as parquet"):
            convert(tmp_path / "source", tmp_path / "out", to="index", progress=False)
    path.write_bytes(b"none")
    assert detect(tmp_path / "source") is None


def test_a_damaged_picture_is_left_to_its_sample(tmp_path: Path) -> None:
    given = columns(drawn(3))
    given["label"][1] = cell(given["label"][1]["bytes"][:-30])
    certificate = convert(save(tmp_path / "x.parquet", given), tmp_path / "out", to="index", progress=False)
    assert len(certificate.samples) == 2 and "cannot be decoded" in next(iter(certificate.left_out.values()))


def test_a_file_that_would_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskwright.data.formats.hf_parquet.SMALL_ARCHIVE", 1000)
    monkeypatch.setattr("maskwright.data.formats.hf_parquet.MAX_RATIO", 2)
    given = {"image": [cell(bytes(100_000))] * 3, "mask": [cell(bytes(100_000))] * 3}
    with (
        pytest.raises(DataError, match="as decompression bombs do"),
        pictures_unpacked(save(tmp_path / "x.parquet", given)),
    ):
        pass
    monkeypatch.setattr("maskwright.data.formats.hf_parquet.MAX_FILES", 5)
    monkeypatch.setattr("maskwright.data.formats.hf_parquet.SMALL_ARCHIVE", 1 << 30)
    with (
        pytest.raises(DataError, match="more than 5 pictures"),
        pictures_unpacked(save(tmp_path / "y.parquet", columns(drawn(3)))),
    ):
        pass


def test_a_link_out_of_the_folder(tmp_path: Path) -> None:
    path = save(tmp_path / "x.parquet", columns(drawn(2)))
    (tmp_path / "source").mkdir()
    (tmp_path / "source/x.parquet").symlink_to(path)
    with pytest.raises(DataError, match="symbolic link"), pictures_unpacked(tmp_path / "source"):
        pass


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "x.parquet", columns(drawn(2)))
    for name in [name for name in sys.modules if name.startswith("pyarrow.parquet")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(SetupError, match=r"maskwright\[parquet\]"), pictures_unpacked(path):
        pass


def test_in_a_zip_file(tmp_path: Path) -> None:
    from maskwright.data.formats.archives import pack

    pairs = drawn(3)
    save(tmp_path / "source/train.parquet", columns(pairs))
    pack(tmp_path / "source", tmp_path / "x.zip")
    convert(tmp_path / "x.zip", tmp_path / "out", to="index", from_="hf_parquet", progress=False)
    check(tmp_path / "out", pairs)


def test_masks_of_16_bits(tmp_path: Path) -> None:
    pairs = drawn(2)
    given = columns(pairs)
    given["label"] = [cell(encoded(Image.fromarray(mask.astype(np.uint16)), "PNG")) for _, mask in pairs]
    convert(save(tmp_path / "x.parquet", given), tmp_path / "out", to="index", progress=False)
    check(tmp_path / "out", pairs)
