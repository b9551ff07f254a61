"""How well a latency table predicts networks that it has not seen, on this host.

    python -m export.latency_table --space=mobilenet_v3_small --out=table.json
    python -m benchmarks.latency_prediction --table=table.json --networks=50 --out=DIR

Random architectures are built in Keras, converted as an export converts them, and
timed; the folder gets `prediction.csv` and `prediction.png`. Converted files are kept
there, so that a second run (of another table of the same space and format) has them.
The clock and the statistic are those of the table: see `export.timing.host_timer`.
"""

from __future__ import annotations

import csv
import multiprocessing
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent import futures
from typing import Any

import numpy as np
from absl import flags

from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError
from layernas_tf.core.files import writing
from layernas_tf.costs.latency import LatencyTable, read_table, with_latency
from layernas_tf.space.budget import LATENCY
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture


def architectures(space: SearchSpace, number: int, seed: int) -> list[Architecture]:
    """Random ones: every option of every layer is equally likely."""
    rng = np.random.default_rng(seed)
    return [
        tuple(int(rng.integers(len(layer.options))) for layer in space.layers)
        for _ in range(number)
    ]


def convert_all(
    name: str,
    arguments: Mapping[str, Any],
    form: str,
    wanted: Mapping[pathlib.Path, Architecture],
) -> None:
    """Has TensorFlow convert architectures of a space into these files."""
    import keras

    from export.conversion.convert import convert
    from search_spaces.registry import get_space

    space = get_space(name, **arguments)
    rng = np.random.default_rng(0)
    shape = (4, space.start.height, space.start.width, space.start.channels)
    for path, architecture in wanted.items():
        convert(
            space.build(architecture),
            format=form,
            path=str(path),
            representative_images=rng.uniform(0, 255, shape).astype(np.float32),
        )
        keras.backend.clear_session()


def percentage_error(predicted: np.ndarray, measured: np.ndarray) -> float:
    """Mean absolute error as a share of what was measured."""
    return float(np.mean(np.abs(predicted / measured - 1)))


def kendall_tau(predicted: np.ndarray, measured: np.ndarray) -> float:
    """Kendall's rank correlation."""
    from scipy.stats import kendalltau

    return float(kendalltau(predicted, measured).statistic)


def plot(
    predicted: np.ndarray,
    measured: np.ndarray,
    table: LatencyTable,
    title: str,
    path: pathlib.Path,
) -> None:
    """Draws measured over predicted, with a band of 10 % around their equality."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.subplots()
    ends = np.array([0, 1.05 * max(predicted.max(), measured.max())])
    axes.fill_between(ends, 0.9 * ends, 1.1 * ends, color="#dddddd", label="±10 %")
    axes.plot(ends, ends, color="#888888", linewidth=1)
    axes.scatter(predicted, measured, s=18, color="#1f77b4")
    axes.set(
        xlim=ends,
        ylim=ends,
        xlabel="predicted by the table [ms]",
        ylabel="measured [ms]",
        title=title,
    )
    axes.legend(loc="upper left", title=str(table), title_fontsize=7, fontsize=8)
    with writing(path) as temporary:
        figure.savefig(temporary, dpi=150)


def converted_files(
    table: LatencyTable, named: Mapping[pathlib.Path, Architecture]
) -> dict[str, bytes]:
    """The converted networks by file name; those of an earlier run are read."""
    missing = {path: one for path, one in named.items() if not path.exists()}
    for path in missing:
        path.parent.mkdir(parents=True, exist_ok=True)
    if missing:
        # In a process of its own: networks run some 5 % slower in one that has built
        # and converted 50 models.
        spawn = multiprocessing.get_context("spawn")
        arguments = (table.space, dict(table.arguments), table.format, missing)
        with futures.ProcessPoolExecutor(1, spawn) as process:
            process.submit(convert_all, *arguments).result()
    return {path.name: path.read_bytes() for path in named}


def write_rows(path: pathlib.Path, rows: Iterable[Sequence[Any]]) -> None:
    """Writes a CSV row for each network: architecture, MAdds and both times."""
    with (
        writing(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["architecture", "madds", "predicted_ms", "measured_ms"])
        for architecture, *figures in rows:
            writer.writerow([" ".join(map(str, architecture)), *figures])


def main(argv: Sequence[str]) -> None:
    """Measures and prints."""
    del argv
    from export.tflite import runtime as runtimes
    from export.timing.host_timer import HostTimer
    from export.timing.space_files import network_file
    from search_spaces.registry import get_space

    values = flags.FLAGS
    table = read_table(values.table)
    plain = get_space(table.space, **table.arguments)
    space = with_latency(plain, table)
    runtime, _, version = table.runtime.rpartition(" ")
    timer = HostTimer(
        runtimes.resolve_runtime(runtime), table.threads, values.rounds, table.format
    )
    if (timer.device, timer.version) != (table.device, version):
        raise UserError(
            f"{values.table!r} is of {table.device} with {table.runtime}, this is "
            f"{timer.device} with {runtime} {timer.version}"
        )
    out = pathlib.Path(values.out)
    chosen = architectures(space, values.networks, values.seed)
    if values.converted:
        named = {
            out / "networks" / f"{values.seed}_{number}_{table.format}.tflite": one
            for number, one in enumerate(chosen)
        }
        files = converted_files(table, named)
    else:
        files = {
            str(number): network_file(plain, architecture, table.format)
            for number, architecture in enumerate(chosen)
        }
    measured = np.array(list(timer.networks(files).values()))
    costs = space.chain.costs(np.array(chosen))
    predicted = costs[LATENCY]
    rows = zip(chosen, costs["madds"], predicted, measured)
    write_rows(out / "prediction.csv", rows)
    error = percentage_error(predicted, measured)
    tau = kendall_tau(predicted, measured)
    plot(
        predicted,
        measured,
        table,
        f"{space.name}, {space.start.height}x{space.start.width}: "
        f"{error:.1%} off, tau {tau:.3f}",
        out / "prediction.png",
    )
    print(
        f"{space.name} at {space.start.height}x{space.start.width}, {table}: "
        f"{len(chosen)} random architectures, {measured.min():.2f} to "
        f"{measured.max():.2f} ms\n"
        f"mean absolute error      {error:7.1%}\n"
        f"median of the ratio      {np.median(predicted / measured):7.3f}\n"
        f"Kendall's tau            {tau:7.3f}\n"
        f"(tau of MAdds alone      {kendall_tau(costs['madds'], measured):7.3f})\n"
        f"{out / 'prediction.png'}"
    )


if __name__ == "__main__":
    flags.DEFINE_string("table", None, "A latency table of this host.", required=True)
    flags.DEFINE_integer("networks", 50, "Random architectures.", lower_bound=2)
    flags.DEFINE_bool(
        "converted",
        True,
        "Time what TensorFlow converts, in seconds a network; else files with the same "
        "operators, written in milliseconds.",
    )
    flags.DEFINE_integer("seed", 1, "Seed of the architectures.")
    flags.DEFINE_integer(
        "rounds", 5, "Times that each network is timed.", lower_bound=1
    )
    flags.DEFINE_string("out", None, "Folder for the results.", required=True)
    run_main(main)
