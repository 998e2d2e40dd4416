"""What is not documented is not there: reference, README and guide follow the code."""

from __future__ import annotations

import importlib.util
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from helpers import make_dataset
from maskwright.base.strictyaml import Document
from maskwright.cli import app, main
from maskwright.config import check_document
from maskwright.core.bands import Bands
from maskwright.core.classes import SELECTORS
from maskwright.core.description import ClassSpec, DatasetFile, ImagesSpec, MasksSpec
from maskwright.data.auditing import CHECKS
from maskwright.data.formats import FORMATS
from maskwright.data.formats.source import NOTES
from maskwright.evaluation.curves import READERS
from maskwright.evaluation.explaining.findings import FINDINGS
from maskwright.evaluation.explaining.kinds import KINDS
from maskwright.evaluation.explaining.slices import AXES
from maskwright.evaluation.guarding import GUARDS
from maskwright.evaluation.metrics import MEASURES
from maskwright.labels.suspecting.candidates import FEATURES
from maskwright.labels.suspecting.planting import KINDS as WRONG
from maskwright.modeling import augment, losses, models, optim
from maskwright.studies.matrix import check_study, load_study
from maskwright.studies.searching.space import check_search
from maskwright.training.doctor import SYMPTOMS
from maskwright.training.plan import measure_model
from maskwright.training.tracking import trackers

ROOT = Path(__file__).parent.parent
SITE = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *SITE]


def blocks(language: str) -> list[str]:
    return [match for page in PAGES for match in re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.S)]


def test_the_reference_is_up_to_date():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools" / "reference.py")
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    assert reference.TARGET.read_text() == reference.render(), "run: python tools/reference.py"


def test_the_table_of_broken_inputs_is_up_to_date():
    spec = importlib.util.spec_from_file_location("broken_inputs", ROOT / "tools" / "broken_inputs.py")
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    assert page.TARGET.read_text() == page.render(), "run: python tools/broken_inputs.py"


def test_the_page_of_folders_is_up_to_date():
    """Each folder on it was read as it was drawn, or this raises."""
    spec = importlib.util.spec_from_file_location("folder_page", ROOT / "tools" / "folder_page.py")
    page = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = page  # for its dataclasses
    spec.loader.exec_module(page)
    text, pictures = page.render()
    assert page.TARGET.read_text("utf-8") == text, "run: python tools/folder_page.py"
    assert {path.stem for path in page.PICTURES.iterdir()} == pictures.keys()
    assert [name for name, pixels in pictures.items() if not page.same(page.PICTURES / f"{name}.png", pixels)] == []
    assert len(page.LAYOUTS) == 10 and "error:" not in text.partition("## Two questions")[0]


def test_every_key_of_a_dataset_is_on_the_pages():
    text = "".join((ROOT / "docs" / name).read_text("utf-8") for name in ("guide.md", "bring-your-folder.md"))
    for prefix, model in (("", DatasetFile), ("images.", ImagesSpec), ("masks.", MasksSpec)):
        for name in model.model_fields:
            assert f"`{prefix}{name}`" in text or name in ("images", "masks"), prefix + name


def test_the_python_page_is_up_to_date_and_complete():
    import maskwright

    spec = importlib.util.spec_from_file_location("python_reference", ROOT / "tools" / "python_reference.py")
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    text = page.TARGET.read_text()
    assert text == page.render(), "run: python tools/python_reference.py"
    for name in maskwright.__all__[1:]:
        assert f"\n### {name}\n" in text or f"\n| `{name}` |" in text, name
    links = set(re.findall(r"\]\(#(\w+)\)", text))
    assert links and links <= {heading.lower() for heading in re.findall(r"^### (\w+)$", text, re.M)}


def test_modules_that_the_pages_name_exist():
    """Of the source, the tests, the benchmarks and the tools; a path may leave out what it has in common with others."""
    files = {
        path.relative_to(ROOT).as_posix()
        for folder in ("src", "tests", "bench", "tools")
        for path in (ROOT / folder).rglob("*.py")
    }
    named = [
        (page.name, name) for page in PAGES for name in re.findall(r"`(?:python )?([\w/]+\.py)\b", page.read_text())
    ]
    example = set(re.findall(r"^New file `(.+?)`", (ROOT / "CONTRIBUTING.md").read_text(), re.M))
    assert len(example) == 3
    assert len(named) > 10
    for page, name in named:
        assert name in example or any(f"/{file}".endswith(f"/{name}") for file in files), f"{page}: {name}"


