"""Readers of NATS-Bench: a CSV file of its results, or an official archive folder."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.tabular.table import ArrayTable
from search_spaces.tabular.nats_topology import topology_names
from search_spaces.tabular.readers import (
    architecture_at,
    check_complete,
    check_cost,
    check_costs,
    check_finite,
    unreadable,
)

NATS_COLUMNS = {
    "cifar10": ("cifar10", "c10"),
    "cifar100": ("cifar100", "c100"),
    "imagenet16": ("imagenet16", "in16"),
}
"""By dataset: the prefix of the accuracy columns and the suffix of the cost columns."""

_RECORDS = {
    "cifar10": ("cifar10-valid", "cifar10"),
    "cifar100": ("cifar100", "cifar100"),
    "imagenet16": ("ImageNet16-120", "ImageNet16-120"),
}
"""By dataset: the archive's training set for the signal, and for the reported test."""


@dataclasses.dataclass(frozen=True)
class _Kind:
    """One of the two benchmarks.

    Attributes:
      benchmark: Name of the table.
      words: Name in messages.
      module: The module of the package `nats_bench` that reads it.
      api: Name of the class in that module.
      names: Lists the architectures of its space as it writes them.
      final_hp: Epochs of the reported training.
    """

    benchmark: str
    words: str
    module: str
    api: str
    names: Callable[[SearchSpace], list[str]]
    final_hp: int


def read_nats_csv(path: str, space: SearchSpace, dataset: str) -> ArrayTable:
    """Reads NATS-Bench size from a CSV of its 90-epoch accuracies.

    Columns: `arch` (`c0:c1:c2:c3:c4`) and, by dataset, `{d}_valid`, `{d}_test`,
    `mflops_{d}`, `params_m_{d}`; further columns are ignored.

    Args:
      path: The file.
      space: `nats_bench_size` for this dataset.
      dataset: `cifar10`, `cifar100` or `imagenet16`.

    Raises:
      UserError: The file cannot be read, is incomplete, or is of another space.
    """
    accuracy, cost = NATS_COLUMNS[dataset]
    names = nats_names(space)
    values = _read_columns(
        path,
        names,
        (
            f"{accuracy}_valid",
            f"{accuracy}_test",
            f"mflops_{cost}",
            f"params_m_{cost}",
        ),
    )
    check_costs(path, space, names, values[:, 2] * 1e6, values[:, 3] * 1e6)
    return ArrayTable(
        "nats_sss", dataset, space, "madds", values[:, 0], values[:, 1], str(path)
    )


def read_topology_csv(path: str, space: SearchSpace, dataset: str) -> ArrayTable:
    """Reads NATS-Bench topology from a CSV of its accuracies.

    Columns: `arch` (NATS-Bench's string) and, by dataset, `{d}_valid12` (the signal)
    and `{d}_test200` (reported); further columns are ignored.

    Args:
      path: The file.
      space: `nats_bench_topology` for this dataset.
      dataset: `cifar10`, `cifar100` or `imagenet16`.

    Raises:
      UserError: The file cannot be read or is incomplete.
    """
    accuracy, _ = NATS_COLUMNS[dataset]
    columns = f"{accuracy}_valid12", f"{accuracy}_test200"
    values = _read_columns(path, topology_names(space), columns)
    return ArrayTable(
        "nats_tss", dataset, space, "madds", values[:, 0], values[:, 1], str(path)
    )


def read_nats_archive(
    path: str, space: SearchSpace, dataset: str, signal_hp: int = 90
) -> ArrayTable:
    """Reads the records that an official NATS-Bench size archive folder holds.

    Reading goes through the `nats_bench` package, which unpickles the files: read only
    an archive from its authors. A record takes about 4 ms, so the complete archive of
    32,768 takes about two minutes. The signal is the mean over seeds of the validation
    accuracy after `signal_hp` epochs; the reported result is the test accuracy after 90
    (for CIFAR-10, after training on all 50,000 images).

    Args:
      path: The folder (`NATS-sss-v1_0-50262-simple`): `meta.pickle.pbz2` and records.
      space: `nats_bench_size` for this dataset.
      dataset: `cifar10`, `cifar100` or `imagenet16`.
      signal_hp: 12 or 90.

    Raises:
      UserError: The folder or one of its files cannot be read.
    """
    return _read_archive(path, space, dataset, signal_hp, _SIZE)


def read_topology_archive(path: str, space: SearchSpace, dataset: str) -> ArrayTable:
    """Reads the records that an official NATS-Bench topology archive folder holds.

    It is read as by `read_nats_archive`, but the signal is the validation accuracy
    after 12 epochs and the reported result the test accuracy after 200, which is the
    protocol of the NATS-Bench paper.

    Args:
      path: The folder (`NATS-tss-v1_0-3ffb9-simple`): `meta.pickle.pbz2` and records.
      space: `nats_bench_topology` for this dataset.
      dataset: `cifar10`, `cifar100` or `imagenet16`.

    Raises:
      UserError: The folder or one of its files cannot be read.
    """
    return _read_archive(path, space, dataset, 12, _TOPOLOGY)


