"""The frame that a picture is brought into: a network's input."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from layernas_tf.core.errors import UserError

FITS = ("pad", "squash", "crop")
"""`pad` shows the whole picture in its own proportions between two bars, `squash`
stretches it to the frame, `crop` cuts out its middle in the frame's proportions."""

DEFAULT_FIT = "squash"
"""The whole picture in every pixel of the frame; docs/pictures.md has the reasons."""

BAR_COLOUR = 128
"""The value of the bars beside a padded picture, which networks map to about zero."""

BACKGROUND = 255
"""The value behind transparent pixels: white."""

SMALLEST_SIDE = 32
"""The least height and width of a frame in pixels, if no resolution is asked for."""

LARGEST_SIDE = 224
"""The largest height and width of a frame in pixels, if no resolution is asked for."""

MOST_STRETCHED = 1.25
"""Proportions that differ by less than this factor count as alike."""


@dataclasses.dataclass(frozen=True)
class Frame:
    """The form that every picture is brought into before a network sees it.

    Example: `Frame(96, 160, 3).shape` is `(96, 160, 3)`.

    Attributes:
      height: Rows, in pixels.
      width: Columns, in pixels.
      channels: 1 (grey) or 3 (red, green, blue).
      fit: One of `FITS`.
      share: With the fit `crop`, the share of the largest central part that is kept:
        0.875 is 224 of 256 pixels, as networks for ImageNet are evaluated.
    """

    height: int
    width: int
    channels: int
    fit: str = DEFAULT_FIT
    share: float = 1.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.height, self.width, self.channels

    def recipe(self) -> dict[str, Any]:
        """The steps by which an app prepares a picture, in order, ready for JSON."""
        return {
            "orientation": "upright, as the picture's EXIF tag says",
            "transparency": f"composited on {[BACKGROUND] * 3}",
            "color": "RGB" if self.channels == 3 else "grey (ITU-R 601 luma)",
            "fit": self.fit,
            "fit_meaning": self._fit_meaning(),
            "height": self.height,
            "width": self.width,
            "resampling": "bilinear, antialiased where it shrinks",
            "pixel_range": [0, 255],
        }

    def sentence(self) -> str:
        """The recipe in one line."""
        colour = "RGB" if self.channels == 3 else "Grey"
        return (
            f"{colour} pixels from 0 to 255, {self.height} rows by {self.width} "
            f"columns: the picture upright, {self._fit_meaning()}; bilinear, "
            "antialiased."
        )

    def _fit_meaning(self) -> str:
        if self.fit == "pad":
            return (
                "scaled as a whole until it fits, centred, the rest filled with "
                f"{BAR_COLOUR}"
            )
        if self.fit == "squash":
            return "its whole area stretched to this size"
        cut = "" if self.share == 1 else f", {self.share:g} of it"
        return f"its largest central part of these proportions{cut}"


def frame_for(
    sizes: np.ndarray | Sequence[Sequence[int]],
    channels: int,
    resolution: tuple[int, int] | None = None,
    fit: str = DEFAULT_FIT,
) -> Frame:
    """The frame for pictures of these sizes.

    Args:
      sizes: (N, 2) heights and widths of all pictures, in pixels, at least one.
      channels: Channels of the frame, 1 or 3.
      resolution: Height and width that were asked for. None takes a square of as many
        pixels as the median picture (with the fit `crop`, of its shorter side), between
        `SMALLEST_SIDE` and `LARGEST_SIDE`.
      fit: One of `FITS`.

    Raises:
      UserError: There is no such fit.
    """
    if fit not in FITS:
        raise UserError(f"fit: expected one of {', '.join(FITS)}, got {fit!r}")
    if resolution is not None:
        return Frame(*resolution, channels, fit)
    array = np.asarray(sizes, np.float64)
    sides = array.min(axis=1) if fit == "crop" else np.sqrt(array.prod(axis=1))
    side = math.ceil(round(float(np.median(sides)), 3))
    side = min(max(side, SMALLEST_SIDE), LARGEST_SIDE)
    return Frame(side, side, channels, fit)


def proportions_note(sizes: np.ndarray, frame: Frame) -> str:
    """A line saying that most pictures have other proportions than the frame, or ""."""
    ratios = sizes[:, 1] / sizes[:, 0]
    median = float(np.median(ratios))
    alike = np.abs(np.log(ratios / median)) < math.log(MOST_STRETCHED) / 2
    stretch = abs(math.log(median / (frame.width / frame.height)))
    if alike.mean() < 0.8 or stretch < math.log(MOST_STRETCHED):
        return ""
    area = frame.height * frame.width
    height = max(8, 8 * round(math.sqrt(area / median) / 8))
    width = max(8, 8 * round(math.sqrt(area * median) / 8))
    return (
        f"{alike.mean():.0%} of the pictures are about {median:.2f} times as wide as "
        f"high, the network's input is {frame.width / frame.height:.2f}: "
        f"`resolution`={height}x{width} has about as many pixels and fits them better"
    )
