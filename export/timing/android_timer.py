"""Times many small .tflite files on an Android device, a folder of them at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping

from export.timing.adb import FOLDER, Adb, Device
from export.timing.android import WHERE, measured
from export.timing.host_timer import NOTHING, nothing
from layernas_tf.core.errors import UserError

_MARK = "== "
# By default the tool spends a second on each file, and there are thousands.
_BRIEF = "--num_runs=10 --min_secs=0.01 --warmup_runs=2 --warmup_min_secs=0.005"
_SECONDS_PER_FILE = 5.0


@dataclasses.dataclass(frozen=True)
class AndroidTimer:
    """Times files with TFLite's `benchmark_model` on one device.

    The time of a file is the median of its quietest round, as in
    `host_timer.HostTimer`; the tool is started again for every file.

    Example:
      timer = AndroidTimer.connect(
          "adb", "", "benchmark_model", threads=1, rounds=5, form="int8"
      )
      timer.networks({"default": content})

    Attributes:
      adb: The command.
      target: The device.
      tool: Path of `benchmark_model`, built for the device.
      threads: Threads of one inference.
      rounds: Number of rounds, in each of which every file is timed.
      form: Format of the files; the fixed cost of an inference is measured in it too.
    """

    adb: Adb
    target: Device
    tool: str
    threads: int
    rounds: int
    form: str
    runtime: str = "benchmark_model"

    @classmethod
    def connect(
        cls, adb: str, serial: str, tool: str, threads: int, rounds: int, form: str
    ) -> AndroidTimer:
        """A timer for the device with that serial, or for the only one connected.

        Raises:
          UserError: The tool, `adb` or the device is missing or not ready.
        """
        if not tool or not os.path.isfile(tool):
            raise UserError(
                f"`benchmark_model`: expected TFLite's benchmark_model built for "
                f"Android (get it from {WHERE}), got {tool or 'nothing'}"
            )
        command = Adb(adb)
        (target,) = command.choose([serial] if serial else [])
        return cls(command, target, tool, threads, rounds, form)

    @property
    def device(self) -> str:
        """The device in words."""
        return f"android: {self.target.model}, Android {self.target.android}"

    @property
    def version(self) -> str:
        """The size of the tool, which does not tell its version."""
        return f"of {os.path.getsize(self.tool):,} bytes"

    def blocks(self, files: Mapping[str, bytes]) -> dict[str, float]:
        """Milliseconds of each block, less the fixed cost of an inference."""
        found = self.networks({NOTHING: nothing(self.form), **files})
        fixed = found.pop(NOTHING)
        return {name: max(0.0, ms - fixed) for name, ms in found.items()}

    def networks(self, files: Mapping[str, bytes]) -> dict[str, float]:
        """Milliseconds of each network."""
        names = {str(number): name for number, name in enumerate(files)}
        best: dict[str, float] = {}
        with self._pushed(list(files.values())) as folder:
            loop = (
                f"for f in {folder}/files/*; do echo '{_MARK}'$f; "
                f"{folder}/benchmark_model --graph=$f --num_threads={self.threads} "
                f"--use_xnnpack=true {_BRIEF} 2>&1; echo exit=$?; done"
            )
            for _ in range(self.rounds):
                printed = self.adb.shell(
                    self.target.serial,
                    loop,
                    timeout=60 + _SECONDS_PER_FILE * len(files),
                )
                for number, ms in _times(printed, names).items():
                    name = names[number]
                    best[name] = min(ms, best.get(name, ms))
        missing = len(files) - len(best)
        if missing:
            raise UserError(
                f"{self.target.serial}: benchmark_model gave no time for {missing} of "
                f"{len(files)} files"
            )
        return best

    @contextlib.contextmanager
    def _pushed(self, contents: list[bytes]) -> Iterator[str]:
        """A folder on the device with the tool and the files, removed afterwards."""
        serial = self.target.serial
        folder = f"{FOLDER}/layernas_tf_{secrets.token_hex(4)}"
        try:
            self.adb.shell(serial, f"mkdir -p {folder}/files")
            with tempfile.TemporaryDirectory(prefix="latency_") as local:
                files = os.path.join(local, "files")
                os.mkdir(files)
                for number, content in enumerate(contents):
                    with open(os.path.join(files, f"{number}.tflite"), "wb") as file:
                        file.write(content)
                tool = f"{folder}/benchmark_model"
                self.adb.run("push", self.tool, tool, serial=serial, timeout=900)
                # adb puts the pushed folder into this one, under its own name.
                self.adb.run("push", files, folder, serial=serial, timeout=900)
            self.adb.shell(serial, f"chmod 755 {folder}/benchmark_model")
            yield folder
        finally:
            with contextlib.suppress(UserError):  # unplugged: that error says more
                self.adb.shell(serial, f"rm -rf {folder}")


def _times(printed: str, names: Mapping[str, str]) -> dict[str, float]:
    """Milliseconds by the number of the file.

    Raises:
      UserError: One of them was not measured; it is named.
    """
    found = {}
    for part in printed.split(_MARK)[1:]:
        first, _, output = part.partition("\n")
        number = re.search(r"(\d+)\.tflite\s*$", first)
        if number is None:
            raise UserError(f"cannot read what the device printed: {first[:80]!r}")
        text, _, code = output.rpartition("exit=")
        figures, error = measured(text, code.strip(), "none")
        if figures is None:
            raise UserError(f"{names[number.group(1)]}: {error}")
        ms = figures.mean_ms if figures.p50_ms is None else figures.p50_ms
        found[number.group(1)] = ms
    return found
