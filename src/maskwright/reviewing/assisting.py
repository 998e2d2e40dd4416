"""What draws with the user, without any download: a line along edges, a mask from a few strokes, a region from a box
or a click. Everything is computed from the image itself, and from the probabilities of models where there are some.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from maskwright.core.classes import IGNORE, ClassTree
from maskwright.core.grabcut import cut_out
from maskwright.core.masks import Mask, Pixels
from maskwright.errors import ConfigError, DataError

Floats = npt.NDArray[np.float32]
Point = tuple[float, float]

NO_STROKE = 254
_WINDOW = 192  # pixels around both ends of a line in which it may run
_SCALES = (1.0, 2.5, 6.0)
_RANDOM = 160  # random features of the classifier of strokes
# What was tried for these and the next lines is in docs/decisions/0030.
_RIDGE, _WIDTH, _NEAR = 0.3, 0.2, 1.0
_STEP = 0.01  # what a step costs where a pixel is surely of the class
_FAR, _FAR_UNLIKE = 4.0, 20.0  # with what a way begins beside the strokes, where a pixel is of the class and where not
_SWEEPS = 2
_MOST = 1 << 17  # pixels at which strokes are learnt
_CLASSES = 24  # whose probabilities are learnt from
_STROKES = 6000  # pixels of a class that it learns from
_TOLERANCE = 12  # levels that neighbouring pixels of an even region may differ by
_MARGIN = 0.5  # of the sides of a box, around it: what is surely background there


class Edges:
    """Lines along the edges of an image (H, W, 3): intelligent scissors (Mortensen and Barrett, 1995), as OpenCV has
    them, in a window around both ends, so that a large image answers as fast as a small one."""

    def __init__(self, image: Pixels) -> None:
        self._image = image

    def line(self, start: Point, end: Point) -> list[tuple[float, float]]:
        """Points (x, y), the middles of pixels, from `start` to `end`; both are moved into the image."""
        height, width = self._image.shape[:2]
        ends = [(min(max(int(x), 0), width - 1), min(max(int(y), 0), height - 1)) for x, y in (start, end)]
        left, top = (max(0, min(one[axis] for one in ends) - _WINDOW) for axis in (0, 1))
        right = min(width, max(x for x, _ in ends) + _WINDOW + 1)
        bottom = min(height, max(y for _, y in ends) + _WINDOW + 1)
        (x0, y0), (x1, y1) = ends
        if ends[0] == ends[1] or min(right - left, bottom - top) < 3:
            return [(x0 + 0.5, y0 + 0.5), (x1 + 0.5, y1 + 0.5)]
        tool = cv2.segmentation.IntelligentScissorsMB()
        tool.setEdgeFeatureCannyParameters(32, 100)
        tool.setGradientMagnitudeMaxLimit(200)
        part = cv2.GaussianBlur(self._image[top:bottom, left:right], (0, 0), 1.0)
        tool.applyImage(np.ascontiguousarray(part[..., ::-1]))
        tool.buildMap((x0 - left, y0 - top))
        found = np.asarray(tool.getContour((x1 - left, y1 - top))).reshape(-1, 2)
        return [(float(x + left) + 0.5, float(y + top) + 0.5) for x, y in found]


def pixel_features(image: Pixels, probabilities: Floats | None = None) -> Floats:
    """(H, W, F) float32: at three scales the colour (CIELAB), the size of its changes and how rough it is; where the
    pixel lies; the `probabilities` (K, H, W) where there are some. Each has mean 0 and deviation 1 in the image."""
    colour = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    parts = [colour]
    for scale in _SCALES:
        smooth = cv2.GaussianBlur(colour, (0, 0), scale)
        light = np.ascontiguousarray(smooth[..., 0])
        slopes = [cv2.Sobel(light, cv2.CV_32F, dx, dy) for dx, dy in ((1, 0), (0, 1))]
        rough = cv2.GaussianBlur((colour[..., 0] - light) ** 2, (0, 0), 2 * scale)
        parts += [smooth, np.hypot(*slopes)[..., None], cv2.Laplacian(light, cv2.CV_32F)[..., None]]
        parts += [np.sqrt(np.maximum(rough, 0))[..., None]]
    rows, columns = np.indices(image.shape[:2], dtype=np.float32)
    # As numbers below 1, less important than the others: what lies near a stroke is more likely like it.
    where = np.stack([rows, columns], -1) / max(image.shape[:2])
    parts = [np.concatenate(parts, -1), *([np.moveaxis(probabilities, 0, -1)] if probabilities is not None else [])]
    features = np.concatenate(parts, -1).astype(np.float32)
    features -= features.mean((0, 1))
    features /= features.std((0, 1)) + np.float32(1e-6)
    return np.concatenate([features, where.astype(np.float32)], -1)


def stroke_features(image: Pixels, probabilities: Floats | None = None) -> Floats:
    """`pixel_features` of an image (H, W, 3) at the size at which strokes are learnt, so that an answer takes a moment
    for a large image too; `probabilities` (K, h, w) may be of any size. They are left out where they are more than can
    be learnt from in a moment."""
    scale = min(1.0, (_MOST / (image.shape[0] * image.shape[1])) ** 0.5)
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    if probabilities is None or len(probabilities) > _CLASSES:
        return pixel_features(small)
    chances = [cv2.resize(one, size, interpolation=cv2.INTER_LINEAR) for one in probabilities]
    return pixel_features(small, np.stack(chances).astype(np.float32))


def from_strokes(features: Floats, strokes: Mask, seed: int = 0) -> Mask:
    """(H, W) class indices from `strokes` (H, W) of class indices, `NO_STROKE` elsewhere, and features (h, w, F) of the
    same image, which may be a smaller one: then it is told apart at that size, and outlines are smooth at the larger.

    A pixel is of the class whose strokes are nearest, on a way that is the longer the less likely its pixels are of the
    class (Bai and Sapiro, ICCV 2007); a way may also begin, at some price, wherever the class is likely (Criminisi,
    Sharp and Blake, ECCV 2008). So a stroke tells what looks like it, and corrects first of all what is around it. How
    likely pixels are is said by a ridge regression of the classes on random Fourier features (Rahimi and Recht, 2007),
    solved exactly. Strokes stay what they are. ConfigError for strokes of fewer than two classes.
    """
    height, width, _ = features.shape
    classes = [int(index) for index in np.unique(strokes) if index != NO_STROKE]
    if len(classes) < 2:
        raise ConfigError(
            "scribble: strokes of one class tell nothing apart; stroke another class too, or the background"
        )
    places = []
    for index in classes:
        rows, columns = np.nonzero(strokes == index)
        places.append(np.unique(rows * height // strokes.shape[0] * width + columns * width // strokes.shape[1]))
    unlike = np.clip(1 - _likely(features, places, np.random.default_rng(seed)), 0, 1) ** 2
    far = np.float32(_FAR) + np.float32(_FAR_UNLIKE) * unlike
    small = np.moveaxis(distances(unlike + np.float32(_STEP), places, far), 1, 0)
    large = [cv2.resize(one, strokes.shape[::-1], interpolation=cv2.INTER_LINEAR) for one in small]
    found = np.array(classes, np.uint8)[np.argmin(large, 0)]
    return np.where(strokes == NO_STROKE, found, strokes).astype(np.uint8)


def _likely(features: Floats, places: Sequence[npt.NDArray[np.intp]], rng: np.random.Generator) -> Floats:
    """(h, K, w) how likely each pixel is of each class, about 0..1, from the pixels of its strokes by their places."""
    height, width, _ = features.shape
    flat = features.reshape(height * width, -1)
    directions = rng.normal(0, _WIDTH, (flat.shape[1], _RANDOM)).astype(np.float32)
    shifts = rng.uniform(0, 2 * np.pi, _RANDOM).astype(np.float32)

    def raised(rows: Floats) -> Floats:
        return np.concatenate([np.cos(rows @ directions + shifts), rows, np.ones((len(rows), 1), np.float32)], 1)

    learnt = [one if len(one) <= _STROKES else rng.choice(one, _STROKES, replace=False) for one in places]
    known = raised(flat[np.concatenate(learnt)]).astype(np.float64)
    target = np.repeat(np.eye(len(learnt)), [len(one) for one in learnt], 0)
    # A long stroke says more than a short one, but not by its length.
    weighted = known * np.concatenate([np.full(len(one), len(one) ** -0.5) for one in learnt])[:, None]
    ridge = _RIDGE * np.eye(known.shape[1])
    solved = np.linalg.solve(weighted.T @ known + ridge, weighted.T @ target).astype(np.float32)
    scores = np.concatenate([raised(part) @ solved for part in np.array_split(flat, max(1, len(flat) >> 16))])
    # Neighbours have a say, which takes single pixels away.
    smooth = [cv2.GaussianBlur(one.reshape(height, width), (0, 0), _NEAR) for one in np.ascontiguousarray(scores.T)]
    return np.stack(smooth, 1)


def distances(costs: Floats, places: Sequence[npt.NDArray[np.intp]], far: Floats) -> Floats:
    """(h, K, w) for each class the length of the shortest way to each pixel from the pixels at `places`, or from any
    other one with what `far` (h, K, w) says to begin with. A step costs what `costs` (h, K, w) say of the pixel that it
    leads to, times its length.

    Sweeps from all four sides in turn (Toivanen, Pattern Recognition Letters 1996), a row of all classes at a time.
    """
    width = costs.shape[2]
    found = far.copy()
    for number, one in enumerate(places):
        found[one // width, number, one % width] = 0
    for _ in range(_SWEEPS):
        for _ in range(2):
            found, costs = (np.ascontiguousarray(one.transpose(2, 1, 0)) for one in (found, costs))
            _sweep(found, costs)
            _sweep(found[::-1], costs[::-1])
    return found


def _sweep(found: Floats, costs: Floats) -> None:
    """Ways that come from the row before, straight or aslant."""
    aslant = costs * np.float32(2**0.5)
    for row in range(1, len(found)):
        before, here = found[row - 1], found[row]
        np.minimum(here, before + costs[row], out=here)
        np.minimum(here[:, 1:], before[:, :-1] + aslant[row, :, 1:], out=here[:, 1:])
        np.minimum(here[:, :-1], before[:, 1:] + aslant[row, :, :-1], out=here[:, :-1])


def from_box(image: Pixels, box: tuple[int, int, int, int], likely: Floats | None = None) -> npt.NDArray[np.bool_]:
    """(H, W) bool: the object in a box (x, y, width, height): GrabCut, begun with how
    `likely` (H, W) each pixel is of the object where models have said that. ConfigError for a box outside the image."""
    height, width = image.shape[:2]
    left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
    left, top, right, bottom = max(0, left), max(0, top), min(width, right), min(height, bottom)
    if right - left < 2 or bottom - top < 2:
        raise ConfigError("region: the box is too small, or outside the image; draw it around the object")
    margin = round(_MARGIN * max(right - left, bottom - top)) + 8
    rows = slice(max(0, top - margin), min(height, bottom + margin))
    columns = slice(max(0, left - margin), min(width, right + margin))
    part = image[rows, columns]
    state = np.full(part.shape[:2], cv2.GC_BGD, np.uint8)
    inner = np.s_[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start]
    state[inner] = cv2.GC_PR_FGD
    if likely is not None and 0.02 < (likely[top:bottom, left:right] > 0.5).mean() < 0.98:
        state[inner] = np.where(likely[top:bottom, left:right] > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    elif (state == cv2.GC_BGD).sum() < 50:  # the box is the whole image: its rim is the background
        state[[0, -1]] = state[:, [0, -1]] = cv2.GC_BGD
    found = cut_out(part, state)
    result = np.zeros((height, width), np.bool_)
    result[rows, columns] = found
    return result


def from_point(image: Pixels, point: tuple[int, int], predicted: Mask | None = None) -> npt.NDArray[np.bool_]:
    """(H, W) bool: the region around a pixel (x, y): that of the same class in `predicted` (H, W) where it is an
    object's there, else the pixels of much the same colour that hang together with it. ConfigError outside the
    image."""
    height, width = image.shape[:2]
    x, y = point
    if not (0 <= x < width and 0 <= y < height):
        raise ConfigError("region: the point is outside the image")
    if predicted is not None:
        _, parts = cv2.connectedComponents((predicted == predicted[y, x]).astype(np.uint8), connectivity=4)
        if (region := parts == parts[y, x]).mean() < 0.5:
            return np.asarray(region)
    smooth = cv2.bilateralFilter(image, 5, 25, 5)
    room = np.zeros((height + 2, width + 2), np.uint8)
    tolerance = (_TOLERANCE,) * 3
    cv2.floodFill(smooth, room, (x, y), (0, 0, 0), tolerance, tolerance, 4 | cv2.FLOODFILL_MASK_ONLY | (1 << 8))
    closed = cv2.morphologyEx(room[1:-1, 1:-1], cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    return np.asarray(closed > 0)


def painted(
    mask: Mask,
    region: npt.NDArray[np.bool_],
    index: int,
    classes: ClassTree,
    box: tuple[int, int, int, int] | None = None,
) -> Mask:
    """`mask` (H, W) with the class of that index in `region` (H, W); in a `box` (x, y, width, height) what was of the
    class and is outside the region becomes the background, where there is one: the object is drawn anew. DataError for
    no class."""
    if not (0 <= index < len(classes) or index == IGNORE):
        raise DataError(f"class {index}: is none; reload the page")
    result = mask.copy()
    if box is not None and classes.background is not None:
        inside = np.zeros(mask.shape, np.bool_)
        inside[max(0, box[1]) : max(0, box[1] + box[3]), max(0, box[0]) : max(0, box[0] + box[2])] = True
        result[inside & (mask == index)] = classes.background
    result[region] = index
    return result
