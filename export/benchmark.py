"""How long a .tflite file takes for one image; also a binary.

python -m export.benchmark --model=winner/model_int8.tflite --threads=1
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import numpy as np
from absl import flags

from export import runtime as runtimes
from layernas_tf.errors import UserError, run_main

DEVICES = ("host",)
"""Where a file can be timed."""


@dataclasses.dataclass(frozen=True)
class LatencyStats:
    """Time of one inference of one image, copying in and out left aside.

    Attributes:
      path: The .tflite file.
      runtime: What ran it, one of `runtime.RUNTIMES`.
      runtime_version: Its version.
      threads: Threads of one inference.
      runs: Number of timed inferences.
      mean_ms: Mean, milliseconds.
      p50_ms: Median, milliseconds.
      p90_ms: 90th percentile, milliseconds.
      p99_ms: 99th percentile, milliseconds.
    """

    path: str
    runtime: str
    runtime_version: str
    threads: int
    runs: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float


def host_latency(
    path: str,
    *,
    runtime: str = "auto",
    threads: int = 1,
    runs: int = 200,
    warmup: int = 20,
) -> LatencyStats:
    """Times a .tflite file on this machine's CPU.

    Args:
      path: The file.
      runtime: One of `runtime.RUNTIMES`, or `auto`.
      threads: Threads of one inference.
      runs: Inferences that are timed.
      warmup: Inferences before them, which fill caches and wake the CPU's clock.

    Raises:
      UserError: As `runtime.load`, or if `runs` is below 1 or `warmup` below 0.
    """
    if runs < 1:
        raise UserError(f"runs: expected 1 or more, got {runs}")
    if warmup < 0:
        raise UserError(f"warmup: expected 0 or more, got {warmup}")
    model = runtimes.load(path, runtime=runtime, threads=threads)
    # Noise, since a constant image can make kernels (and denormals) atypical.
    noise = np.random.default_rng(0).integers(0, 256, model.input.shape[1:])
    model.set_image(noise)
    for _ in range(warmup):
        model.invoke()
    milliseconds = np.empty(runs)
    for number in range(runs):
        start = time.perf_counter_ns()
        model.invoke()
        milliseconds[number] = (time.perf_counter_ns() - start) / 1e6
    p50, p90, p99 = np.percentile(milliseconds, (50, 90, 99))
    return LatencyStats(
        path=path,
        runtime=model.runtime,
        runtime_version=runtimes.runtime_version(model.runtime),
        threads=threads,
        runs=runs,
        mean_ms=float(milliseconds.mean()),
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99),
    )


def _print_table(stats: Sequence[LatencyStats]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Latency of {stats[0].path} (milliseconds per image)")
    table.add_column("runtime")
    for column in ("threads", "runs", "mean", "p50", "p90", "p99"):
        table.add_column(column, justify="right")
    for one in stats:
        figures = (one.mean_ms, one.p50_ms, one.p90_ms, one.p99_ms)
        table.add_row(
            f"{one.runtime} {one.runtime_version}",
            str(one.threads),
            str(one.runs),
            *(f"{figure:.3f}" for figure in figures),
        )
    Console().print(table)


def main(argv: Sequence[str]) -> None:
    """Runs the binary."""
    del argv
    values = flags.FLAGS
    if values.device not in DEVICES:
        raise UserError(
            f"unknown device {values.device!r}: expected {', '.join(DEVICES)}"
        )
    if not values.model:
        raise UserError("--model: expected a .tflite file, got nothing")
    try:
        threads = [int(text) for text in values.threads]
    except ValueError as error:
        raise UserError(
            f"--threads: expected whole numbers, got {','.join(values.threads)!r}"
        ) from error
    names = (
        runtimes.installed_runtimes() if values.runtime == "all" else [values.runtime]
    )
    _print_table(
        [
            host_latency(
                values.model,
                runtime=name,
                threads=count,
                runs=values.runs,
                warmup=values.warmup,
            )
            for name in names
            for count in threads
        ]
    )


def define_flags() -> None:
    """Defines the binary's flags: not at import, as libraries import this module."""
    flags.DEFINE_string("model", "", "The .tflite file.")
    flags.DEFINE_string("device", "host", f"Where to run: {', '.join(DEVICES)}.")
    flags.DEFINE_list("threads", ["1"], "Threads of one inference; a list is compared.")
    flags.DEFINE_string(
        "runtime",
        "auto",
        f"auto, all (every installed one) or one of {', '.join(runtimes.RUNTIMES)}.",
    )
    flags.DEFINE_integer("runs", 200, "Inferences that are timed.")
    flags.DEFINE_integer("warmup", 20, "Inferences before the timed ones.")


if __name__ == "__main__":
    define_flags()
    run_main(main)
