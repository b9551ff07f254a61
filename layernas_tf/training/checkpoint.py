"""The state of a training after an epoch, in one file that is always complete."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.core.files import writing

if TYPE_CHECKING:
    import keras

Epoch = Mapping[str, float]
"""An epoch's figures by name."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The file that holds the state of one training.

    Example:
      checkpoint = Checkpoint(folder / "checkpoint.npz", {"epochs": 10, "seed": 0})
      history = checkpoint.load(variables)
      checkpoint.save([*history, {"loss": 0.5}], variables)

    Attributes:
      path: The file, `.npz`.
      about: What is trained, and how, ready for JSON. A training with other values
        cannot be resumed from the file.
      replace: Whether a file that does not fit is replaced instead of refused.
    """

    path: pathlib.Path
    about: Mapping[str, Any]
    replace: bool = False

    def save(self, history: Sequence[Epoch], variables: Sequence[Any]) -> None:
        """Writes the state.

        Args:
          history: An entry for each finished epoch.
          variables: Weights, statistics, seeds, and the optimizer's variables, as
            variables or tensors.
        """
        import keras

        arrays = {
            f"v{number}": keras.ops.convert_to_numpy(variable)
            for number, variable in enumerate(variables)
        }
        with writing(self.path) as temporary:
            np.savez(
                temporary,
                about=json.dumps(self.about),
                history=json.dumps(list(history)),
                **arrays,
            )

    def load(
        self, variables: Sequence[keras.Variable], most: float = math.inf
    ) -> list[Epoch]:
        """Restores the variables and returns the figures of the finished epochs.

        Without a file, nothing is changed, and the result is empty.

        Args:
          variables: As for `save`.
          most: A file of more epochs counts as none.

        Raises:
          UserError: The file is of another training, or no checkpoint.
        """
        history, arrays = self.read(len(variables), most)
        if history:
            for variable, array in zip(variables, arrays, strict=True):
                variable.assign(array)
        return history

    def read(
        self, count: int, most: float = math.inf
    ) -> tuple[list[Epoch], list[np.ndarray]]:
        """The figures of the finished epochs, and the values of `count` variables.

        Without a file, or with one of more than `most` epochs, both are empty.

        Raises:
          UserError: As `load`.
        """
        if not self.path.exists():
            return [], []
        try:
            history, arrays = self._read(count)
        except UserError:
            if not self.replace:
                raise
            return [], []
        return (history, arrays) if len(history) <= most else ([], [])

    def _read(self, count: int) -> tuple[list[Epoch], list[np.ndarray]]:
        about = json.loads(json.dumps(self.about))
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                stored = json.loads(str(archive["about"]))
                history = json.loads(str(archive["history"]))
                if stored == about:
                    return history, [archive[f"v{number}"] for number in range(count)]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{str(self.path)!r} is no checkpoint: {error}") from None
        raise UserError(
            f"{str(self.path)!r} is of another training "
            f"({_difference(stored, about)}): expected the same values, or "
            "another `workdir`"
        )


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    different = []
    for name in sorted({*before, *now}):
        one, two = before.get(name), now.get(name)
        if isinstance(one, dict) and isinstance(two, dict) and one != two:
            different.append(_difference(one, two))
        elif one != two:
            different.append(f"{name} was {one}, is {two}")
    return "; ".join(different)
