"""Reader of the macro benchmarks, and the checks that all readers of tables share."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from layernas_tf.core.errors import UserError, reason_of
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture
from layernas_tf.tabular.table import ArrayTable, all_architectures


def read_macro_json(
    path: str,
    benchmark: str,
    choose_space: Callable[[Mapping[str, Any]], SearchSpace],
    first_digit: int,
) -> ArrayTable:
    """Reads NAS-Bench-Macro or Channel-Bench-Macro, as their repositories publish them.

    The keys of the JSON object are architectures, a digit per layer; the values hold
    `test_acc` or `acc` (the test accuracies of three independent trainings), `flops`
    and `params`. The signal is the first of the three; the reported result is the mean
    of the other two.

    Args:
      path: Path of the file.
      benchmark: Name of the table.
      choose_space: Returns the space that the file's content describes.
      first_digit: The digit that stands for option 0 of a layer.

    Raises:
      UserError: The file cannot be read, is incomplete, or is of another space.
    """
    try:
        with open(path, encoding="utf-8") as file:
            records = json.load(file)
    except (OSError, ValueError) as error:
        raise unreadable(path, "a JSON file", error) from None
    if not isinstance(records, dict) or not records:
        raise UserError(f"{path}: expected a JSON object by architecture")
    space = choose_space(records)
    names = macro_names(space, first_digit)
    known = set(names)
    unknown = next((name for name in records if name not in known), None)
    if unknown is not None:
        raise UserError(
            f"{path}: architecture {unknown!r} is not of the form {names[0]!r}, a "
            f"digit per layer of {space.name!r}"
        )
    check_complete(path, {name: records.get(name) for name in names})
    values = np.array([_macro_values(path, name, records[name]) for name in names])
    check_finite(path, names, values)
    check_costs(path, space, names, values[:, 3], values[:, 4])
    return ArrayTable(
        benchmark,
        "cifar10",
        space,
        "madds",
        values[:, 0].copy(),
        values[:, 1:3].mean(axis=1),
        str(path),
    )


def macro_names(space: SearchSpace, first_digit: int) -> list[str]:
    """How the macro benchmarks write the architectures of a space: `02012100`."""
    digits = [
        [str(first_digit + index) for index in range(len(layer.options))]
        for layer in space.layers
    ]
    return ["".join(name) for name in itertools.product(*digits)]


def architecture_at(space: SearchSpace, index: int) -> Architecture:
    """The architecture of row `index` in lexicographic order."""
    options = []
    for layer in reversed(space.layers):
        index, option = divmod(index, len(layer.options))
        options.append(option)
    return tuple(reversed(options))


def _macro_values(path: str, name: str, record: Any) -> list[float]:
    try:
        accuracies = record["test_acc"] if "test_acc" in record else record["acc"]
        first, second, third = accuracies
        numbers = first, second, third, record["flops"], record["params"]
        return [float(number) for number in numbers]
    except (TypeError, ValueError, KeyError):
        raise UserError(
            f"{path}: architecture {name!r}: expected three accuracies ('acc' or "
            "'test_acc'), 'flops' and 'params'"
        ) from None


def check_complete(path: str, rows: Mapping[str, Any]) -> None:
    """Raises `UserError` naming the first architecture without a row."""
    missing = [name for name, row in rows.items() if row is None]
    if missing:
        raise UserError(
            f"{path}: incomplete: {len(rows) - len(missing):,} of {len(rows):,} "
            f"architectures, the first that is missing is {missing[0]!r}"
        )


def check_finite(path: str, names: Sequence[str], values: np.ndarray) -> None:
    """Raises `UserError` naming the first architecture with a NaN or infinity."""
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise UserError(
            f"{path}: architecture {names[bad[0]]!r}: expected finite numbers, got "
            f"{values[bad[0]].tolist()}"
        )


def check_costs(
    path: str,
    space: SearchSpace,
    names: Sequence[str],
    flops: np.ndarray,
    params: np.ndarray,
) -> None:
    """Raises `UserError` where FLOPs or params are not those of the space."""
    expected = space.chain.costs(all_architectures(space))
    for label, found, own in (
        ("FLOPs", flops, expected["madds"]),
        ("params", params, expected["params"]),
    ):
        bad = np.flatnonzero(np.abs(found - own) > 0.5)
        if len(bad):
            check_cost(path, names[bad[0]], label, found[bad[0]], own[bad[0]])


def check_cost(path: str, name: str, label: str, found: float, own: float) -> None:
    """Raises `UserError` unless a cost equals the space's own, rounded."""
    if abs(found - own) > 0.5:
        raise UserError(
            f"{path}: architecture {name!r} has {found:,.0f} {label}, expected "
            f"{own:,.0f}: the file is of another space or dataset"
        )


def unreadable(path: str, expected: str, error: Exception) -> UserError:
    """The error for a file that cannot be read, with the reason."""
    return UserError(
        f"{path}: cannot be read ({reason_of(error)}), expected {expected}"
    )
