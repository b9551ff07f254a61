"""What `run_search` returns."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
import statistics
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from layernas_tf.core.errors import UserError
from layernas_tf.core.files import writing
from layernas_tf.pipeline.finals import Finals
from layernas_tf.pipeline.run import FinishedSearch
from layernas_tf.pipeline.sentence import finals_sentence
from layernas_tf.space.types import Architecture

if TYPE_CHECKING:
    import keras
    import matplotlib.figure
    import pandas


@dataclasses.dataclass(frozen=True)
class Winner:
    """The network that a search recommends.

    Example:
      winner = run_search("digits", budget="madds<=3M", trials=20).winner
      print(winner.options, winner.costs["madds"], winner.test_accuracy)

    Attributes:
      architecture: One option index per layer.
      options: Labels of the chosen options, by layer.
      costs: Costs by metric, in the metric's unit.
      trial: Number of the trial that found it; None if it was never evaluated.
      valid_accuracy: Validation accuracy after the final training, 0 to 1; None if
        nothing was trained.
      test_accuracy: Mean test accuracy over the final seeds, 0 to 1; None if nothing
        was trained.
      reward: Its reward in the search.
    """

    architecture: Architecture
    options: Mapping[str, str]
    costs: Mapping[str, float]
    trial: int | None
    valid_accuracy: float | None
    test_accuracy: float | None
    reward: float | None


class SearchResult:
    """A finished search, as `run_search` returns it.

    Example:
      result = run_search("digits", budget="madds<=3M", trials=20)
      print(result.winner.test_accuracy, result.workdir)

    Attributes:
      workdir: The folder of the search's files.
      space: The search space.
      notes: Warnings that a reader of the results must not miss.
    """

    def __init__(
        self,
        finished: FinishedSearch,
        temporary: tempfile.TemporaryDirectory[str] | None = None,
    ):
        self._finished = finished
        self._temporary = temporary  # removed with this object
        self.workdir = finished.folder
        self.space = finished.task.space
        self.notes = finished.notes

    def __repr__(self) -> str:
        winner = self.winner
        test = winner.test_accuracy
        shown = "" if test is None else f", {test:.2%} on the test set"
        return f"<SearchResult: {list(winner.architecture)}{shown}>"

    @property
    def winner(self) -> Winner:
        """The network that the search recommends."""
        return self._winner(self._finished.finals)

    @property
    def winners(self) -> dict[str, Winner]:
        """The winner of each budget, by its folder, the largest budget first."""
        return {
            winner.finals.target.folder: self._winner(winner.finals)
            for winner in self._finished.winners
        }

    @property
    def verdict(self) -> str:
        """The winner against the baseline, with its interval, in one sentence."""
        finals = self._finished.finals
        if finals is None:
            raise UserError("the search trained nothing, so nothing was compared")
        return finals_sentence(self._finished.study, finals)

    def _winner(self, finals: Finals | None) -> Winner:
        study = self._finished.study
        valid = test = None
        if finals is not None:
            architecture = finals.winner.architecture
            trial, reward = finals.winner.trial, finals.winner.proxy_reward
            valid = finals.winner_trainings[0].valid_accuracy
            tests = [training.test_accuracy for training in finals.winner_trainings]
            test = statistics.mean(each for each in tests if each is not None)
        else:
            answer = study.algorithm.best
            if answer is None:
                raise UserError("no trial of the search succeeded: there is no winner")
            architecture, reward = answer.architecture, answer.reward
            numbers = [t.number for t in study.trials if t.architecture == architecture]
            trial = numbers[0] if numbers else None
        return Winner(
            architecture=architecture,
            options={
                layer.name: layer.options[index].label
                for layer, index in zip(self.space.layers, architecture)
            },
            costs=self.space.costs(architecture),
            trial=trial,
            valid_accuracy=valid,
            test_accuracy=test,
            reward=reward,
        )

    @property
    def trials(self) -> pandas.DataFrame | list[dict[str, Any]]:
        """Every trial: a DataFrame where pandas is installed, else a list of dicts."""
        rows = [
            {
                "number": trial.number,
                "state": trial.state,
                "reward": trial.reward,
                **trial.costs,
                "seconds": trial.seconds,
                "reason": trial.reason,
                "architecture": trial.architecture,
            }
            for trial in self._finished.study.trials
        ]
        try:
            import pandas
        except ImportError:
            return rows
        return pandas.DataFrame(rows)

    @property
    def model(self) -> keras.Model:
        """The trained winner, from raw pixels in [0, 255] to class probabilities."""
        import keras

        path = self._trained("model") / "model.keras"
        return keras.models.load_model(path, compile=False, safe_mode=True)

    def export(self, path: str | pathlib.Path, format: str = "int8") -> pathlib.Path:
        """Writes the winner as a .tflite file.

        Args:
          path: Where the file is written.
          format: `float32`, `float16`, `dynamic` or `int8`.

        Returns:
          The path.

        Raises:
          UserError: There is no such format, or the file cannot be written.
        """
        folder = self._trained("export")
        target = pathlib.Path(path)
        made = folder / f"model_{format}.tflite"
        if not made.exists():
            from export.exporter import export_winner

            task, finals = self._finished.task, self._finished.finals
            assert task.dataset is not None and finals is not None  # it was trained
            export_winner(
                self.model,
                task.dataset,
                str(folder),
                (format,),
                input_type=task.config.export_input_type,
                network=(task.space, finals.winner.architecture),
            )
        with writing(target) as temporary:
            shutil.copyfile(made, temporary)
        return target

    def report(self, path: str | pathlib.Path) -> pathlib.Path:
        """Writes the search's report, one HTML file; returns the path."""
        self._trained("report")
        with writing(pathlib.Path(path)) as temporary:
            shutil.copyfile(self.workdir / "report.html", temporary)
        return pathlib.Path(path)

    def plot(self, metric: str = "") -> matplotlib.figure.Figure:
        """Plots rewards over trials and against cost.

        Args:
          metric: The cost on the axis; by default the metric of the first budget, or
            the space's first metric.

        Returns:
          The figure, which a notebook shows by itself.
        """
        from layernas_tf.report.plot import plot_trials

        study = self._finished.study
        if not metric:
            budgets = study.budgets
            metric = budgets[0].metric if budgets else self.space.metrics[0].name
        return plot_trials(study.trials, self.space.metric(metric), study.budgets)

    def _trained(self, what: str) -> pathlib.Path:
        if self._finished.finals is None:
            raise UserError(
                f"the search trained nothing, so it has no {what}: give it images in "
                "`train`"
            )
        return self.workdir / "winner"
