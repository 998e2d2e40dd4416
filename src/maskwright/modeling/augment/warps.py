"""Dense warps: displacement fields that the pipeline composes with its affine map, so that all is one resampling."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from maskwright.modeling.augment.pipeline import Floats, Size, Transform

# Cells of the coarse grid that a smoothing by `sigma` spans: with two, enlarging it shows no trace of the grid.
_CELLS = 2.0


@dataclass(frozen=True)
class ElasticTransform(Transform):
    """Displacements, for each pixel and axis uniform within ± `alpha` pixels, smoothed by a Gaussian of `sigma` pixels
    (Simard et al. 2003). What is left of them has a standard deviation of about 0.16 alpha / sigma pixels."""

    alpha: float = 120.0
    sigma: float = 8.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha < 0 or self.sigma < 1:
            raise ValueError("alpha must be at least 0 and sigma at least 1")

    def field(self, size: Size, rng: np.random.Generator) -> Floats:
        """See `Transform.field`."""
        # White noise on a coarse grid, smoothed there: the same field as from a noise of every pixel, for a fraction
        # of the time. Smoothing n pixels' noise leaves 1 / n of its variance, hence the division by the step.
        step = max(1.0, self.sigma / _CELLS)
        margin = int(np.ceil(3 * self.sigma / step))
        height, width = (int(np.ceil(side / step)) + 2 * margin for side in size)
        fields = []
        for _ in range(2):
            noise = rng.uniform(-self.alpha, self.alpha, (height, width)).astype(np.float32) / np.float32(step)
            smooth = cv2.GaussianBlur(noise, (0, 0), self.sigma / step)[margin:-margin, margin:-margin]
            whole = cv2.resize(smooth, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
            fields.append(whole[: size[0], : size[1]])
        return np.asarray(fields, np.float32)


@dataclass(frozen=True)
class GridDistortion(Transform):
    """The image in `num_steps` by `num_steps` cells, the rows and columns of which become wider or narrower by a
    factor within 1 ± `distort_limit`; the outer edges stay."""

    num_steps: int = 5
    distort_limit: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.num_steps <= 100 or not 0 <= self.distort_limit < 1:
            raise ValueError("num_steps must be within 1..100 and distort_limit within 0..1, without 1")

    def field(self, size: Size, rng: np.random.Generator) -> Floats:
        """See `Transform.field`."""
        height, width = size
        x, y = (self._line(side, rng) for side in (width, height))
        return np.stack([np.broadcast_to(x, size), np.broadcast_to(y[:, None], size)])

    def _line(self, side: int, rng: np.random.Generator) -> Floats:
        """(side,): the displacement along one axis."""
        widths = rng.uniform(1 - self.distort_limit, 1 + self.distort_limit, self.num_steps)
        ends = np.concatenate([[0], np.cumsum(widths)]) * side / widths.sum()
        centres = np.arange(side) + 0.5  # edges of pixels are at whole numbers here
        return np.asarray(np.interp(centres, np.linspace(0, side, self.num_steps + 1), ends) - centres, np.float32)
