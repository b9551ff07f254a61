"""The benchmark tables by name, with the file that each reads and its space."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from layernas_tf.core.errors import UserError
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.tabular.table import Table
from layernas_tf.tabular.user_table import load_user_table
from search_spaces.tabular.accel_nasbench import read_accel_csv
from search_spaces.tabular.burger import burger_table
from search_spaces.tabular.macro_bench import (
    channel_bench_macro_mobilenet,
    channel_bench_macro_resnet,
    nas_bench_macro,
)
from search_spaces.tabular.nats_bench import nats_bench_size
from search_spaces.tabular.nats_files import (
    read_nats_archive,
    read_nats_csv,
    read_topology_archive,
    read_topology_csv,
)
from search_spaces.tabular.nats_topology import nats_bench_topology
from search_spaces.tabular.readers import read_macro_json
from search_spaces.tabular.synthetic import parse_synthetic

BENCHMARKS = (
    "nats_sss",
    "nats_tss",
    "nas_bench_macro",
    "channel_bench_macro",
    "accel_nasbench",
    "synthetic",
    "burger",
)
"""The names that `load_table` knows."""

_NATS_ARGUMENTS = {
    "cifar10": {"resolution": 32, "classes": 10},
    "cifar100": {"resolution": 32, "classes": 100},
    "imagenet16": {"resolution": 16, "classes": 120},
}
_DATASETS = {
    "nats_sss": tuple(_NATS_ARGUMENTS),
    "nats_tss": tuple(_NATS_ARGUMENTS),
    "accel_nasbench": ("imagenet",),
}


def load_table(
    benchmark: str,
    path: str | None = None,
    dataset: str | None = None,
    *,
    signal_hp: int = 90,
) -> Table:
    """Loads a benchmark table.

    Args:
      benchmark: One of `BENCHMARKS`, or one of your own (see
        `layernas_tf.tabular.user_table`).
      path: For `nats_sss` and `nats_tss`, a CSV file or the folder of an official
        archive (see `search_spaces.tabular.nats_files.read_nats_archive` for whom to
        trust). For the macro benchmarks, the JSON file of their repository
        (Channel-Bench-Macro has two; either will do). For `accel_nasbench`, a CSV
        file. The others have no file.
      dataset: For `nats_sss` and `nats_tss`, `cifar10` (the default), `cifar100` or
        `imagenet16`; for the macro benchmarks, `cifar10`; for `accel_nasbench`,
        `imagenet`; for `synthetic`, the arguments of
        `search_spaces.tabular.synthetic.synthetic`, such as `layers=20,options=4`.
      signal_hp: For `nats_sss`, the epochs after which the validation accuracy is
        taken as the signal, 12 (archive only) or 90. The signal of `nats_tss` is always
        taken after 12.

    Raises:
      UserError: There is no such benchmark or dataset, or the file is not its table.
    """
    if signal_hp not in (12, 90):
        raise UserError(f"signal_hp must be 12 or 90, got {signal_hp}")
    if signal_hp != 90 and benchmark not in ("nats_sss", "nats_tss"):
        raise UserError(f"signal_hp=12 is for nats_sss only, not for {benchmark!r}")
    if benchmark not in BENCHMARKS:
        return load_user_table(benchmark, path, dataset, BENCHMARKS)
    if benchmark == "synthetic":
        return parse_synthetic(dataset or "")
    if benchmark == "burger":
        return burger_table()
    known = _DATASETS.get(benchmark, ("cifar10",))
    dataset = dataset or known[0]
    if dataset not in known:
        raise UserError(
            f"benchmark {benchmark!r} has no dataset {dataset!r}: expected one of "
            f"{', '.join(known)}"
        )
    if not path or not os.path.exists(path):
        raise UserError(
            f"benchmark {benchmark!r}: "
            + (f"no file {path!r}" if path else "no table given")
            + ", expected the path of its public table"
        )
    if benchmark == "nats_sss":
        return _load_size(path, dataset, signal_hp)
    if benchmark == "nats_tss":
        space = nats_bench_topology(**_NATS_ARGUMENTS[dataset])
        read = read_topology_archive if os.path.isdir(path) else read_topology_csv
        return read(path, space, dataset)
    if benchmark == "accel_nasbench":
        return read_accel_csv(path)
    if benchmark == "nas_bench_macro":
        return read_macro_json(path, benchmark, lambda _: nas_bench_macro(), 0)
    return read_macro_json(path, benchmark, _channel_space, 1)


def _load_size(path: str, dataset: str, signal_hp: int) -> Table:
    space = nats_bench_size(**_NATS_ARGUMENTS[dataset])
    if os.path.isdir(path):
        return read_nats_archive(path, space, dataset, signal_hp)
    if signal_hp != 90:
        raise UserError(
            f"{path}: a CSV file has the 90-epoch accuracies only, expected an "
            "archive folder for signal_hp=12"
        )
    return read_nats_csv(path, space, dataset)


def _channel_space(records: Mapping[str, Any]) -> SearchSpace:
    """Tells the two files of Channel-Bench-Macro apart by their widest network."""
    spaces = channel_bench_macro_mobilenet(), channel_bench_macro_resnet()
    widest = records.get("4444444")
    params = widest.get("params") if isinstance(widest, dict) else None
    sizes = [space.costs(space.default)["params"] for space in spaces]
    if params not in sizes:
        raise UserError(
            f"channel_bench_macro: architecture '4444444' must have {sizes[0]:,.0f} "
            f"params (MobileNet) or {sizes[1]:,.0f} (ResNet), got {params}"
        )
    return spaces[sizes.index(params)]
