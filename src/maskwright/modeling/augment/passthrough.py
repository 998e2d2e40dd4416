"""A pipeline written for albumentations, passed through.

It is read as data (what `albumentations.save` writes) and built from the transforms named here and no others, so
that no file can reach other code. It runs so that no label is invented and all its randomness comes from the
generator that is handed in: albumentations fills uncovered parts of a mask with 0, which would be background, and
draws from generators of its own, which are equal in every loader process.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from maskwright.base import strictyaml
from maskwright.base.quiet import silence
from maskwright.base.strictyaml import did_you_mean
from maskwright.core.bands import Stored
from maskwright.core.classes import IGNORE
from maskwright.errors import ConfigError, SetupError
from maskwright.modeling.augment.pipeline import Pixels

PASS_THROUGH = "Albumentations"
VERSION = "2.0.8"

CONTAINERS = frozenset(("Compose", "OneOf", "OneOrOther", "RandomOrder", "Sequential", "SomeOf"))
COLOURS = frozenset(
    (
        "AdditiveNoise",
        "AdvancedBlur",
        "AutoContrast",
        "Blur",
        "CLAHE",
        "ChannelDropout",
        "ChannelShuffle",
        "ChromaticAberration",
        "ColorJitter",
        "Defocus",
        "Downscale",
        "Emboss",
        "Equalize",
        "FancyPCA",
        "GaussNoise",
        "GaussianBlur",
        "GlassBlur",
        "HEStain",
        "HueSaturationValue",
        "ISONoise",
        "Illumination",
        "ImageCompression",
        "InvertImg",
        "MedianBlur",
        "MotionBlur",
        "MultiplicativeNoise",
        "PlanckianJitter",
        "PlasmaBrightnessContrast",
        "PlasmaShadow",
        "Posterize",
        "RGBShift",
        "RandomBrightnessContrast",
        "RandomFog",
        "RandomGamma",
        "RandomGravel",
        "RandomRain",
        "RandomShadow",
        "RandomSnow",
        "RandomSunFlare",
        "RandomToneCurve",
        "RingingOvershoot",
        "SaltAndPepper",
        "Sharpen",
        "ShotNoise",
        "Solarize",
        "Spatter",
        "Superpixels",
        "ToGray",
        "ToSepia",
        "UnsharpMask",
        "ZoomBlur",
    )
)
GEOMETRIC = frozenset(
    (
        "Affine",
        "CenterCrop",
        "CoarseDropout",
        "Crop",
        "CropAndPad",
        "CropNonEmptyMaskIfExists",
        "D4",
        "ElasticTransform",
        "Erasing",
        "GridDistortion",
        "GridDropout",
        "GridElasticDeform",
        "HorizontalFlip",
        "LongestMaxSize",
        "NoOp",
        "OpticalDistortion",
        "Pad",
        "PadIfNeeded",
        "Perspective",
        "PiecewiseAffine",
        "PixelDropout",
        "RandomCrop",
        "RandomCropFromBorders",
        "RandomGridShuffle",
        "RandomResizedCrop",
        "RandomRotate90",
        "RandomScale",
        "RandomSizedCrop",
        "Resize",
        "Rotate",
        "SafeRotate",
        "ShiftScaleRotate",
        "SmallestMaxSize",
        "SquareSymmetry",
        "ThinPlateSpline",
        "Transpose",
        "VerticalFlip",
        "XYMasking",
    )
)
REFUSED = {
    "leave it out: images stay bytes here, and data.mean and data.std normalise them": (
        "Normalize",
        "ToFloat",
        "FromFloat",
    ),
    "leave it out: tensors are made later": ("ToTensorV2", "ToTensor3D"),
    "it is code, which a run cannot keep": ("Lambda",),
    "it goes by the numbers of classes, which are not those of your files here": (
        "MaskDropout",
        "ConstrainedCoarseDropout",
        "Morphological",
    ),
    "it needs other images or files": (
        "FDA",
        "HistogramMatching",
        "Mosaic",
        "OverlayElements",
        "PixelDistributionAdaptation",
        "TextImage",
    ),
    "it needs boxes": (
        "AtLeastOneBBoxRandomCrop",
        "BBoxSafeRandomCrop",
        "RandomCropNearBBox",
        "RandomSizedBBoxSafeCrop",
    ),
    "it changes the image alone, or keeps what it drew": ("SelectiveChannelTransform", "ReplayCompose"),
}
# Of a Compose, what is about boxes, points and further images, none of which there are, and about its own generator.
_DROPPED = (
    "bbox_params",
    "keypoint_params",
    "additional_targets",
    "is_check_shapes",
    "save_applied_params",
    "seed",
    "mask_interpolation",
    "strict",
)
_DEEPEST = 10  # less than what the config of a run, which holds it, can be nested
# Labels inside albumentations are our indices plus 1, so that `IGNORE` is 0, with which it fills. 254 is no index.
_BACK = np.append(np.roll(np.arange(256), 1)[:255], IGNORE).astype(np.uint8)


def installed_version() -> str | None:
    """The version here. A successor that goes by the same import name, and calls home, is another distribution."""
    try:
        return importlib.metadata.version("albumentations")
    except importlib.metadata.PackageNotFoundError:
        return None


def library() -> Any:
    """The package. SetupError unless it is here in its version. Its look for a newer one on the network is switched
    off."""
    if (found := installed_version()) != VERSION:
        raise SetupError(
            f"augment: {PASS_THROUGH} needs albumentations {VERSION}: "
            f"{'not installed' if found is None else f'{found} is installed'}; "
            "`pip install maskwright[albumentations]`"
        )
    before = os.environ.get("NO_ALBUMENTATIONS_UPDATE")
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    try:
        import albumentations
    finally:
        if before is None:
            del os.environ["NO_ALBUMENTATIONS_UPDATE"]
        else:
            os.environ["NO_ALBUMENTATIONS_UPDATE"] = before
    return albumentations


def read(path: Path) -> dict[str, Any]:
    """What `albumentations.save` wrote, as YAML or JSON. ConfigError when it is not readable as that."""
    return strictyaml.read(path).data  # JSON is YAML too


class Compose(Protocol):
    """A pipeline of albumentations (`A.Compose`), a package that need not be installed here."""

    def to_dict(self) -> dict[str, Any]:
        """Its transforms and their arguments as data."""


def describe(augmentation: object) -> dict[str, Any]:
    """A ready-made pipeline as the data that `albumentations.save` would write. ConfigError when it has no such form
    or holds what is not passed through."""
    albumentations = library()
    if not isinstance(augmentation, (albumentations.BaseCompose, albumentations.BasicTransform)):
        raise ConfigError(
            "augmentation: expected a pipeline of albumentations, such as A.Compose([...]); got a "
            f"{type(augmentation).__name__}"
        )
    try:
        plain = albumentations.core.serialization.serialize_enum(albumentations.to_dict(augmentation))
        data: dict[str, Any] = json.loads(json.dumps(plain, allow_nan=False))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ConfigError(
            f"augmentation: cannot be written as data, so that the run could not be resumed ({error})"
        ) from None
    if found := problems(data):
        raise ConfigError([f"augmentation: {problem}" for problem in found])
    return data


def problems(data: Any) -> list[str]:
    """What is wrong with a pipeline as data; arguments are only looked at where albumentations is installed."""
    if not isinstance(data, dict) or not isinstance(data.get("transform"), dict):
        return ["is not what `albumentations.save` writes (a key `transform`); save the pipeline again"]
    found = list(_structure(data["transform"], "transform", 0))
    if not found and installed_version() == VERSION:
        found = list(_arguments(library(), data["transform"], "transform"))
        if found and data.get("__version__") != VERSION:
            found.append(f"it was written by albumentations {data.get('__version__')}; save it again with {VERSION}")
    return found


def _structure(node: Any, where: str, depth: int) -> Iterator[str]:
    name = node.get("__class_fullname__") if isinstance(node, dict) else None
    if not isinstance(name, str):
        yield f"{where}: is no transform (a mapping with `__class_fullname__`)"
    elif depth > _DEEPEST:
        yield f"{where}: nested more than {_DEEPEST} deep; flatten it"
    elif name in CONTAINERS:
        inner = node.get("transforms")
        if isinstance(inner, list):
            for index, child in enumerate(inner):
                yield from _structure(child, f"{where}.transforms.{index}", depth + 1)
        else:
            yield f"{where}: {name} has no list of `transforms`"
    elif name not in COLOURS | GEOMETRIC:
        why = next((why for why, names in REFUSED.items() if name.rpartition(".")[2] in names), "")
        why = why or f"it is none of albumentations {VERSION}" + did_you_mean(name, CONTAINERS | COLOURS | GEOMETRIC)
        yield f"{where}: {name} is not passed through; {why}"


def _arguments(albumentations: Any, node: dict[str, Any], where: str) -> Iterator[str]:
    """The transforms that cannot be built. Nodes have been checked by `_structure`."""
    if node["__class_fullname__"] in CONTAINERS:
        for index, child in enumerate(node["transforms"]):
            yield from _arguments(albumentations, child, f"{where}.transforms.{index}")
        node = node | {"transforms": [{"__class_fullname__": "NoOp"}] * len(node["transforms"])}
    try:
        _build(albumentations, node)
    except Exception as error:  # whatever a constructor makes of wrong arguments
        reason = " ".join(str(error).split("For further information")[0].split())
        yield f"{where}: {node['__class_fullname__']} cannot be built from these arguments: {reason}"


def _build(albumentations: Any, node: dict[str, Any]) -> Any:
    name = node["__class_fullname__"]
    kind = getattr(albumentations, name)
    arguments = {key: value for key, value in node.items() if key != "__class_fullname__"}
    if name in CONTAINERS:
        children = [_build(albumentations, child) for child in node["transforms"]]
        rest = {key: value for key, value in arguments.items() if key not in ("transforms", *_DROPPED)}
        share = rest.get("p", 1.0)
        if not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise ValueError(f"p must be within 0..1 (given {share!r})")
        return kind(transforms=children, **rest)
    # It saves the arguments of the parents of a class too, which the class itself may not take.
    known = {parameter for parent in kind.__mro__ for parameter in inspect.signature(parent.__init__).parameters}
    known -= {"self", "args", "kwargs"}
    if unknown := sorted(arguments.keys() - known):
        raise ValueError(f"no such argument: {', '.join(unknown)}" + did_you_mean(unknown[0], known))
    taken = inspect.signature(kind.__init__).parameters
    arguments = {key: value for key, value in arguments.items() if key in taken}
    if kind.__init__.__name__ == "custom_init":  # it checks arguments, but without `strict` takes defaults for bad ones
        arguments["strict"] = True
    for module in ("albumentations", re.escape(__name__)):  # advice, said in the name of either
        silence(module)
    transform = kind(**arguments)
    # Attributes, as their values are checked and changed by constructors.
    if getattr(transform, "fill_mask", None) is not None:
        transform.fill_mask = 0
    if getattr(transform, "mask_drop_value", None) is not None:
        transform.mask_drop_value = 0
    if hasattr(transform, "mask_interpolation"):
        transform.mask_interpolation = cv2.INTER_NEAREST
    if name == "CropNonEmptyMaskIfExists":
        transform.ignore_values = [1, *(value + 1 for value in transform.ignore_values or ())]
    return transform


class PassThrough:
    """A pipeline of albumentations in place of a `Pipeline`."""

    def __init__(self, data: dict[str, Any]) -> None:
        """`data` as `read` and `describe` give it. Raises ConfigError with every problem, SetupError without the
        package."""
        albumentations = library()
        if found := problems(data):
            raise ConfigError([f"augment: {PASS_THROUGH}: {problem}" for problem in found])
        self._compose = albumentations.Compose([_build(albumentations, data["transform"])])

    def __call__(self, image: Stored, mask: Pixels, rng: np.random.Generator) -> tuple[Stored, Pixels]:
        """Image (H, W, 3) uint8 and mask (H, W) uint8 to the same sizes. ConfigError when they come out as others."""
        self._compose.set_random_state(rng, random.Random(int(rng.integers(1 << 62))))
        try:
            # A copy: some transforms work in place.
            result = self._compose(image=image.copy(), mask=mask + np.uint8(1))
        except Exception as error:  # its transforms raise what they like, of OpenCV's own too
            raise ConfigError(
                f"augment: {PASS_THROUGH}: the pipeline fails on an image of {image.shape[0]}x"
                f"{image.shape[1]} ({' '.join(str(error).split())})"
            ) from error
        for what, before in (("image", image), ("mask", mask)):
            after = result[what]
            if after.shape != before.shape or after.dtype != np.uint8:
                raise ConfigError(
                    f"augment: {PASS_THROUGH}: the pipeline makes a {after.dtype} {what} of {after.shape} from a uint8 "
                    f"one of {before.shape} (height, width); it must keep data.image_size: end it with "
                    f"Resize({image.shape[0]}, {image.shape[1]}), and leave out what changes the type"
                )
        return result["image"], _BACK[result["mask"]]
