"""Times .tflite files on Android devices, with `adb` and TFLite's `benchmark_model`."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import secrets
import time
from collections.abc import Callable, Generator, Iterator, Sequence

from export.timing.adb import FOLDER, Adb, Device
from export.timing.benchmark_output import BenchmarkOutput, parse_output
from export.timing.benchmark_warnings import not_as_asked
from layernas_tf.core.errors import UserError

DELEGATES = {
    "none": "--use_xnnpack=true",
    "gpu": "--use_gpu=true",
    "nnapi": "--use_nnapi=true",
}
"""What can run a network on a device (`none`: its CPU), with the tool's flag."""

WHERE = "https://ai.google.dev/edge/litert/models/measurement"
"""Where to get `benchmark_model`."""


@dataclasses.dataclass(frozen=True)
class DeviceRun:
    """One network in one setting on one device.

    Example: `DeviceRun(device, "gpu", threads=1, output=parse_output(printed))`.

    Attributes:
      device: The device.
      delegate: One of `DELEGATES`.
      threads: Threads of one inference.
      output: The timings; None if it was not measured as asked.
      error: Why it was not, in one line; empty if it was.
    """

    device: Device
    delegate: str
    threads: int
    output: BenchmarkOutput | None
    error: str = ""


def time_on_devices(
    path: str,
    benchmark_model: str,
    *,
    serials: Sequence[str] = (),
    delegates: Sequence[str] = ("none",),
    threads: Sequence[int] = (1,),
    runs: int = 50,
    warmup: int = 5,
    profile: bool = False,
    cool_down: float = 10.0,
    adb: str = "adb",
    sleep: Callable[[float], None] = time.sleep,
) -> Generator[DeviceRun, None, None]:
    """Times a .tflite file on Android devices, one setting after the other.

    All files are removed from the devices again, even after an error.

    Args:
      path: The file.
      benchmark_model: TFLite's tool, built for the devices (see `WHERE`).
      serials: Serials of the devices; may be left out if only one is connected.
      delegates: Some of `DELEGATES`.
      threads: Numbers of threads to compare.
      runs: The least number of timed inferences: the tool goes on for a second.
      warmup: The least number of inferences before them: it goes on for half a second.
      profile: Whether to time every operator too, which slows the whole a little.
      cool_down: Pause between two settings, in seconds: a hot phone slows down.
      adb: The `adb` command.
      sleep: Pauses for a number of seconds.

    Yields:
      The timings of each setting, as soon as they are measured; an error in their
      place if the tool failed or did not measure what was asked for.

    Raises:
      UserError: If a file, the command or a device is missing or not ready.
    """
    _check(path, benchmark_model, delegates)
    command = Adb(adb)
    settings = (
        f"--num_runs={runs} --warmup_runs={warmup} "
        f"--enable_op_profiling={str(profile).lower()} "
        "--report_peak_memory_footprint=true"
    )
    first = True
    for device in command.choose(serials):
        with _pushed(command, device.serial, benchmark_model, path) as (tool, graph):
            for delegate, count in itertools.product(delegates, threads):
                if not first:
                    sleep(cool_down)
                first = False
                line = (
                    f"{tool} --graph={graph} --num_threads={count} "
                    f"{settings} {DELEGATES[delegate]}"
                )
                printed, code = command.shell_code(device.serial, line, 1200)
                output, error = measured(printed, code, delegate)
                if profile and output is not None and not output.operators:
                    error = "benchmark_model printed no times of operators"
                    output = None
                yield DeviceRun(device, delegate, count, output, error)


def measured(
    printed: str, code: str, delegate: str
) -> tuple[BenchmarkOutput | None, str]:
    """The timings of one run, or why there are none that can be trusted.

    Args:
      printed: All that the tool printed.
      code: Its exit code, as text.
      delegate: One of `DELEGATES`.

    Returns:
      The timings and "", or None and one line.
    """
    reason = not_as_asked(printed, delegate)
    if reason:
        return None, reason
    if code != "0":
        last = " ".join(printed.split())[-200:] or "it printed nothing"
        return None, f"benchmark_model failed (exit code {code or '?'}): {last}"
    try:
        return parse_output(printed), ""
    except UserError as error:
        return None, str(error)


def _check(path: str, benchmark_model: str, delegates: Sequence[str]) -> None:
    for name in delegates:
        if name not in DELEGATES:
            raise UserError(
                f"unknown delegate {name!r}: expected {', '.join(DELEGATES)}"
            )
    if not os.path.isfile(path):
        raise UserError(f"cannot read {path!r}: no such file")
    if not benchmark_model:
        raise UserError(
            "`benchmark_model`: expected TFLite's benchmark_model built for Android "
            f"(get it from {WHERE}), got nothing"
        )
    if not os.path.isfile(benchmark_model):
        raise UserError(
            f"no file {benchmark_model!r}: expected TFLite's benchmark_model built "
            f"for Android (get it from {WHERE})"
        )


@contextlib.contextmanager
def _pushed(
    command: Adb, serial: str, benchmark_model: str, path: str
) -> Iterator[tuple[str, str]]:
    """Paths of the tool and the network on a device; removed afterwards."""
    folder = f"{FOLDER}/layernas_tf_{secrets.token_hex(4)}"
    tool, graph = f"{folder}/benchmark_model", f"{folder}/model.tflite"
    try:
        command.shell(serial, f"mkdir -p {folder}")
        for source, target in ((benchmark_model, tool), (path, graph)):
            command.run("push", source, target, serial=serial, timeout=600)
        command.shell(serial, f"chmod 755 {tool}")
        yield tool, graph
    finally:
        _remove(command, serial, folder)


def _remove(command: Adb, serial: str, folder: str) -> None:
    try:
        command.shell(serial, f"rm -rf {folder}")
    except UserError:
        # Unplugged: the first error says more than this one would.
        pass
