"""`run_search`: the whole search as a function."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rich.console import Console

from export.conversion.formats import check_formats, check_input_type
from export.exporter import export_winner
from layernas_tf.api.result import SearchResult
from layernas_tf.core.errors import UserError
from layernas_tf.evaluators.function import FunctionEvaluator
from layernas_tf.pipeline import run as pipeline
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.config_check import check_config
from layernas_tf.pipeline.evaluation import prepare_libraries
from layernas_tf.pipeline.inputs import Inputs
from layernas_tf.pipeline.retarget import retargeted
from layernas_tf.pipeline.targets import join_family
from layernas_tf.space.budget import Budget
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.study.trial import Trial
from search_spaces.registry import check_name, get_space


def run_search(
    train: Any = None,
    test: Any = None,
    valid: Any = None,
    *,
    space: str | SearchSpace | None = None,
    budget: str | Budget | Sequence[str | Budget | Sequence[str]] = (),
    trials: int | None = None,
    evaluator: Callable[..., Any] | None = None,
    algorithm: Any = None,
    class_names: Sequence[str] = (),
    workdir: str | pathlib.Path | None = None,
    callbacks: Sequence[Callable[[Trial], None]] = (),
    verbose: int = 1,
    **options: Any,
) -> SearchResult:
    """Searches for the best network inside a budget.

    Example:
      ```python
      result = run_search(
          train=(x, y), test=(xt, yt), budget=["madds<=60%"], trials=60
      )
      result.winner.test_accuracy
      result.export("model.tflite", format="int8")
      ```

    Args:
      train: `(images, labels)` as of `keras.datasets`, a finite `tf.data.Dataset` of
        such pairs, or a text: `digits`, `moved_digits`, `npz:FILE`, `folder:DIR`,
        `tfds:NAME`. May be
        left out where `evaluator` needs no images.
      test: Arrays or a `tf.data.Dataset` for the final results; by default held out
        from `train`.
      valid: Arrays or a `tf.data.Dataset` on which rewards are measured; by default
        held out from `train`.
      space: A name, `path/to/file.py:function`, or a `SearchSpace`; by default
        `mobilenet_v3_small`.
      budget: What the answer may cost, such as `"madds<=60%"`; all must hold. A family
        such as `"madds<=30%,45%,60%"`, or a list of such texts in the list, ends with
        a winner for each of its limits.
      trials: Number of candidates to evaluate, including those of earlier runs in
        `workdir`; by default 60, and 200 if they start from `pretrained` weights and
        are judged without training.
      evaluator: A function from a `Candidate` to a number, in place of the proxy
        training. A trial fails if it raises an exception or if its result is not
        finite.
      algorithm: A name, a class or function of `(space, budgets, seed=)`, or an
        `Algorithm` in its initial state; by default `layernas_bayes`.
      class_names: Names of the classes, where `train` is not a text.
      workdir: Folder of the results; the same call with the same folder resumes the
        search. None keeps everything in a temporary folder, which is deleted together
        with the result.
      callbacks: Functions that are called with each finished `Trial`.
      verbose: 0 shows nothing, 1 the progress and the results.
      **options: Other fields of `SearchConfig`, which are the flags of
        `layernas-search`. Candidates are trained in this process unless `workers` or
        `trials_per_process` says otherwise.

    Returns:
      The winner, its trained model and every trial, with methods to export, report and
      plot them.

    Raises:
      UserError: One line that says what is wrong and what would be right. What was
        evaluated so far is kept in `workdir`.
    """
    prepare_libraries()
    budgets = _budgets(budget)
    objects = tuple(each for each in budgets if isinstance(each, Budget))
    config = _config(train, space, budgets, trials, algorithm, options)
    inputs = Inputs(
        get_space,
        check_name,
        space=space if isinstance(space, SearchSpace) else None,
        budgets=objects or None,
        evaluator=None if evaluator is None else FunctionEvaluator(evaluator),
        algorithm=None if isinstance(algorithm, str) else algorithm,
    )
    check_formats(config.format_names)
    check_input_type(config.export_input_type)
    _check_callables(evaluator=evaluator, callbacks=callbacks)
    if train is None and evaluator is None:
        raise UserError("`train`: expected images and labels, or an `evaluator`")
    if train is not None and not isinstance(train, str):
        dataset = _dataset(train, test, valid, config, tuple(class_names))
        inputs = dataclasses.replace(inputs, dataset=dataset)
        config = dataclasses.replace(config, dataset=dataset.name)
    elif test is not None or valid is not None:
        raise UserError(
            "`test` and `valid` come with arrays: a data set that is named in `train` "
            "brings its own"
        )
    temporary = None
    if workdir is None:
        temporary = tempfile.TemporaryDirectory(prefix="layernas_tf_")
        workdir = temporary.name
    console = Console(highlight=False, quiet=not verbose)
    finished = pipeline.run(
        config, str(workdir), console, inputs, export_winner, callbacks
    )
    return SearchResult(finished, temporary)


def _config(
    train: Any,
    space: str | SearchSpace | None,
    budgets: tuple[str | Budget, ...],
    trials: int | None,
    algorithm: Any,
    options: dict[str, Any],
) -> SearchConfig:
    known = {field.name for field in dataclasses.fields(SearchConfig)}
    unknown = sorted(set(options) - known)
    if unknown:
        raise UserError(
            f"run_search has no argument {unknown[0]!r}: expected one of "
            f"{', '.join(sorted(known))}"
        )
    if not isinstance(space, (str, SearchSpace, type(None))):
        raise UserError(
            f"`space`: expected a name, file.py:function or a SearchSpace, got "
            f"{type(space).__name__}"
        )
    for name in ("algorithm_option", "cost"):
        given = options.get(name, ())
        options[name] = (given,) if isinstance(given, str) else tuple(given)
    if not isinstance(algorithm, (str, type(None))):
        kind = algorithm if callable(algorithm) else type(algorithm)
        algorithm = getattr(kind, "__name__", type(kind).__name__)
    about = {
        "space": space.name if isinstance(space, SearchSpace) else space,
        "dataset": train if isinstance(train, str) else None,
        "budget": tuple(map(str, budgets)) or None,
        "trials": trials,
        "algorithm": algorithm,
    }
    about = {name: value for name, value in about.items() if value is not None}
    given = {"trials_per_process": 0, **options, **about}
    given = {name: _plain(value) for name, value in given.items()}
    try:
        if given.get("retarget_from"):
            config = retargeted(given)  # whose other values are those of that search
        else:
            config = SearchConfig(**{"dataset": "", "budget": (), **given})
        check_config(config)
        config.to_json()  # which the workdir keeps
    except TypeError as error:
        raise UserError(
            f"an argument of run_search is of a wrong type: {error}"
        ) from None
    return config


def _plain(value: Any) -> Any:
    """A path as a text, and NumPy's number as Python's, as `config.json` has them."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if isinstance(value, np.generic) else value


