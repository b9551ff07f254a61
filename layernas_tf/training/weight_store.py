"""The weights of the best trials so far: `weights/` in a search's workdir.

There is one npz file per trial, at most `MOST` of them and the one of the last trial. A
file of MobileNetV3-Small with 10 classes takes 6 MB (0.13 GB in all), the largest
architecture of the largest space (MobileNetV3-Large, 1,000 classes) 46 MB (1 GB in
all).

An interrupted search must continue like an uninterrupted one, so the weights that a
trial finds depend only on the trials before it. Therefore a trial looks only at trials
with lower numbers, and before it trains, it removes those that are not among the best
of them. Writing its own weights removes nothing: if the search is killed before the
reward is recorded, the trial is repeated with the same files.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import re
from collections.abc import Mapping

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.core.files import writing
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture

MOST = 20
"""Number of trials whose weights are kept: those with the highest rewards."""

_NAME = re.compile(r"trial_(\d+)\.npz")
_ABOUT = ("architecture", "reward", "lineage")


@dataclasses.dataclass(frozen=True)
class KeptWeights:
    """A file with the weights of one trial.

    Example:
      for kept in kept_before(folder, space, number=12):
          print(kept.number, kept.reward, read_weights(kept).keys())

    Attributes:
      path: Path of the file.
      number: The trial's number.
      architecture: The architecture that was trained.
      reward: The trial's reward.
      lineage: Number of trainings that led to the weights: 1 if they started fresh.
    """

    path: pathlib.Path
    number: int
    architecture: Architecture
    reward: float
    lineage: int


def keep(
    folder: pathlib.Path,
    number: int,
    architecture: Architecture,
    reward: float,
    lineage: int,
    weights: Mapping[str, np.ndarray],
) -> bool:
    """Writes a trial's weights, whole or not at all.

    Args:
      folder: The folder of kept weights; made if it is missing.
      number: The trial's number.
      architecture: The architecture that was trained.
      reward: The trial's reward.
      lineage: See `KeptWeights`.
      weights: Weights by path in the network.

    Returns:
      False if the weights could not be written. The trial counts nevertheless, but no
      candidate inherits from it.
    """
    try:
        with writing(folder / f"trial_{number:05d}.npz") as temporary:
            np.savez(
                temporary,
                architecture=np.array(architecture, np.int64),
                reward=np.float64(reward),
                lineage=np.int64(lineage),
                **weights,
            )
    except UserError:
        return False
    return True


def kept_before(
    folder: pathlib.Path, space: SearchSpace, number: int
) -> list[KeptWeights]:
    """The best trials with lower numbers, best first; removes the files of the others.

    Files that cannot be read or belong to another space are skipped.
    """
    found = []
    for path in sorted(folder.glob("trial_*.npz")):
        match = _NAME.fullmatch(path.name)
        if match and int(match[1]) < number:
            about = _read_about(path, int(match[1]), space)
            if about is not None:
                found.append(about)
    found.sort(key=lambda kept: (-kept.reward, kept.number))
    for kept in found[MOST:]:
        with contextlib.suppress(OSError):
            kept.path.unlink()
    return found[:MOST]


def read_weights(kept: KeptWeights) -> dict[str, np.ndarray] | None:
    """Weights by path in the network; None if the file is gone or damaged."""
    try:
        with np.load(kept.path, allow_pickle=False) as file:
            weights = {name: file[name] for name in file.files if name not in _ABOUT}
    except Exception:  # A damaged file may raise any exception.
        return None
    floats = all(weight.dtype.kind == "f" for weight in weights.values())
    return weights if floats else None


def _read_about(
    path: pathlib.Path, number: int, space: SearchSpace
) -> KeptWeights | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            architecture = space.check(tuple(file["architecture"].tolist()))
            reward, lineage = float(file["reward"]), int(file["lineage"])
    except Exception:  # A damaged file may raise any exception here, too.
        return None
    if not np.isfinite(reward):
        return None
    return KeptWeights(path, number, architecture, reward, lineage)
