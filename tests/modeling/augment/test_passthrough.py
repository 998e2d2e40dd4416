"""A pipeline of albumentations: only known transforms are reached, no label is invented, and every draw follows from
the generator."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from helpers import LOOKS, draw_pair
from maskwright.core.classes import IGNORE
from maskwright.core.masks import boundary
from maskwright.errors import ConfigError, SetupError
from maskwright.modeling import augment
from maskwright.modeling.augment import passthrough
from maskwright.modeling.augment.passthrough import (
    COLOURS,
    CONTAINERS,
    GEOMETRIC,
    PassThrough,
    describe,
    problems,
    read,
)

SIZE = (64, 80)
# What transforms need beside their defaults, and what makes them leave holes where they can.
SETTINGS: dict[str, dict[str, Any]] = {
    "Affine": {"scale": (0.6, 0.9), "rotate": (-40, 40), "shear": (-10, 10)},
    "CenterCrop": {"height": 40, "width": 100, "pad_if_needed": True},
    "CoarseDropout": {"fill_mask": 0},
    "Crop": {"x_max": 90, "y_max": 70, "pad_if_needed": True},
    "CropAndPad": {"px": 10},
    "CropNonEmptyMaskIfExists": {"height": 40, "width": 40},
    "ElasticTransform": {"alpha": 300, "sigma": 8, "fill_mask": 0},
    "Erasing": {"fill_mask": 0},
    "GridDropout": {"fill_mask": 0},
    "GridElasticDeform": {"num_grid_xy": (4, 4), "magnitude": 8},
    "GridDistortion": {"normalized": False},
    "LongestMaxSize": {"max_size": 90},
    "OpticalDistortion": {"distort_limit": (-0.9, 0.9)},
    "Pad": {"padding": 9},
    "PadIfNeeded": {"min_height": 90, "min_width": 100, "border_mode": cv2.BORDER_CONSTANT},
    "Perspective": {"scale": (0.1, 0.2), "keep_size": True, "fit_output": True},
    "PixelDropout": {"dropout_prob": 0.2, "mask_drop_value": 0},
    "RandomCrop": {"height": 40, "width": 100, "pad_if_needed": True},
    "RandomResizedCrop": {"size": SIZE},
    "RandomSizedCrop": {"min_max_height": (30, 60), "size": SIZE},
    "Resize": {"height": 30, "width": 30},
    "Rotate": {"limit": 60, "border_mode": cv2.BORDER_CONSTANT},
    "SafeRotate": {"limit": 60, "border_mode": cv2.BORDER_CONSTANT},
    "ShiftScaleRotate": {"border_mode": cv2.BORDER_CONSTANT, "shift_limit": 0.3},
    "SmallestMaxSize": {"max_size": 90},
    "ThinPlateSpline": {"scale_range": (0.3, 0.5)},
    "XYMasking": {"num_masks_x": 2, "mask_x_length": 20, "fill_mask": 0},
}
LEAVE_HOLES = {
    "Affine",
    "CenterCrop",
    "CoarseDropout",
    "Crop",
    "CropAndPad",
    "ElasticTransform",
    "Erasing",
    "GridDistortion",
    "GridDropout",
    "GridElasticDeform",
    "OpticalDistortion",
    "Pad",
    "PadIfNeeded",
    "Perspective",
    "PixelDropout",
    "RandomCrop",
    "Rotate",
    "SafeRotate",
    "ShiftScaleRotate",
    "ThinPlateSpline",
    "XYMasking",
}
SLOW = {"PiecewiseAffine", "Superpixels"}
A = passthrough.library()


def made(name: str, **more: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(A, name)(p=1, **SETTINGS.get(name, {}) | more)


def through(*transforms: Any) -> PassThrough:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PassThrough(describe(A.Compose([*transforms, A.Resize(*SIZE)])))


def sample(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return draw_pair(np.random.default_rng(seed), SIZE, 4)


def node(name: Any, /, **arguments: Any) -> dict[str, Any]:
    return {"__version__": "2.0.8", "transform": {"__class_fullname__": name, **arguments}}


@pytest.mark.parametrize("name", sorted(COLOURS | GEOMETRIC))
class TestEveryTransform:
    def test_it_does_what_it_does_there_with_draws_of_our_generator(self, name: str) -> None:
        image, mask = sample()
        before = image.copy(), mask.copy()
        pipeline = through(made(name))
        found = [pipeline(image, mask, np.random.default_rng((7, seed))) for seed in range(3)]
        again = through(made(name))
        for seed in (2, 0, 1):
            for one, other in zip(found[seed], again(image, mask, np.random.default_rng((7, seed))), strict=True):
                np.testing.assert_array_equal(one, other)
                assert one.dtype == np.uint8 and one.shape[:2] == SIZE
        np.testing.assert_array_equal(image, before[0])
        np.testing.assert_array_equal(mask, before[1])
        # The same image as without the detour through data and labels, by the same draws.
        theirs, rng = A.Compose([A.Compose([made(name), A.Resize(*SIZE)])]), np.random.default_rng((7, 1))
        theirs.set_random_state(rng, random.Random(int(rng.integers(1 << 62))))
        if name != "CropNonEmptyMaskIfExists":  # which goes by the mask
            np.testing.assert_array_equal(theirs(image=image.copy(), mask=mask)["image"], found[1][0])

    def test_no_label_is_invented(self, name: str) -> None:
        mask = np.random.default_rng(0).integers(1, 5, SIZE, np.uint8)
        mask[:20, :20] = IGNORE
        holes = 0
        # Whatever the file says that masks are filled with, and by whatever they are enlarged.
        for more in ({}, {"fill_mask": 3}, {"mask_interpolation": cv2.INTER_LINEAR}):
            if more.keys() - SETTINGS.get(name, {}).keys() and not hasattr(made(name), next(iter(more), "p")):
                continue
            try:
                pipeline = through(made(name, **more))
            except (TypeError, ValueError):
                continue  # it has no such argument
            for seed in range(1 if name in SLOW else 4):
                labels = pipeline(LOOKS[mask % 5], mask, np.random.default_rng(seed))[1]
                assert set(np.unique(labels)) <= {1, 2, 3, 4, IGNORE}
                full = pipeline(LOOKS[mask % 5], np.full(SIZE, 2, np.uint8), np.random.default_rng(seed))[1]
                assert set(np.unique(full)) <= {2, IGNORE}
                holes += (full == IGNORE).sum()
        assert (holes > 0) == (name in LEAVE_HOLES)


@pytest.mark.parametrize(
    "name", ["Affine", "Perspective", "GridDistortion", "D4", "RandomResizedCrop", "ShiftScaleRotate"]
)
def test_image_and_mask_stay_together(name: str) -> None:
    mask = np.kron(np.array([[0, 1], [2, 3]], np.uint8), np.ones((32, 40), np.uint8))
    for seed in range(6):
        image, labels = through(made(name))(LOOKS[mask], mask, np.random.default_rng(seed))
        inner = ~boundary(labels, 4) & (labels != IGNORE) & np.pad(np.ones((56, 72), bool), 4)
        assert inner.mean() > 0.05
        np.testing.assert_allclose(image[inner], LOOKS[labels[inner]].astype(float), atol=2)


def test_classes_up_to_the_last_one_survive(rng: np.random.Generator) -> None:
    mask = np.append(np.arange(254), [IGNORE, IGNORE]).astype(np.uint8).reshape(16, 16)
    _, labels = PassThrough(describe(A.Compose([A.HorizontalFlip(p=1)])))(np.zeros((16, 16, 3), np.uint8), mask, rng)
    np.testing.assert_array_equal(labels, mask[:, ::-1])


def test_crops_look_for_what_is_not_background() -> None:
    mask = np.zeros(SIZE, np.uint8)
    mask[50:54, 60:64] = 2
    mask[:10] = IGNORE
    mask[20, 5] = 1
    image = np.zeros((*SIZE, 3), np.uint8)
    crop = through(made("CropNonEmptyMaskIfExists", height=16, width=20, ignore_values=[1]))
    for seed in range(10):
        assert (crop(image, mask, np.random.default_rng(seed))[1] == 2).any()


@pytest.mark.parametrize("ending", ["yaml", "json"])
def test_files_that_albumentations_saves(ending: str, tmp_path: Path) -> None:
    compose = A.Compose(
        [
            A.OneOf([A.Affine(scale=(0.5, 1.5), translate_percent=(-0.1, 0.1)), A.Sequential([A.Rotate(20), A.D4()])]),
            A.SomeOf([A.GaussNoise(), A.RandomGamma(p=0.3), A.CLAHE()], n=2),
            A.RandomOrder([A.Blur(), A.ISONoise()]),
            A.RandomSizedCrop((20, 60), SIZE),
            A.OneOrOther(A.HorizontalFlip(), A.VerticalFlip()),
        ],
        bbox_params=A.BboxParams("coco", label_fields=["labels"]),
        keypoint_params=A.KeypointParams("xy"),
        additional_targets={"depth": "image"},
        seed=3,
        strict=False,
    )
    A.save(compose, tmp_path / f"p.{ending}", data_format=ending)
    data = read(tmp_path / f"p.{ending}")
    assert data == describe(compose) and problems(data) == []
    image, mask = sample()
    for seed in range(5):
        one, other = (PassThrough(d)(image, mask, np.random.default_rng(seed)) for d in (data, describe(compose)))
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ({}, "not what `albumentations.save` writes"),
        ({"transform": []}, "not what"),
        ([], "not what"),
        ({"transform": {}}, "is no transform"),
        (node(3), "is no transform"),
        (node(["Compose"]), "is no transform"),
        (node("os.system", command="touch x"), "os.system is not passed through"),
        (node("builtins.eval", source="1"), "builtins.eval is not"),
        (node("subprocess.Popen", args=["ls"]), "is not passed"),
        (node("numpy.load", file="x"), "is not passed"),
        (node("__import__", name="os"), "is not passed"),
        (node("core.serialization.load", filepath_or_buffer="/etc/passwd"), "is not passed"),
        (node("save"), "is not passed"),
        (node("from_dict"), "is not passed"),
        (node("BasicTransform"), "is not passed"),
        (node("Compose.from_pretrained", transforms=[]), "is not passed"),
        (node("cv2"), "is not passed"),
        (node("test_passthrough.Own"), "test_passthrough.Own is not passed"),
        (node("Lambda", name="x"), "it is code"),
        (node("albumentations.Lambda"), "it is code"),
        (node("Normalize"), "data.mean and data.std normalise"),
        (node("albumentations.pytorch.ToTensorV2"), "leave it out"),
        (node("MaskDropout"), "numbers of classes"),
        (node("TextImage", font_path="/etc/passwd"), "other images or files"),
        (node("FDA", reference_images=["a"]), "other images"),
        (node("RandomCropNearBBox"), "needs boxes"),
        (node("SelectiveChannelTransform"), "the image alone"),
        (node("HorizontalFlop"), "did you mean 'HorizontalFlip'?"),
        (node("Compose"), "no list of `transforms`"),
        (node("Compose", transforms={"a": 1}), "no list"),
        (node("Compose", transforms=[3]), "transform.transforms.0: is no transform"),
        (
            node(
                "OneOf",
                transforms=[{"__class_fullname__": "Compose", "transforms": [{"__class_fullname__": "sys.exit"}]}],
            ),
            "transform.transforms.0.transforms.0: sys.exit is not",
        ),
        (node("Rotate", limit="x"), "Rotate cannot be built"),
        (node("Rotate", limt=3), "did you mean 'limit'?"),
        (node("MedianBlur", blur_limit={"a": 1}), "MedianBlur cannot be built"),
        (node("Rotate", p=2), "Rotate cannot be built"),
        (node("Compose", transforms=[], p="a"), "p must be within 0..1"),
        (node("Compose", transforms=[], cls=1), "Compose cannot be built"),
    ],
)
def test_anything_else_is_refused_and_nothing_run(
    data: Any, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = problems(data)
    assert any(what in problem for problem in found), found
    with pytest.raises(ConfigError) as raised:
        PassThrough(data)
    assert what in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("!!python/object/apply:os.system ['touch x']", "tag"),
        ("transform: !!python/name:os.system", "tag"),
        ("transform: &a {__class_fullname__: Compose, transforms: [*a]}", "anchors and aliases"),
        ('{"transform": {"__class_fullname__": "Compose", ', "not valid YAML"),
        ("\0\1\2", "not allowed"),
        ("[1, 2]", "at the top level"),
        ("a: " + "[" * 500, "nested|not valid YAML"),
    ],
)
def test_hostile_files(text: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ConfigError, match=what):
        read(tmp_path / "p.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["p.yaml"]


def test_deep_nesting_is_refused() -> None:
    data: dict[str, Any] = {"__class_fullname__": "HorizontalFlip"}
    for _ in range(12):
        data = {"__class_fullname__": "Sequential", "transforms": [data]}
    assert any("deep" in problem for problem in problems({"transform": data}))


def same(image: Any, **_: Any) -> Any:
    return image


class Own(A.ImageOnlyTransform):  # type: ignore[misc,name-defined]
    def apply(self, img: Any, **params: Any) -> Any:
        return img


@pytest.mark.parametrize(
    ("augmentation", "what"),
    [
        (3, "expected a pipeline of albumentations"),
        (lambda image: image, "expected a pipeline"),
        (lambda: A.Lambda(image=same), "cannot be written as data"),
        (lambda: A.Compose([A.Lambda(name="x", image=same)]), "it is code"),
        (lambda: A.Compose([Own()]), "Own is not passed through"),
        (lambda: A.Compose([A.Normalize()]), "normalise"),
    ],
)
def test_what_cannot_be_kept_is_refused(augmentation: Any, what: str) -> None:
    try:
        given = augmentation()
    except TypeError:
        given = augmentation
    with pytest.raises(ConfigError, match=what):
        describe(given)


@pytest.mark.parametrize(
    ("transforms", "what"),
    [
        ([A.RandomCrop(20, 20)], r"uint8 image of \(20, 20, 3\) from a uint8 one of \(64, 80, 3\).*Resize\(64, 80\)"),
        ([A.Transpose(p=1)], r"image of \(80, 64, 3\)"),
        ([A.ToGray(1, p=1)], r"image of \(64, 80\)|\(64, 80, 1\)"),
        ([A.RandomCrop(200, 200)], "fails on an image of 64x80"),
    ],
)
def test_another_size_or_type_is_a_clear_error(transforms: list[Any], what: str, rng: np.random.Generator) -> None:
    with pytest.raises(ConfigError, match=what):
        PassThrough(describe(A.Compose(transforms)))(*sample(), rng)


def test_an_error_names_another_version_of_the_file() -> None:
    data = node("Rotate", always_apply=False, p=0.5) | {"__version__": "1.3.1"}
    found = problems(data)
    assert "no such argument: always_apply" in found[0] and "written by albumentations 1.3.1" in found[1]


def test_every_transform_is_passed_through_or_refused_with_a_reason() -> None:
    import albumentations.core.serialization as registry

    abstract = {
        "BaseCompose",
        "BasicTransform",
        "DualTransform",
        "ImageOnlyTransform",
        "MaxSizeTransform",
        "Transform3D",
    }
    held = {
        name
        for name, kind in (registry.SERIALIZABLE_REGISTRY | registry.NON_SERIALIZABLE_REGISTRY).items()
        if issubclass(kind, (A.BasicTransform, A.BaseCompose)) and "." not in name and not name.startswith("_")
    }
    refused = {name for names in passthrough.REFUSED.values() for name in names}
    sound = {"FrequencyMasking", "TimeMasking", "TimeReverse"}
    rest = held - COLOURS - GEOMETRIC - CONTAINERS - refused - abstract - sound - {"ToRGB"}
    assert all(name.startswith("Base") or name.endswith("3D") or name == "CubicSymmetry" for name in rest), rest
    assert not (COLOURS | GEOMETRIC | CONTAINERS) & refused and held >= (COLOURS | GEOMETRIC | CONTAINERS)


def test_nothing_global_is_touched(rng: np.random.Generator) -> None:
    np.random.seed(3)
    random.seed(3)
    expected = np.random.random(), random.random()
    np.random.seed(3)
    random.seed(3)
    through(*(made(name) for name in sorted(COLOURS - {"Superpixels", "GlassBlur"})))(*sample(), rng)
    assert (np.random.random(), random.random()) == expected


def test_the_import_asks_nobody_for_a_newer_version() -> None:
    """In a process of its own, in which the network would be asked whatever the user's environment says."""
    code = (
        "import sys, urllib.request as u\n"
        "sys.modules['torch'] = None  # spares its import\n"
        "def ask(*a, **k): raise SystemExit('asked')\n"
        "u.OpenerDirector.open = ask\n"
        "from maskwright.modeling.augment import passthrough\n"
        "print(passthrough.library().__version__)\n"
        "import os; print(os.environ['NO_ALBUMENTATIONS_UPDATE'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"NO_ALBUMENTATIONS_UPDATE": "0"},
    )
    assert done.stdout.split() == ["2.0.8", "0"], done.stderr


@pytest.mark.parametrize(("version", "what"), [(None, "not installed"), ("1.4.24", "1.4.24 is installed")])
def test_without_the_package(monkeypatch: pytest.MonkeyPatch, version: str | None, what: str) -> None:
    monkeypatch.setattr(passthrough, "installed_version", lambda: version)
    assert problems(node("Rotate", limit="x")) == []  # names are looked at, arguments cannot be
    assert problems(node("Rotat")) != []
    with pytest.raises(SetupError, match=rf"{what}; `pip install maskwright\[albumentations\]`"):
        PassThrough(node("Rotate"))


def test_in_the_table_of_the_config(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps(node("HorizontalFlip", p=1)))
    image, mask = sample()
    for entry in ({"file": str(tmp_path / "p.json")}, {"pipeline": node("HorizontalFlip", p=1)}):
        built = augment.build([{"name": "Albumentations", **entry}])
        assert (built(image, mask, np.random.default_rng(0))[1] == mask[:, ::-1]).all()
    for wrong in ({}, {"file": "a", "pipeline": {}}):
        with pytest.raises(ValueError, match="give `file`"):
            augment.build([{"name": "Albumentations", **wrong}])
