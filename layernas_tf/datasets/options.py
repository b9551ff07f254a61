"""The options of a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from layernas_tf.datasets.frame import DEFAULT_FIT


@dataclasses.dataclass(frozen=True)
class Options:
    """How a data set is brought into the form that training needs.

    Example: `Options((96, 96), valid_fraction=0.2, seed=0, limit=None)`.

    Attributes:
      resolution: Height and width of the images; for None, `frame.frame_for` chooses.
      valid_fraction: Share of the training images held out for validation.
      seed: Seed of the choice of held-out images and of the subset of `limit`.
      limit: At most about this many training images (with those held out), test images
        and images of a validation set of its own.
      fit: How images are brought into the frame, one of `frame.FITS`.
      channels: 1 or 3; None keeps the channels of the images, or takes 3 for a folder.
      skip_unreadable: Whether damaged files of a folder are left out.
      kept_check: Path of the JSON of an earlier `DataCheck`, or empty.
      progress: Called with the number of checked files and the number of all files.
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
