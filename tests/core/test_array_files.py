"""`.npy` and `.mat` masks: what is read, what is refused, and what hostile files do."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from maskwright.core import array_files
from maskwright.core.array_files import array_names, read_array
from maskwright.core.classes import ClassTree
from maskwright.core.mask_files import INDEX, MaskEncoding, read_mask
from maskwright.errors import DataError, SetupError

MASK = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
TREE = ClassTree.flat(["a", "b", "c"])


def npy(folder: Path, array: np.ndarray, **options: Any) -> Path:
    np.save(folder / "x.npy", array, **options)
    return folder / "x.npy"


def mat(folder: Path, content: dict[str, Any], **options: Any) -> Path:
    savemat(folder / "x.mat", content, **options)
    return folder / "x.mat"


class TestNumpy:
    @pytest.mark.parametrize(
        "array",
        [
            MASK,
            MASK > 0,
            MASK.astype(np.int64),
            MASK.astype(np.float32),
            MASK.astype(">u2"),
            MASK.astype(np.uint16) * 20_000,
            MASK[..., None],
            np.asfortranarray(MASK),
            MASK[::-1, ::-1],
            np.dstack([MASK] * 3),
        ],
    )
    def test_whole_numbers_of_any_kind(self, tmp_path: Path, array: np.ndarray) -> None:
        found = read_array(npy(tmp_path, array))
        wanted = array[..., 0] if array.shape[-1] == 1 else array
        assert (found == wanted).all() and found.shape == wanted.shape
        assert found.dtype == (np.uint8 if wanted.max() < 256 else np.uint16)

    @pytest.mark.parametrize(
        ("array", "says"),
        [
            (MASK + 0.5, "no whole numbers"),
            (np.where(MASK > 0, np.nan, 1), "no whole numbers"),
            (np.where(MASK > 0, np.inf, 1), "outside 0..65535"),
            (MASK.astype(int) - 1, "outside 0..65535"),
            (MASK.astype(int) + 65_534, "outside 0..65535"),
            (np.full((2, 2), 2**64 - 1, np.uint64), "outside 0..65535"),
            (MASK + 1j, "no whole numbers"),
            (np.array([["a", "b"]]), "no whole numbers"),
            (np.array([["2020-01-01"]], "datetime64[D]"), "no whole numbers"),
            (np.zeros((2, 2), [("x", int)]), "no whole numbers"),
            (np.zeros(5, np.uint8), "the shape (5,)"),
            (np.zeros((), np.uint8), "the shape ()"),
            (np.zeros((2, 2, 2), np.uint8), "the shape (2, 2, 2)"),
            (np.zeros((2, 2, 3, 1), np.uint8), "the shape (2, 2, 3, 1)"),
        ],
    )
    def test_other_contents_are_refused(self, tmp_path: Path, array: np.ndarray, says: str) -> None:
        with pytest.raises(DataError, match=r"x\.npy: ") as error:
            read_array(npy(tmp_path, array))
        assert says in str(error.value)

    def test_colours(self, tmp_path: Path) -> None:
        path, encoding = npy(tmp_path, TREE.colours[MASK]), MaskEncoding("colour")
        assert (read_mask(path, encoding, TREE).ids == MASK).all()
        alpha = np.dstack([TREE.colours[MASK], np.full(MASK.shape, 255)])
        assert (read_mask(npy(tmp_path, alpha), encoding, TREE).ids == MASK).all()
        alpha[0, 0, 3] = 0
        with pytest.raises(DataError, match="or with alpha"):
            read_mask(npy(tmp_path, alpha), encoding, TREE)
        with pytest.raises(DataError, match="colours beyond 255"):  # 256 of green is no 1 of red
            read_mask(npy(tmp_path, TREE.colours[MASK].astype(np.uint16) + 256), encoding, TREE)
        with pytest.raises(DataError, match="colour mask where class ids"):
            read_mask(path, INDEX, TREE)
        with pytest.raises(DataError, match="grey values where class colours"):
            read_mask(npy(tmp_path, MASK), encoding, TREE)

    def test_a_pickled_object_is_never_loaded(self, tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> tuple[Any, ...]:
                return (Path.touch, (tmp_path / "ran",))

        path = npy(tmp_path, np.array([Evil()], object), allow_pickle=True)
        for content in (path.read_bytes(), pickle.dumps(Evil())):
            path.write_bytes(content)
            with pytest.raises(DataError, match="cannot be read as an array"):
                read_array(path)
        assert not (tmp_path / "ran").exists()

    def test_an_archive_of_arrays_is_none(self, tmp_path: Path) -> None:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("a.npy", npy(tmp_path, MASK).read_bytes())
        (tmp_path / "x.npy").write_bytes(stream.getvalue())
        with pytest.raises(DataError, match="does not begin as .npy files do"):
            read_array(tmp_path / "x.npy")

    @pytest.mark.parametrize(
        "shape",
        ["(100000, 100000)", "(2000000000, 2000000000)", "(99999999999999999999, 2)", "(-5, 3)", "(3.5, 2)", "'x'"],
    )
    def test_a_header_that_promises_too_much(self, tmp_path: Path, shape: str) -> None:
        head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117) + b"\n"
        path = tmp_path / "x.npy"
        path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(12))
        with pytest.raises(DataError, match=r"x\.npy: "):
            read_array(path)

    def test_more_pixels_than_any_picture_are_refused_before_they_are_read(self, tmp_path: Path) -> None:
        path = tmp_path / "x.npy"
        np.lib.format.open_memmap(path, "w+", np.uint8, (14_000, 14_000))  # a file with a hole
        with pytest.raises(DataError, match="more than 178 million pixels"):
            read_array(path)

    def test_missing_empty_and_cut_off(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no such file"):
            read_array(tmp_path / "none.npy")
        content = npy(tmp_path, MASK).read_bytes()
        for part in (b"", content[:5], content[:40], content[:-1]):
            (tmp_path / "x.npy").write_bytes(part)
            with pytest.raises(DataError, match="cannot be read as an array"):
                read_array(tmp_path / "x.npy")
        with pytest.raises(DataError, match="cannot be read as an array"):
            read_array(tmp_path)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=5), st.floats(0.1, 1))
    def test_damaged_files_are_read_or_refused(self, changes: list[tuple[float, int]], keep: float) -> None:
        _read_damaged("npy", changes, keep)


class TestMatlab:
    @pytest.mark.parametrize("options", [{}, {"do_compression": True}, {"format": "4"}])
    @pytest.mark.parametrize(
        "array", [MASK, MASK.astype(float), MASK.astype(np.int16), MASK + 1, MASK.astype(np.uint16) * 999]
    )
    def test_the_only_array_needs_no_name(self, tmp_path: Path, array: np.ndarray, options: dict[str, Any]) -> None:
        found = read_array(mat(tmp_path, {"GTcls": array}, **options))
        assert (found == loadmat(tmp_path / "x.mat")["GTcls"]).all() and found.dtype in (np.uint8, np.uint16)

    def test_structures(self, tmp_path: Path) -> None:
        path = mat(tmp_path, {"groundTruth": {"Segmentation": MASK + 1, "Boundaries": MASK > 0, "by": "me"}, "n": 5})
        assert array_names(path) == ["groundTruth.Boundaries", "groundTruth.Segmentation"]
        assert (read_array(path, "groundTruth.Segmentation") == MASK + 1).all()
        assert (read_array(path, "groundTruth.Boundaries") == (MASK > 0)).all()
        with pytest.raises(DataError, match=r"holds groundTruth.Boundaries, groundTruth.Segmentation; name the one"):
            read_array(path)

    def test_cells_are_numbered(self, tmp_path: Path) -> None:
        cells = np.empty((1, 2), object)
        cells[0] = [{"Segmentation": MASK}, {"Segmentation": MASK + 1}]
        path = mat(tmp_path, {"groundTruth": cells})
        assert array_names(path) == ["groundTruth.0.Segmentation", "groundTruth.1.Segmentation"]
        assert (read_array(path, "groundTruth.1.Segmentation") == MASK + 1).all()

    @pytest.mark.parametrize("variable", ["none", "a.b", "a.", "", ".", "a.0", "n", "t"])
    def test_a_name_that_is_no_array(self, tmp_path: Path, variable: str) -> None:
        path = mat(tmp_path, {"a": MASK, "b": MASK, "n": 5, "t": "text"})
        with pytest.raises(DataError, match=r"x\.mat: holds ") as error:
            read_array(path, variable)
        assert "a, b" in str(error.value) and "`masks.variable`" in str(error.value)

    def test_no_array(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="holds no array; name the one"):
            read_array(mat(tmp_path, {"t": "text"}))

    @pytest.mark.parametrize(
        ("array", "says"), [(MASK + 0.5, "no whole numbers"), (-MASK.astype(int), "outside 0..65535")]
    )
    def test_other_values(self, tmp_path: Path, array: np.ndarray, says: str) -> None:
        with pytest.raises(DataError, match=says):
            read_array(mat(tmp_path, {"a": array}))

    def test_one_to_k_are_ids_of_classes(self, tmp_path: Path) -> None:
        tree = ClassTree.flat(["a", "b", "c"], ids=[1, 2, 3])
        path = mat(tmp_path, {"s": {"seg": MASK + 1, "other": MASK}})
        pixels = read_mask(path, MaskEncoding(variable="s.seg"), tree)
        assert (tree.to_indices(pixels.ids, "x") == MASK).all() and pixels.inexact == 0

    def test_without_scipy(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = mat(tmp_path, {"a": MASK})
        monkeypatch.setitem(sys.modules, "scipy.io", None)
        for read in (read_array, array_names):
            with pytest.raises(SetupError, match=r"read by scipy; install it \(pip install 'maskwright\[matlab\]'\)"):
                read(path)

    def test_files_of_version_7_3_and_others(self, tmp_path: Path) -> None:
        head = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
        for content in (head + b"\x89HDF\r\n\x1a\n" + bytes(500), b"", b"text" * 50, b"\x89PNG\r\n\x1a\n" + bytes(200)):
            (tmp_path / "x.mat").write_bytes(content)
            with pytest.raises(DataError, match=r"x\.mat: (cannot be read as an array|holds no array)"):
                read_array(tmp_path / "x.mat")
            assert array_names(tmp_path / "x.mat") == []
        with pytest.raises(DataError, match="no such file"):
            read_array(tmp_path / "none.mat")

    @pytest.mark.parametrize("order", ["<", ">"])
    def test_compressed_parts_that_grow_without_end(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str
    ) -> None:
        monkeypatch.setattr(array_files, "_UNPACKED", 10 << 20)
        packed = zlib.compress(bytes(12 << 20), 9)
        head = b"MATLAB 5.0 MAT-file".ljust(124) + (b"\x00\x01IM" if order == "<" else b"\x01\x00MI")
        (tmp_path / "x.mat").write_bytes(head + struct.pack(order + "II", 15, len(packed)) + packed)
        with pytest.raises(DataError, match="grows to more than 10 MiB"):
            read_array(tmp_path / "x.mat")
        assert read_array(mat(tmp_path, {"a": np.zeros((3000, 3000), np.uint8)}, do_compression=True)).shape == (
            3000,
            3000,
        )

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=5), st.floats(0.1, 1))
    def test_damaged_files_are_read_or_refused(self, changes: list[tuple[float, int]], keep: float) -> None:
        _read_damaged("mat", changes, keep)


def _read_damaged(kind: str, changes: list[tuple[float, int]], keep: float) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path = npy(path, MASK) if kind == "npy" else mat(path, {"s": {"a": MASK, "b": [1, 2]}, "c": "text"})
        content = bytearray(path.read_bytes())
        for place, value in changes:
            content[int(place * (len(content) - 1))] = value
        path.write_bytes(bytes(content[: round(keep * len(content))]))
        try:
            array = read_array(path, None if kind == "npy" else "s.a")
            assert array.dtype in (np.uint8, np.uint16) and array.ndim in (2, 3)
        except DataError as error:
            assert str(error).startswith(f"{path}: ") and str(error).isprintable()
