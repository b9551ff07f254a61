"""Times a .tflite file on one image at a time; also a binary.

python -m export.benchmark --model=winner/model_int8.tflite --threads=1,2 --profile
python -m export.benchmark --model=winner/model_int8.tflite --device=android \
    --benchmark_model=benchmark_model --delegate=none,gpu
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from export.tflite import runtime as runtimes
from export.tflite.memory import peak_memory
from export.timing import benchmark_table as tables
from export.timing.host import host_latency
from export.timing.profile import Profile, draw, profile
from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError

DEVICES = ("host", "android")
"""Where a file can be timed."""


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
    # Checked before anything is timed.
    if values.out and not values.out.endswith(".png"):
        raise UserError(f"--out: expected the name of a .png file, got {values.out!r}")
    measure = _on_host if values.device == "host" else _on_android
    rows, profiles = measure(values, threads)
    tables.print_rows(f"Latency of {values.model} (milliseconds per image)", rows)
    for title, profiled in profiles:
        tables.print_profile(title, profiled)
    failed = [row for row in rows if row.error]
    if values.out and profiles:
        title, profiled = profiles[0]
        draw(profiled, f"{values.model}\n{title}", values.out)
        print(f"Bar chart: {values.out}")
    if failed:
        raise UserError(
            f"{len(failed)} of {len(rows)} settings were not measured, the first one: "
            f"{failed[0].where}: {failed[0].error}"
        )


_Measured = tuple[list[tables.Row], list[tuple[str, Profile]]]


def _on_host(values: Any, threads: Sequence[int]) -> _Measured:
    names = (
        runtimes.installed_runtimes() if values.runtime == "all" else [values.runtime]
    )
    rows, profiles = [], []
    for name in names:
        memory = peak_memory(values.model, runtime=name)
        for count in threads:
            stats = host_latency(
                values.model,
                runtime=name,
                threads=count,
                runs=values.runs,
                warmup=values.warmup,
            )
            where = f"{stats.runtime} {stats.runtime_version}"
            figures = {
                "mean": stats.mean_ms,
                "p50": stats.p50_ms,
                "p90": stats.p90_ms,
                "p99": stats.p99_ms,
            }
            rows.append(
                tables.Row(
                    where,
                    count,
                    stats.runs,
                    figures,
                    {
                        "arena KiB": memory.arena_bytes / 2**10,
                        "RSS MiB": memory.process_bytes / 2**20,
                    },
                )
            )
            if values.profile or values.out:
                profiled = profile(
                    values.model, stats.p50_ms, runtime=stats.runtime, threads=count
                )
                profiles.append((f"{where}, {count} threads", profiled))
    return rows, profiles


def _on_android(values: Any, threads: Sequence[int]) -> _Measured:
    from export.timing.android import time_on_devices

    rows, profiles = [], []
    runs = time_on_devices(
        values.model,
        values.benchmark_model,
        serials=values.serial,
        delegates=values.delegate,
        threads=threads,
        runs=values.runs,
        warmup=values.warmup,
        profile=bool(values.profile or values.out),
        cool_down=values.cool_down,
        adb=values.adb,
    )
    with contextlib.closing(runs):
        for run in runs:
            output = run.output
            where = f"{run.device.label}, {run.delegate}"
            if output is None:
                rows.append(tables.Row(where, run.threads, 0, {}, {}, run.error))
                continue
            if output.delegated:
                where += f" (delegated {output.delegated})"
            figures = {
                "init": output.init_ms,
                "mean": output.mean_ms,
                "min": output.min_ms,
                "p50": output.p50_ms,
                "p95": output.p95_ms,
                "max": output.max_ms,
            }
            memory = {"RSS MiB": output.memory_mb}
            rows.append(tables.Row(where, run.threads, output.runs, figures, memory))
            if output.operators:
                method = "benchmark_model's own profiler"
                profiled = Profile(output.operators, output.mean_ms, method)
                profiles.append((f"{where}, {run.threads} threads", profiled))
    return rows, profiles


def define_flags() -> None:
    """Defines the binary's flags: not at import, as libraries import this module."""
    flags.DEFINE_string("model", "", "The .tflite file.")
    flags.DEFINE_string("device", "host", f"Where to run: {', '.join(DEVICES)}.")
    flags.DEFINE_list(
        "threads", ["1"], "Threads of one inference; several numbers are compared."
    )
    flags.DEFINE_string(
        "runtime",
        "auto",
        f"auto, all (every installed one) or one of {', '.join(runtimes.RUNTIMES)}.",
    )
    flags.DEFINE_integer("runs", 200, "Inferences that are timed.")
    flags.DEFINE_integer("warmup", 20, "Inferences before the timed ones.")
    flags.DEFINE_boolean("profile", False, "Time every operator too.")
    flags.DEFINE_string("out", "", "Draw the operators' times into this .png file.")
    flags.DEFINE_multi_string("serial", [], "Serial of an Android device. May repeat.")
    flags.DEFINE_string(
        "benchmark_model", "", "TFLite's benchmark_model, built for the Android device."
    )
    flags.DEFINE_list("delegate", ["none"], "For Android: some of none, gpu, nnapi.")
    flags.DEFINE_float(
        "cool_down", 10.0, "Seconds between two settings on Android.", lower_bound=0.0
    )
    flags.DEFINE_string("adb", "adb", "The adb command.")


def cli() -> None:
    """The command `layernas-benchmark`: parses the flags and runs."""
    define_flags()
    run_main(main)


if __name__ == "__main__":
    cli()
