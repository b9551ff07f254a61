"""The latency of a .tflite file on this machine."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from export.tflite import runtime as runtimes
from layernas_tf.core.errors import UserError


@dataclasses.dataclass(frozen=True)
class LatencyStats:
    """Time of one inference of one image, without copying in and out.

    Example: `host_latency("model_int8.tflite", threads=2).p50_ms`.

    Attributes:
      path: The .tflite file.
      runtime: The runtime that ran it, one of `runtime.RUNTIMES`.
      runtime_version: Version of the runtime.
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
