"""trials.csv: one line per finished trial, for spreadsheets and plots.

The study is the source. When a search is opened, the file is written again from the
study; then each trial only adds a line, so the cost per trial does not grow.
"""

from __future__ import annotations

import csv
import io
import pathlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from layernas_tf.core.errors import UserError, reason_of
from layernas_tf.core.files import write_text
from layernas_tf.space.budget import Budget, inside
from layernas_tf.space.search_space import SearchSpace

if TYPE_CHECKING:
    from layernas_tf.study.trial import Trial


class TrialsCsv:
    """The file and its columns.

    The columns are `number`, `state`, `reward`, the space's metrics, `inside` (1 if the
    trial is inside every budget, else 0), `architecture` (option indices), `layer` (the
    layer whose option LayerNAS chose), `seconds`, `reason` (of a failed trial), and one
    column per searched layer with the label of its option.

    Example:
      csv = TrialsCsv(folder / "trials.csv", space, budgets)
      csv.rewrite(study.trials)
      csv.append(trial)
    """

    def __init__(
        self, path: pathlib.Path, space: SearchSpace, budgets: Sequence[Budget]
    ):
        self._path = path
        self._space = space
        self._budgets = tuple(budgets)
        self._layers = [space.layers[i] for i in space.searched_layers]
        self._header = [
            *("number", "state", "reward"),
            *(metric.name for metric in space.metrics),
            *("inside", "architecture", "layer", "seconds", "reason"),
            *(layer.name for layer in self._layers),
        ]

    def rewrite(self, trials: Iterable[Trial]) -> None:
        """Writes the file anew with the finished ones of these trials."""
        rows = [self._row(trial) for trial in trials if trial.state != "running"]
        write_text(self._path, _lines([self._header, *rows]))

    def append(self, trial: Trial) -> None:
        """Adds the line of a trial that has just finished."""
        try:
            with open(self._path, "a", encoding="utf-8", newline="") as file:
                rows = [self._row(trial)]
                file.write(_lines(rows if file.tell() else [self._header, *rows]))
        except OSError as error:
            raise UserError(
                f"{str(self._path)!r} cannot be written: {reason_of(error)}; the trial "
                "is in the study, run the same command again to continue"
            ) from None

    def _row(self, trial: Trial) -> list[object]:
        options = [
            self._space.layers[i].options[trial.architecture[i]].label
            for i in self._space.searched_layers
        ]
        return [
            trial.number,
            trial.state,
            "" if trial.reward is None else repr(trial.reward),
            *(f"{trial.costs[m.name]:.12g}" for m in self._space.metrics),
            int(inside(self._budgets, trial.costs)),
            " ".join(map(str, trial.architecture)),
            "" if trial.layer is None else self._space.layers[trial.layer].name,
            "" if trial.seconds is None else f"{trial.seconds:.3f}",
            trial.reason,
            *options,
        ]


def _lines(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
