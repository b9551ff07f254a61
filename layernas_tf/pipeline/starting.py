"""Pretrained weights in a search: observed once, and kept in its workdir.

The processes and machines that train candidates, the final trainings and a resumed
search read the file, so the source of the weights is needed only where the search runs.
"""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

from layernas_tf.pipeline.task import Task

if TYPE_CHECKING:
    from layernas_tf.training.start import Start

KEPT = "pretrained.npz"
"""The file in the workdir."""


def check_weights(task: Task) -> None:
    """Reads the pretrained weights, if the task has any.

    Raises:
      UserError: They cannot be read, or are of another network.
    """
    _ = task.pretrained


def observe_once(task: Task, folder: pathlib.Path) -> None:
    """Observes the pretrained network on the images, unless that has been done.

    Args:
      task: The search.
      folder: The workdir, which gets the file `KEPT`.
    """
    if task.pretrained is None or task.dataset is None:
        return
    from layernas_tf.training.start import observe_start, observed_digest, save_start

    path = folder / KEPT
    # Other images or another space would have been another search.
    if observed_digest(path) != task.pretrained.digest:
        save_start(observe_start(task.pretrained, task.dataset), path)


def kept_start(task: Task, folder: pathlib.Path) -> Start | None:
    """What `observe_once` has kept; None without pretrained weights."""
    if not task.config.pretrained:
        return None
    from layernas_tf.training.start import load_start

    assert task.dataset is not None
    return load_start(folder / KEPT, task.space, task.dataset)
