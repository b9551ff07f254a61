"""How much memory a .tflite file needs while it runs."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from export.tflite import runtime as runtimes
from layernas_tf.core.errors import UserError

_STATUS = "/proc/self/status"


@dataclasses.dataclass(frozen=True)
class PeakMemory:
    """Memory that a network needs besides its file.

    Example: `peak_memory("model_int8.tflite").arena_bytes`.

    Attributes:
      arena_bytes: Extent of the interpreter's arena of activations with TFLite's own
        kernels, scratch buffers included: what a microcontroller must set aside.
      process_bytes: Peak growth of a process's resident memory from before the file is
        loaded until after some inferences, with the runtime's default delegate. It
        includes the weights, packed copies of them, and the arena.
    """

    arena_bytes: int
    process_bytes: int


def peak_memory(
    path: str, *, runtime: str = "auto", threads: int = 1, runs: int = 5
) -> PeakMemory:
    """Measures a file's memory, in a process of its own (Linux).

    Args:
      path: The file.
      runtime: One of `runtime.RUNTIMES`, or `auto`.
      threads: Threads of one inference.
      runs: Inferences.

    Raises:
      UserError: As `runtime.load`, or if the process dies.
    """
    runtime = runtimes.resolve_runtime(runtime)
    # First in this process, which reports a bad file in one line.
    runtimes.load(path, runtime=runtime, threads=threads)
    root = str(pathlib.Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        [sys.executable, "-m", "export.tflite.memory"],
        input=json.dumps([path, runtime, threads, runs]),
        env=os.environ | {"PYTHONPATH": os.pathsep.join([root, *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()
        raise UserError(f"measuring the memory of {path!r} failed: {reason[-1]}")
    return PeakMemory(**json.loads(done.stdout.splitlines()[-1]))


def arena_bytes(path: str, *, runtime: str = "auto") -> int:
    """Size in bytes of the arena that holds all activations of the interpreter.

    It is derived from the addresses of the tensors, as no Python interpreter reports
    the size. The padding between tensors is included.

    Raises:
      UserError: As `runtime.load`.
    """
    interpreter = runtimes.bare_interpreter(path, runtime=runtime)
    written = {
        int(index)
        for operator in interpreter._get_ops_details()
        for index in operator["outputs"]
    } | {tensor["index"] for tensor in interpreter.get_input_details()}
    named = [tensor["index"] for tensor in interpreter.get_tensor_details()]
    spans = [_span(interpreter, index) for index in written]
    low, high = min(start for start, _ in spans), max(end for _, end in spans)
    # Scratch buffers of kernels come after the file's tensors. Constants lie in the
    # file, far from the arena; so do the few scratch buffers that outlive a run.
    for index in set(named) - written:
        start, end = _span(interpreter, index)
        if low <= start <= high:
            high = max(high, end)
    return high - low


def _span(interpreter: Any, index: int) -> tuple[int, int]:
    array = interpreter.tensor(index)()
    start = array.__array_interface__["data"][0]
    return start, start + array.nbytes


def _resident(field: str) -> int:
    with open(_STATUS, encoding="ascii") as file:
        for line in file:
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no {field}")


def _measure(path: str, runtime: str, threads: int, runs: int) -> PeakMemory:
    arena = arena_bytes(path, runtime=runtime)
    # The runtime is loaded by now, and its share does not count.
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    before = _resident("VmRSS")
    model = runtimes.load(path, runtime=runtime, threads=threads)
    model.set_image(np.zeros(model.input.shape[1:]))
    for _ in range(runs):
        model.invoke()
    return PeakMemory(arena, max(0, _resident("VmHWM") - before))


def _main(arguments: Sequence) -> None:
    print(json.dumps(dataclasses.asdict(_measure(*arguments))))


if __name__ == "__main__":
    _main(json.load(sys.stdin))
