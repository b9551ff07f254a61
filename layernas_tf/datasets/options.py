"""What a user may ask of a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from layernas_tf.datasets.frame import DEFAULT_FIT


@dataclasses.dataclass(frozen=True)
class Options:
    """How a data set is brought into the form that training needs.

    Attributes:
      resolution: Height and width of the images; None: see `frame.frame_for`.
      valid_fraction: Share of the training images held out for validation.
      seed: Draws the held-out images and the subset of `limit`.
      limit: At most about this many training (with validation) and test images.
      fit: How images come into the frame, one of `frame.FITS`.
      channels: 1 or 3; None keeps what the images have, of a folder 3.
      skip_unreadable: Whether damaged files are left out, where there are files.
      kept_check: Path of the JSON of an earlier `DataCheck`, or empty.
      progress: Gets the number of files that were looked at, and of all.
    """

    resolution: tuple[int, int] | None
    valid_fraction: float
    seed: int
    limit: int | None
    fit: str = DEFAULT_FIT
    channels: int | None = None
    skip_unreadable: bool = False
    kept_check: str = ""
    progress: Callable[[int, int], None] | None = None