def _budgets(budget: Any) -> tuple[str | Budget, ...]:
    """The budgets as a tuple of texts, or of `Budget`s."""
    if isinstance(budget, (str, Budget)):
        return (budget,)
    given = tuple(budget) if isinstance(budget, Sequence) else (budget,)
    given = tuple(
        join_family(each)
        if isinstance(each, (list, tuple)) and all(isinstance(t, str) for t in each)
        else each
        for each in given
    )
    for each in given:
        if not isinstance(each, (str, Budget)):
            raise UserError(
                "`budget`: expected texts such as 'madds<=60%' or Budgets, got "
                f"{type(each).__name__}"
            )
    if len({isinstance(each, Budget) for each in given}) > 1:
        raise UserError("`budget`: expected either texts or Budgets, got both")
    return given


def _check_callables(evaluator: Any, callbacks: Any) -> None:
    if evaluator is not None and not callable(evaluator):
        raise UserError(
            "`evaluator`: expected a function of a candidate, got "
            f"{type(evaluator).__name__}"
        )
    for callback in callbacks:
        if not callable(callback):
            raise UserError(
                "`callbacks`: expected functions of a trial, got "
                f"{type(callback).__name__}"
            )


def _dataset(
    train: Any, test: Any, valid: Any, config: SearchConfig, names: tuple[str, ...]
) -> Any:
    from layernas_tf.core.resolution import parse_resolution
    from layernas_tf.datasets.given import given_dataset
    from layernas_tf.datasets.options import Options

    resolution = config.resolution
    options = Options(
        None if resolution is None else parse_resolution(resolution),
        config.valid_fraction,
        config.seed,
        config.limit,
        config.fit,
        config.channels,
    )
    return given_dataset(train, test, valid, options=options, class_names=names)
