"""Readers of the public files of benchmark tables."""

from __future__ import annotations

import csv
import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture
from layernas_tf.tabular.table import ArrayTable, all_architectures

NATS_COLUMNS = {
    "cifar10": ("cifar10", "c10"),
    "cifar100": ("cifar100", "c100"),
    "imagenet16": ("imagenet16", "in16"),
}
"""By dataset: the prefix of the accuracy columns and the suffix of the cost columns."""


_NATS_RECORDS = {
    "cifar10": ("cifar10-valid", "cifar10"),
    "cifar100": ("cifar100", "cifar100"),
    "imagenet16": ("ImageNet16-120", "ImageNet16-120"),
}
"""By dataset: the archive's training set for the signal, and for the reported test."""


def read_nats_csv(path: str, space: SearchSpace, dataset: str) -> ArrayTable:
    """Reads NATS-Bench size from a CSV of its 90-epoch accuracies.

    Columns: `arch` (`c0:c1:c2:c3:c4`) and, by dataset, `{d}_valid`, `{d}_test`,
    `mflops_{d}`, `params_m_{d}`; further columns are left alone.

    Args:
      path: The file.
      space: `nats_bench_size` for this dataset.
      dataset: `cifar10`, `cifar100` or `imagenet16`.

    Raises:
      UserError: The file cannot be read, is incomplete, or is of another space.
    """
    accuracy, cost = NATS_COLUMNS[dataset]
    wanted = (
        "arch",
        f"{accuracy}_valid",
        f"{accuracy}_test",
        f"mflops_{cost}",
        f"params_m_{cost}",
    )
    names = nats_names(space)
    rows = dict.fromkeys(names)
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            missing = [name for name in wanted if name not in header]
            if missing:
                raise UserError(
                    f"{path}: line 1: column {missing[0]!r} is missing, expected "
                    f"{', '.join(wanted)}"
                )
            columns = [header.index(name) for name in wanted]
            for line, cells in enumerate(reader, start=2):
                if len(cells) != len(header):
                    raise UserError(
                        f"{path}: line {line}: expected {len(header)} cells, got "
                        f"{len(cells)}"
                    )
                name, *values = (cells[column] for column in columns)
                if rows.get(name, ()) is not None:
                    raise UserError(
                        f"{path}: line {line}: architecture {name!r} is "
                        + (
                            "there twice"
                            if name in rows
                            else "not of the form 8:8:8:8:8"
                        )
                    )
                try:
                    rows[name] = tuple(map(float, values))
                except ValueError:
                    raise UserError(
                        f"{path}: line {line}: expected numbers for "
                        f"{', '.join(wanted[1:])}, got {values}"
                    ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, "a CSV file", error) from None
    _check_complete(path, rows)
    values = np.array([rows[name] for name in names])
    _check_finite(path, names, values)
    _check_costs(path, space, names, values[:, 2] * 1e6, values[:, 3] * 1e6)
    return ArrayTable(
        "nats_sss", dataset, space, "madds", values[:, 0], values[:, 1], str(path)
    )


def read_nats_archive(
    path: str, space: SearchSpace, dataset: str, signal_hp: int = 90
) -> ArrayTable:
    """Reads the records that an official NATS-Bench size archive folder holds.

    Reading goes through the `nats_bench` package, which unpickles the files: read only
    an archive from its authors. A record takes about 4 ms, so the complete archive of
    32,768 takes about two minutes. Its signal is the mean over seeds of the validation
    accuracy after `signal_hp` epochs; reported is the test accuracy after 90 (CIFAR-10:
    trained on all 50,000 images).

    Args:
      path: The folder (`NATS-sss-v1_0-50262-simple`): `meta.pickle.pbz2` and records.
      space: `nats_bench_size` for this dataset.
      dataset: `cifar10`, `cifar100` or `imagenet16`.
      signal_hp: 12 or 90.

    Raises:
      UserError: The folder or one of its files cannot be read.
    """
    try:
        from nats_bench.api_size import NATSsize
    except ImportError:
        raise UserError(
            f"{path}: a NATS-Bench archive needs the package nats_bench, expected it "
            "to be installed (pip install nats_bench)"
        ) from None
    try:
        api = NATSsize(str(path), fast_mode=True, verbose=False)
    except Exception as error:  # noqa: BLE001 (a broken pickle raises anything)
        raise _unreadable(
            os.path.join(path, "meta.pickle.pbz2"), "a NATS-Bench archive", error
        ) from None
    names = nats_names(space)
    if list(api.meta_archs) != names:
        raise UserError(
            f"{path}: expected the {len(names):,} architectures of NATS-Bench size, "
            f"got {len(api.meta_archs):,} others"
        )
    valid = np.full(len(names), np.nan)
    test = np.full(len(names), np.nan)
    valid_set, test_set = _NATS_RECORDS[dataset]
    for index in _record_indices(path, len(names)):
        try:
            signal = api.get_more_info(
                index, valid_set, hp=f"{signal_hp:02d}", is_random=False
            )
            final = api.get_more_info(index, test_set, hp="90", is_random=False)
            valid[index] = signal["valid-accuracy"]
            test[index] = final["test-accuracy"]
            cost = api.get_cost_info(index, test_set, hp="90")
            flops, params = cost["flops"] * 1e6, cost["params"] * 1e6
        except Exception as error:  # noqa: BLE001
            raise _unreadable(
                os.path.join(path, f"{index:06d}.pickle.pbz2"),
                f"the record of architecture {names[index]}",
                error,
            ) from None
        expected = space.costs(architecture_at(space, index))
        _check_cost(path, names[index], "FLOPs", flops, expected["madds"])
        _check_cost(path, names[index], "params", params, expected["params"])
        # The API keeps every record it reads: 32,768 of them would fill the memory.
        api.arch2infos_dict.clear()
    if np.isnan(valid).all():
        raise UserError(
            f"{path}: expected records such as 000000.pickle.pbz2, found none"
        )
    return ArrayTable("nats_sss", dataset, space, "madds", valid, test, str(path))