def nats_names(space: SearchSpace) -> list[str]:
    """How NATS-Bench writes the architectures of `nats_bench_size`: `8:8:8:8:16`."""
    widths = [[str(o["filters"]) for o in layer.options] for layer in space.layers]
    return [":".join(name) for name in itertools.product(*widths)]


_SIZE = _Kind(
    "nats_sss", "NATS-Bench size", "nats_bench.api_size", "NATSsize", nats_names, 90
)
_TOPOLOGY = _Kind(
    "nats_tss",
    "NATS-Bench topology",
    "nats_bench.api_topology",
    "NATStopology",
    topology_names,
    200,
)


def _read_columns(
    path: str, names: Sequence[str], columns: Sequence[str]
) -> np.ndarray:
    """The columns as numbers, by architecture in the order of `names`, `(N, C)`."""
    wanted = ("arch", *columns)
    rows: dict[str, tuple[float, ...] | None] = dict.fromkeys(names)
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
            places = [header.index(name) for name in wanted]
            for line, cells in enumerate(reader, start=2):
                if len(cells) != len(header):
                    raise UserError(
                        f"{path}: line {line}: expected {len(header)} cells, got "
                        f"{len(cells)}"
                    )
                name, *values = (cells[place] for place in places)
                if rows.get(name, ()) is not None:
                    problem = (
                        "given twice" if name in rows else f"not of the form {names[0]}"
                    )
                    raise UserError(
                        f"{path}: line {line}: architecture {name!r} is {problem}"
                    )
                try:
                    rows[name] = tuple(map(float, values))
                except ValueError:
                    raise UserError(
                        f"{path}: line {line}: expected numbers for "
                        f"{', '.join(columns)}, got {values}"
                    ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable(path, "a CSV file", error) from None
    check_complete(path, rows)
    table = np.array([rows[name] for name in names])
    check_finite(path, names, table)
    return table


def _read_archive(
    path: str, space: SearchSpace, dataset: str, signal_hp: int, kind: _Kind
) -> ArrayTable:
    names = kind.names(space)
    api = _open_archive(path, names, kind)
    rows = {name: row for row, name in enumerate(names)}
    valid = np.full(len(names), np.nan)
    test = np.full(len(names), np.nan)
    valid_set, test_set = _RECORDS[dataset]
    final_hp = str(kind.final_hp)
    for index in _record_indices(path, len(names)):
        name = api.meta_archs[index]
        row = rows[name]
        try:
            signal = api.get_more_info(
                index, valid_set, hp=f"{signal_hp:02d}", is_random=False
            )
            final = api.get_more_info(index, test_set, hp=final_hp, is_random=False)
            valid[row] = signal["valid-accuracy"]
            test[row] = final["test-accuracy"]
            cost = api.get_cost_info(index, test_set, hp=final_hp)
            flops, params = cost["flops"] * 1e6, cost["params"] * 1e6
        except Exception as error:  # noqa: BLE001
            raise unreadable(
                os.path.join(path, f"{index:06d}.pickle.pbz2"),
                f"the record of architecture {name}",
                error,
            ) from None
        expected = space.costs(architecture_at(space, row))
        check_cost(path, name, "FLOPs", flops, expected["madds"])
        check_cost(path, name, "params", params, expected["params"])
        # The API keeps every record it reads: 32,768 of them would fill the memory.
        api.arch2infos_dict.clear()
    if np.isnan(valid).all():
        raise UserError(
            f"{path}: expected records such as 000000.pickle.pbz2, found none"
        )
    return ArrayTable(kind.benchmark, dataset, space, "madds", valid, test, str(path))


def _open_archive(path: str, names: Sequence[str], kind: _Kind) -> Any:
    try:
        api = getattr(importlib.import_module(kind.module), kind.api)
    except ImportError:
        raise UserError(
            f"{path}: a NATS-Bench archive needs the package nats_bench, expected it "
            "to be installed (pip install nats_bench)"
        ) from None
    try:
        opened = api(str(path), fast_mode=True, verbose=False)
    except Exception as error:  # noqa: BLE001 (a broken pickle raises anything)
        raise unreadable(
            os.path.join(path, "meta.pickle.pbz2"), "a NATS-Bench archive", error
        ) from None
    if sorted(opened.meta_archs) != sorted(names):
        raise UserError(
            f"{path}: expected the {len(names):,} architectures of {kind.words}, got "
            f"{len(opened.meta_archs):,} others"
        )
    return opened


def _record_indices(path: str, count: int) -> list[int]:
    numbers = (name.partition(".")[0] for name in os.listdir(path))
    return sorted(int(n) for n in numbers if n.isdigit() and int(n) < count)
