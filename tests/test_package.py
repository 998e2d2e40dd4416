"""The surface of the package: what `import maskwright` gives, and at what cost."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import maskwright
from maskwright.cli import app
from maskwright.errors import MaskwrightError


def test_dir_lists_the_verbs_and_what_a_user_needs() -> None:
    listed = dir(maskwright)
    verbs = {(command.name or command.callback.__name__).replace("-", "_") for command in app.registered_commands}
    assert verbs <= {*listed} and {"load_dataset", "load", "Dataset", "Run", "Finding", "Severity"} <= {*listed}
    assert {*maskwright.__all__} <= {*listed}
    assert not {"importlib", "Any", "TYPE_CHECKING", "annotations"} & {*listed}


@pytest.mark.parametrize("name", maskwright.__all__)
def test_every_name_is_what_it_says(name: str) -> None:
    found = getattr(maskwright, name)
    if name != "__version__":
        assert found.__name__ == name and inspect.getdoc(found)
        assert inspect.isclass(found) == name[0].isupper() and inspect.isfunction(found) == name[0].islower()


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'maskwright' has no attribute 'segment'"):
        maskwright.segment  # noqa: B018


def test_all_errors_for_users_are_public() -> None:
    def below(kind: type) -> set[str]:
        return {kind.__name__}.union(*(below(child) for child in kind.__subclasses__()))

    of_the_tree = {name for name in below(MaskwrightError) if getattr(maskwright, name, None)}
    assert {"ConfigError", "DataError", "SetupError", "LockedError", "Interrupted", "LostError"} <= of_the_tree


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(maskwright.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.asname: f"{node.module}.{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {"__version__", *seen} == {*maskwright.__all__}
    assert all(
        getattr(maskwright, name) is getattr(sys.modules[home.rpartition(".")[0]], name) for name, home in seen.items()
    )


def test_import_and_dir_load_nothing_heavy() -> None:
    code = (
        "import sys, maskwright; dir(maskwright); maskwright.MaskwrightError;"
        "print(sorted({'torch', 'numpy', 'pydantic', 'PIL', 'cv2'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


WITHOUT_TORCH = """
import sys
for name in ("torch", "segmentation_models_pytorch", "safetensors", "sklearn", "timm", "torchvision"):
    sys.modules[name] = None
import maskwright
from maskwright import Run, SetupError
for verb, call in {
    "train": lambda: maskwright.train("run.yaml"),
    "resume": lambda: maskwright.resume("run"),
    "predict": lambda: maskwright.predict("run", "photos", out="out"),
    "load": lambda: maskwright.load("run"),
    "export": lambda: maskwright.export("run"),
    "serve": lambda: maskwright.serve("run"),
    "tune": lambda: maskwright.tune("run"),
    "Segmenter": lambda: maskwright.Segmenter,
    "preview": lambda: maskwright.preview("run.yaml"),
    "demo": lambda: maskwright.demo("demo"),
    "evaluate": lambda: maskwright.evaluate(Run("run")),
    "suspects": lambda: maskwright.suspects("data"),
    "decide": lambda: maskwright.decide("data"),
    "search": lambda: maskwright.search("search.yaml"),
    "study": lambda: maskwright.study("study.yaml"),
    "weights": lambda: maskwright.weights(),
    "a range test": lambda: maskwright.plan("data", lr_find=True),
}.items():
    try:
        call()
    except SetupError as error:
        text = str(error)
        assert text.startswith(verb) and text.endswith("not installed; `pip install maskwright[train]`"), text
        assert error.__suppress_context__ or error.__context__ is None, verb
        continue
    raise AssertionError(verb)
"""


def test_a_missing_extra_is_one_line_in_python_too(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH], check=True, cwd=tmp_path, timeout=60)
