"""Times many small .tflite files by turns, to reduce the effect of noise.

Other work on a machine only ever adds time. So every file is timed in several rounds,
with all the others in between, and its time is the median of its quietest round.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import tempfile
import time
from collections.abc import Mapping

import numpy as np

from export.tflite import runtime as runtimes
from export.tflite.tflite_graph import Graph
from export.tflite.tflite_layers import TfliteLayers

RUNS = 7
"""The least number of timed inferences of a file in a round."""
NOTHING = "an inference of nothing"
"""The name of the file of `nothing` among other files."""
_MOST_RUNS = 50
_ROUND_SECONDS = 0.004
_CACHE_BYTES = 4 * 2**20
"""Bytes that are read before each inference of a block, so that its data are as
unlikely to be in the caches as within a whole network."""


@dataclasses.dataclass(frozen=True)
class HostTimer:
    """Times files on this machine's CPU.

    With one thread, the clock is the thread's own CPU time, which stands still while
    other processes have the core; on a quiet machine it is the time that passes.

    Example:
      timer = HostTimer("ai-edge-litert", threads=1, rounds=5, form="int8")
      timer.networks({"default": content})

    Attributes:
      runtime: One of `runtime.RUNTIMES`.
      threads: Threads of one inference.
      rounds: Number of rounds, in each of which every file is timed.
      form: Format of the files; the fixed cost of an inference is measured in it too.
    """

    runtime: str
    threads: int
    rounds: int
    form: str

    @property
    def device(self) -> str:
        """The machine in words."""
        return f"host: {_processor()}, {platform.system()} {platform.machine()}"

    @property
    def version(self) -> str:
        """The version of the runtime."""
        return runtimes.runtime_version(self.runtime)

    def blocks(self, files: Mapping[str, bytes]) -> dict[str, float]:
        """Milliseconds of each block, less the fixed cost of an inference."""
        found = self._rounds({NOTHING: nothing(self.form), **files}, cold=True)
        fixed = found.pop(NOTHING)
        return {name: max(0.0, ms - fixed) for name, ms in found.items()}

    def networks(self, files: Mapping[str, bytes]) -> dict[str, float]:
        """Milliseconds of each network, as an application sees it."""
        return self._rounds(files, cold=False)

    def _rounds(self, files: Mapping[str, bytes], cold: bool) -> dict[str, float]:
        best = dict.fromkeys(files, np.inf)
        with tempfile.TemporaryDirectory(prefix="latency_") as folder:
            paths = {}
            for number, (name, content) in enumerate(files.items()):
                paths[name] = os.path.join(folder, f"{number}.tflite")
                with open(paths[name], "wb") as file:
                    file.write(content)
            for _ in range(self.rounds):
                for name, path in paths.items():
                    best[name] = min(best[name], self._turn(path, cold))
        return best

    def _turn(self, path: str, cold: bool) -> float:
        interpreter = runtimes.open_interpreter(
            path, runtime=self.runtime, threads=self.threads
        )
        details = interpreter.get_input_details()[0]
        # Noise: constant inputs (and denormals) can make kernels atypical.
        noise = np.random.default_rng(0).integers(0, 127, details["shape"])
        interpreter.set_tensor(details["index"], noise.astype(details["dtype"]))
        clock = time.thread_time_ns if self.threads == 1 else time.perf_counter_ns
        interpreter.invoke()
        taken: list[int] = []
        end = time.perf_counter() + _ROUND_SECONDS
        while len(taken) < RUNS or (
            len(taken) < _MOST_RUNS and time.perf_counter() < end
        ):
            if cold:
                _OTHER_DATA.max()
            start = clock()
            interpreter.invoke()
            taken.append(clock() - start)
        return float(np.median(taken)) / 1e6


_OTHER_DATA = np.zeros(_CACHE_BYTES // 4, np.float32)


def nothing(form: str) -> bytes:
    """The file of a single addition of a few numbers."""
    graph = Graph((1, 1, 1, 8), form)
    return graph.write(TfliteLayers(graph).Add()([graph.input, graph.input]))


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return " ".join(line.partition(":")[2].split())
    except OSError:
        pass
    return platform.processor() or "unknown processor"
