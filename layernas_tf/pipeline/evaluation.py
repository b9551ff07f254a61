"""Makes the executor and the evaluator that a configuration asks for."""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import pathlib
import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING

from layernas_tf.core.errors import UserError, describe
from layernas_tf.datasets.data_check import DATA_CHECK
from layernas_tf.evaluators.base import Evaluator
from layernas_tf.evaluators.user_evaluator import load_evaluator
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.inputs import Inputs
from layernas_tf.pipeline.load_task import load_task
from layernas_tf.pipeline.task import Task
from layernas_tf.workers.attempts import Attempts
from layernas_tf.workers.child_process import ChildProcess
from layernas_tf.workers.executor import Executor, InProcess

if TYPE_CHECKING:
    from layernas_tf.training.segments import SegmentCache


def make_executor(
    task: Task, folder: pathlib.Path, say: Callable[[str], None]
) -> Executor:
    """Makes the executor that trains the candidates.

    Args:
      task: The search.
      folder: The workdir.
      say: Called with a line of text when a worker is lost.
    """
    config = task.config
    apart = config.uses_ray or bool(config.trials_per_process)
    if task.inputs.evaluator is not None and not apart:
        return InProcess(task.inputs.evaluator)
    # Trainings do not need the latency table, which only budgets use, nor the search's
    # algorithm, which may be an object. The storage's password must not be among the
    # arguments that Ray keeps.
    trained = dataclasses.replace(
        config,
        latency_table="",
        budget=(),
        algorithm="random",
        algorithm_option=(),
        storage="",
        study="",
    )
    given = dataclasses.replace(task.inputs, budgets=(), algorithm=None)
    make = functools.partial(evaluator_of_process, trained, given, folder.resolve())
    if apart:
        _check_that_it_can_be_sent(make)
    attempts = Attempts(config.trial_timeout, config.trial_retries, say)
    if config.uses_ray:
        from layernas_tf.workers.ray_cluster import Resources
        from layernas_tf.workers.ray_workers import RayWorkers

        return RayWorkers(
            make,
            Resources(config.workers, config.cpus_per_trial, config.gpus_per_trial),
            address=config.ray_address,
            attempts=attempts,
            trials=config.trials_per_process,
        )
    if config.trials_per_process:
        child = ChildProcess(make, config.trials_per_process, attempts)
        return InProcess(child, child.close)
    return InProcess(make_evaluator(task, folder))


def make_evaluator(task: Task, folder: pathlib.Path) -> Evaluator:
    """An evaluator for this process; the weights are kept in the workdir `folder`."""
    if task.config.evaluator:
        return load_evaluator(
            task.config.evaluator, space=task.space, dataset=task.dataset
        )
    from layernas_tf.evaluators.keras_evaluator import KerasEvaluator
    from layernas_tf.pipeline.starting import kept_start

    assert task.dataset is not None and task.proxy_recipe is not None
    return KerasEvaluator(
        task.space,
        task.dataset,
        task.proxy_recipe,
        seed=task.config.seed,
        weights=folder / "weights" if task.config.inherit_weights else None,
        start=kept_start(task, folder),
        reward=task.config.reward,
    )


def evaluator_of_process(
    config: SearchConfig, inputs: Inputs, folder: pathlib.Path
) -> Evaluator:
    """An evaluator for a separate process, which loads the data set itself."""
    prepare_libraries()
    if inputs.evaluator is not None:
        return inputs.evaluator
    task = load_task(config, inputs, kept_check=str(folder / DATA_CHECK))
    return make_evaluator(task, folder)


def _check_that_it_can_be_sent(make: Callable[[], Evaluator]) -> None:
    try:
        pickle.dumps(make)
    except Exception as error:
        raise UserError(
            "what the search was given cannot be sent to another process "
            f"({describe(error)}): expected a space by its name and functions of a "
            "module, or `trials_per_process`=0 and one worker"
        ) from None


def prepare_libraries() -> None:
    """Configures TensorFlow and JAX; to be called before they compute anything."""
    # TensorFlow warns about retracing, but every candidate is another network.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    # TensorFlow's start-up lines, unless the user wants them; the binaries do the same.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # This process and those of the trainings share a GPU.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def shared_segments() -> SegmentCache | None:
    """Segments for the final trainings; None on accelerators, where fit is faster."""
    import keras

    devices = keras.distribution.list_devices()
    accelerated = any(not device.startswith("cpu") for device in devices)
    if accelerated or keras.backend.backend() != "tensorflow":
        return None
    from layernas_tf.training.segments import SegmentCache

    return SegmentCache()
