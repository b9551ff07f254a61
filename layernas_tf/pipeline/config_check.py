"""What can be checked of a search's configuration without a space and a data set."""

from __future__ import annotations

import math

from layernas_tf.core.errors import UserError
from layernas_tf.core.resolution import parse_resolution
from layernas_tf.datasets.frame import FITS
from layernas_tf.pipeline.baseline import BASELINES
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.training.class_weights import CLASS_WEIGHTS
from layernas_tf.training.result import REWARDS
from layernas_tf.training.soft_labels import DISTILLATIONS

_COUNTS = ("trials", "limit", "epochs", "final_epochs", "batch_size", "final_seeds")
"""Numbers for which the size of the data set or the kind of search may decide."""

_LONGEST = 1e6
"""The longest time limit of a trial in seconds, far more than any trial needs."""

SEEDS = 2**32
"""How many seeds NumPy and Keras have."""


def check_config(config: SearchConfig) -> None:
    """Checks every value by itself and those that depend on each other.

    Raises:
      UserError: A value is out of range; the line names the flag.
    """
    _check_numbers(config)
    _check_names(config)
    _check_workers(config)
    _check_weights(config)
    config.algorithm_options()


def check_seed(seed: int) -> None:
    """Raises `UserError` for a seed that a generator of random numbers refuses.

    Example: `check_seed(2**32 - 1)` accepts the largest one.
    """
    if not 0 <= seed < SEEDS:
        raise UserError(f"`seed`: expected 0 to {SEEDS - 1}, got {seed}")


def _check_numbers(config: SearchConfig) -> None:
    for name in ("workers", "finalists"):
        _at_least(name, getattr(config, name), 1)
    check_seed(config.seed)
    for name in ("trials_per_process", "trial_retries"):
        _at_least(name, getattr(config, name), 0)
    for name in _COUNTS:
        if getattr(config, name) is not None:
            least = 0 if name == "epochs" and config.pretrained else 1
            _at_least(name, getattr(config, name), least)
    if not 0 < config.valid_fraction < 1:
        raise UserError(
            "`valid_fraction`: expected a share between 0 and 1, got "
            f"{config.valid_fraction}"
        )


def _check_names(config: SearchConfig) -> None:
    if config.resolution is not None:
        try:
            parse_resolution(config.resolution)
        except UserError as error:
            raise UserError(
                f"`resolution`: {str(error).removeprefix('resolution: ')}"
            ) from None
    for name, known in (
        ("fit", FITS),
        ("class_weights", CLASS_WEIGHTS),
        ("reward", REWARDS),
        ("baseline", BASELINES),
        ("distill", DISTILLATIONS),
    ):
        value = getattr(config, name)
        by_default = name == "distill" and value is None
        if value not in known and not by_default:
            raise UserError(
                f"`{name}`: expected one of {', '.join(known)}, got {value!r}"
            )
    if config.channels not in (None, 1, 3):
        raise UserError(f"`channels`: expected 1 or 3, got {config.channels}")


def _check_workers(config: SearchConfig) -> None:
    for name in ("cpus_per_trial", "trial_timeout"):
        value = getattr(config, name)
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"`{name}`: expected more than 0, got {value:g}")
    if config.trial_timeout is not None and config.trial_timeout > _LONGEST:
        raise UserError(
            f"`trial_timeout`: expected at most {_LONGEST:g} seconds, got "
            f"{config.trial_timeout:g}"
        )
    gpus = config.gpus_per_trial
    if gpus is not None and not (0 <= gpus < math.inf and (gpus < 1 or not gpus % 1)):
        raise UserError(
            "`gpus_per_trial`: expected a share below 1 or a whole number, got "
            f"{gpus:g}"
        )
    if config.trial_timeout and not (config.uses_ray or config.trials_per_process):
        raise UserError(
            "`trial_timeout`: expected `trials_per_process` above 0, as only a "
            "process of its own can be stopped"
        )
    if config.study and not config.storage:
        raise UserError("`study`: expected with `storage`, the database it is in")


def _check_weights(config: SearchConfig) -> None:
    if config.evaluator and config.inherit_weights:
        raise UserError(
            "`inherit_weights`: expected without `evaluator`, which trains nothing "
            "that candidates could start from"
        )
    if config.evaluator and config.pretrained:
        raise UserError(
            "`pretrained`: expected without `evaluator`, which builds and trains "
            "candidates itself"
        )
    if config.inherit_weights and config.pretrained:
        raise UserError(
            "`inherit_weights`: expected without `pretrained`, whose weights all "
            "candidates start from"
        )


def _at_least(name: str, value: float, least: int) -> None:
    if value < least:
        raise UserError(f"`{name}`: expected at least {least}, got {value}")