def test_every_row_is_in_the_reference():
    text = (ROOT / "docs" / "reference.md").read_text()
    for table in (
        models.MODELS,
        losses.LOSSES,
        augment.AUGMENTATIONS,
        optim.OPTIMIZERS,
        optim.SCHEDULES,
        trackers.TRACKERS,
        CHECKS,
        FORMATS,
        NOTES,
        READERS,
        SELECTORS,
        SYMPTOMS,
        KINDS,
        AXES,
        FINDINGS,
        GUARDS,
        MEASURES,
        WRONG,
        FEATURES,
    ):
        assert all(f"`{name}`" in text for name in table)


def test_commands_in_the_pages_exist():
    commands = [
        line.split("#")[0].split()
        for block in blocks("console")
        for line in block.splitlines()
        if line.startswith("maskwright ")
    ]
    verbs = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert len(commands) > 6 and {words[1] for words in commands} <= verbs
    assert verbs - {words[1] for words in commands} <= {"resume", "doctor", "demo"}
    options = {words[1]: {word.split("=")[0] for word in words[2:] if word.startswith("-")} for words in commands}
    for verb, used in options.items():
        import contextlib
        import io

        with contextlib.redirect_stdout(io.StringIO()) as text, pytest.raises(SystemExit):
            main([verb, "--help"])
        assert all(option in text.getvalue() for option in used), verb


def test_make_targets_in_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^make (\S+)", "\n".join(blocks("console")), re.M)
    assert targets and all(re.search(rf"^{target}:", makefile, re.M) for target in targets)


def test_yaml_in_the_pages_is_valid(tmp_path):
    (tmp_path / "pipeline.yaml").write_text("transform: {__class_fullname__: HorizontalFlip, p: 0.5}\n")
    base = {"data": {"root": "x", "image_size": [32, 32]}, "model": "UNet", "loss": "ce", "train": {"iterations": 1}}
    for block in blocks("yaml"):
        data = yaml.safe_load(block)
        if "matrix" in data or "versions" in data:
            (tmp_path / "run.yaml").write_text(yaml.safe_dump(base))
            runs = 9 if "versions" in data else 14
            assert len(check_study(Document("guide.md", data), tmp_path).entries) == runs
            continue
        if "space" in data:
            space = check_search(Document("guide.md", data), tmp_path)
            assert len(space.axes) == 4 and len([*space.corners()]) == 8
            continue
        if "images" in data:
            assert ImagesSpec.model_validate(data["images"]).bands() == Bands(4, 16, (0, 4095), (4, 1, 2))
            continue
        if "classes" not in data:
            check_document(Document("guide.md", base | data), tmp_path)
            continue
        assert [ClassSpec.model_validate(item) for item in data["classes"]]
        tree = DatasetFile(layout="flat", images={"folder": "images"}, classes=data["classes"]).class_tree()
        assert tree.depth == 3 and tree.levels[1].classes.names == ["background", "hair", "face"]


def test_the_recipe_of_a_study_is_valid():
    entries = load_study(ROOT / "recipes" / "study" / "study.yaml").entries
    assert [entry.name for entry in entries[::4]] == ["unet_ce", "segnet_ce", "unet-fcn_ce"] and len(entries) == 12
    for entry in entries[::4]:
        size = measure_model(entry.config, 3)
        assert size and 1e5 < size.parameters < 5e5


def test_python_in_the_readme_names_real_things(tmp_path):
    import maskwright

    for block in blocks("python"):
        compile(block, "README.md", "exec")
        assert all(hasattr(maskwright, name) for name in re.findall(r"maskwright\.(\w+)\(", block))


def test_python_in_the_readme_runs(tmp_path, monkeypatch):
    """As it stands there, but for the length of the training."""
    import maskwright

    make_dataset(tmp_path / "DIR", describe=True)
    monkeypatch.chdir(tmp_path)
    small = ["data.image_size=[32, 32]", "train.batch_size=4", "train.iterations=4", "train.precision=float32"]
    maskwright.plan(
        "DIR", out="run.yaml", model="UNet", overrides=[*small, "train.channels_last=false", "train.threads=1"]
    )
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert "train.budget=2m" in block
    (tmp_path / "readme.py").write_text(block.replace("train.budget=2m", "train.iterations=4"))
    names = runpy.run_path("readme.py")
    assert len(names["table"]) == len(names["ds"].splits["test"]) and len(names["history"]) > 0
    sizes = [image.shape[:2] for image in names["images"]]
    assert len(sizes) == 4 and [mask.shape for mask in names["masks"]] == sizes


def test_links_lead_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_site_has_every_page(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "index.html").read_text()
    for page in SITE:
        built = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert (tmp_path / built).is_file() and f'href="{built}"' in text, f"{page.name}: name it in mkdocs.yml"
        html = (tmp_path / built).read_text()
        assert not re.search(r"(src|href)=\"(https?:)?//[^\"]+\.(js|css|woff2?)", html)
        assert not re.search(r"<h[1-6] id=\"[0-9]", html), "the scripts of the theme end at such an anchor"
