"""Warnings of libraries are silenced for good, and threads that do so at the same time do not disturb each other."""

from __future__ import annotations

import io
import re
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import maskwright
from maskwright.base.quiet import silence
from maskwright.core.sample import open_image, read_image
from maskwright.data.splitting.grouping import group_of
from maskwright.errors import DataError


def warn(module: str, category: type[Warning] = UserWarning) -> None:
    warnings.warn_explicit("of a library", category, "file.py", 1, module=module)


def test_only_the_named_module_is_silenced() -> None:
    silence(r"loud\.", UserWarning)
    warn("loud.deep")
    for module, category in (("loud.deep", DeprecationWarning), ("other", UserWarning), ("louder", UserWarning)):
        with pytest.raises(category):  # warnings are errors in these tests
            warn(module, category)


def test_a_filter_that_is_there_changes_nothing() -> None:
    silence(r"loud\.")
    before = list(warnings.filters)
    silence(r"loud\.")
    assert list(warnings.filters) == before


def test_what_others_put_in_front_does_not_speak_louder() -> None:
    silence(r"loud\.")
    warnings.simplefilter("error")
    with pytest.raises(UserWarning):
        warn("loud.x")
    silence(r"loud\.")
    warn("loud.x")
    assert sum(getattr(entry[3], "pattern", None) == r"loud\." for entry in warnings.filters) == 1


def test_images_are_read_by_threads_without_a_warning(tmp_path: Path) -> None:
    """Blocks of different threads overlap here, in the order in which `catch_warnings` goes wrong: the first one leaves
    while the second is inside, and the second warns then and leaves last."""
    for name in "ab":
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / f"{name}.png")
    silence(r"PIL\.")
    before = list(warnings.filters)
    inside, also_inside, left = threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        with open_image(tmp_path / "a.png"):
            inside.set()
            assert also_inside.wait(20)
        left.set()

    def second() -> None:
        assert inside.wait(20)
        with open_image(tmp_path / "b.png"):
            also_inside.set()
            assert left.wait(20)
            warn("PIL.TiffImagePlugin")  # as of a damaged file
        warn("PIL.TiffImagePlugin")

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(first), pool.submit(second)]:
            done.result()
    assert list(warnings.filters) == before


def test_a_file_of_which_pillow_warns_is_read_or_refused_in_silence(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(stream, "TIFF")
    for cut in (20, 120, 200, len(stream.getvalue()) - 4):
        (tmp_path / "a.tif").write_bytes(stream.getvalue()[:cut])
        with pytest.raises(DataError):
            read_image(tmp_path / "a.tif", "apply")


def test_a_pattern_that_may_change_its_meaning_is_no_warning() -> None:
    assert group_of("[a", "[[a]") == "[" and group_of("q", "[[a]") == "q"


def test_no_block_sets_the_warnings_of_the_process_back() -> None:
    """Every reader may be called by a thread. The verb `doctor` alone starts none and is called by none."""
    root = Path(maskwright.__file__).parent
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if path.name != "quiet.py" and re.search(r"catch_warnings|simplefilter", path.read_text("utf-8"))
    }
    assert found == {"diagnosis.py"}