def read_macro_json(
    path: str,
    benchmark: str,
    choose_space: Callable[[Mapping[str, Any]], SearchSpace],
    first_digit: int,
) -> ArrayTable:
    """Reads NAS-Bench-Macro or Channel-Bench-Macro, as their repositories publish them.

    An object by architecture: a digit per layer, with `test_acc` or `acc` (three
    independently trained test accuracies), `flops` and `params`. The signal is the
    first of the three; reported is the mean of the other two.

    Args:
      path: The file.
      benchmark: The table's name.
      choose_space: Given the file's content, the space it describes.
      first_digit: The digit that stands for option 0 of a layer.

    Raises:
      UserError: The file cannot be read, is incomplete, or is of another space.
    """
    try:
        with open(path, encoding="utf-8") as file:
            records = json.load(file)
    except (OSError, ValueError) as error:
        raise _unreadable(path, "a JSON file", error) from None
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
    _check_complete(path, {name: records.get(name) for name in names})
    values = np.array([_macro_values(path, name, records[name]) for name in names])
    _check_finite(path, names, values)
    _check_costs(path, space, names, values[:, 3], values[:, 4])
    return ArrayTable(
        benchmark,
        "cifar10",
        space,
        "madds",
        values[:, 0].copy(),
        values[:, 1:3].mean(axis=1),
        str(path),
    )


def nats_names(space: SearchSpace) -> list[str]:
    """How NATS-Bench writes the architectures of `nats_bench_size`: `8:8:8:8:16`."""
    widths = [[str(o["filters"]) for o in layer.options] for layer in space.layers]
    return [":".join(name) for name in itertools.product(*widths)]


def macro_names(space: SearchSpace, first_digit: int) -> list[str]:
    """How the macro benchmarks write the architectures of a space: `02012100`."""
    digits = [
        [str(first_digit + index) for index in range(len(layer.options))]
        for layer in space.layers
    ]
    return ["".join(name) for name in itertools.product(*digits)]


def architecture_at(space: SearchSpace, index: int) -> Architecture:
    """The architecture of row `index` of the lexicographic order."""
    options = []
    for layer in reversed(space.layers):
        index, option = divmod(index, len(layer.options))
        options.append(option)
    return tuple(reversed(options))


def _record_indices(path: str, count: int) -> list[int]:
    numbers = (name.partition(".")[0] for name in os.listdir(path))
    return sorted(int(n) for n in numbers if n.isdigit() and int(n) < count)


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


def _check_complete(path: str, rows: Mapping[str, Any]) -> None:
    missing = [name for name, row in rows.items() if row is None]
    if missing:
        raise UserError(
            f"{path}: incomplete: {len(rows) - len(missing):,} of {len(rows):,} "
            f"architectures, the first that is missing is {missing[0]!r}"
        )


def _check_finite(path: str, names: Sequence[str], values: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise UserError(
            f"{path}: architecture {names[bad[0]]!r}: expected finite numbers, got "
            f"{values[bad[0]].tolist()}"
        )


def _check_costs(
    path: str,
    space: SearchSpace,
    names: Sequence[str],
    flops: np.ndarray,
    params: np.ndarray,
) -> None:
    expected = space.chain.costs(all_architectures(space))
    for label, found, own in (
        ("FLOPs", flops, expected["madds"]),
        ("params", params, expected["params"]),
    ):
        bad = np.flatnonzero(np.abs(found - own) > 0.5)
        if len(bad):
            _check_cost(path, names[bad[0]], label, found[bad[0]], own[bad[0]])


def _check_cost(path: str, name: str, label: str, found: float, own: float) -> None:
    if abs(found - own) > 0.5:
        raise UserError(
            f"{path}: architecture {name!r} has {found:,.0f} {label}, expected "
            f"{own:,.0f}: the file is of another space or dataset"
        )


def _unreadable(path: str, expected: str, error: Exception) -> UserError:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return UserError(f"{path}: cannot be read ({reason}), expected {expected}")
