"""Times .tflite files on Android devices, with `adb` and TFLite's `benchmark_model`."""

from __future__ import annotations

import dataclasses
import os
import re
import secrets
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Generator, Sequence

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

_FOLDER = "/data/local/tmp"
"""The one folder that a shell user may write to and execute from."""

_STATES = {
    "unauthorized": "accept this computer's key on the device's screen",
    "offline": "plug it in again, or restart it",
    "no permissions": "this user may not open the USB device: see adb's udev rules",
}


@dataclasses.dataclass(frozen=True)
class Device:
    """A device that is connected and ready.

    Example: `Device("R58M", "SM_G973F", "12")`.

    Attributes:
      serial: Serial number, as `adb devices` lists it.
      model: The maker's name for the device.
      android: Version of Android.
    """

    serial: str
    model: str
    android: str

    @property
    def label(self) -> str:
        """The device's name in tables."""
        return f"{self.model} ({self.serial}), Android {self.android}"


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


class Adb:
    """The `adb` command.

    Example:
      adb = Adb()
      (device,) = adb.choose()
      adb.shell(device.serial, "uptime")
    """

    def __init__(self, command: str = "adb"):
        path = shutil.which(command)
        if path is None:
            raise UserError(
                f"there is no command {command!r}: install Android's platform tools "
                "(Debian: apt-get install adb), or name it with --adb"
            )
        self._path = path

    def run(self, *arguments: str, serial: str = "", timeout: float = 120.0) -> str:
        """Runs one command; returns what it prints.

        Raises:
          UserError: If it fails, or takes longer than `timeout` seconds.
        """
        chosen = ("-s", serial) if serial else ()
        what = f"adb {' '.join(arguments[:2])}"
        try:
            done = subprocess.run(
                [self._path, *chosen, *arguments],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise UserError(f"{what}: no answer in {timeout:g} s") from None
        if done.returncode:
            lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise UserError(f"{what}: {lines[-1] if lines else 'failed'}")
        return done.stdout

    def shell(self, serial: str, command: str, timeout: float = 120.0) -> str:
        """Runs a command on a device; returns what it prints on stdout and stderr.

        Raises:
          UserError: If it fails.
        """
        text, code = self.shell_code(serial, command, timeout)
        if code != "0":
            raise UserError(
                f"{serial}: {shlex.split(command)[0]} failed: "
                f"{' '.join(text.split())[-200:] or 'it printed nothing'}"
            )
        return text

    def shell_code(
        self, serial: str, command: str, timeout: float = 120.0
    ) -> tuple[str, str]:
        """Runs a command on a device; returns its output and its exit code as text.

        Raises:
          UserError: If the device does not answer.
        """
        # Old devices do not hand on the exit code.
        printed = self.run(
            "shell", f"{command} 2>&1; echo exit=$?", serial=serial, timeout=timeout
        )
        text, _, code = printed.rpartition("exit=")
        return text, code.strip()

    def devices(self) -> dict[str, str]:
        """The state of every connected device, by serial."""
        lines = self.run("devices", "-l").splitlines()
        found = {}
        for line in lines:
            match = re.match(r"(\S+)\s+(no permissions|\w+)", line)
            if match and not line.startswith(("List of devices", "*")):
                found[match.group(1)] = match.group(2)
        return found

    def choose(self, serials: Sequence[str] = ()) -> list[Device]:
        """The devices with these serials; without serials, the only one connected.

        Raises:
          UserError: If there is none, several and none named, or one is not ready.
        """
        states = self.devices()
        if not states:
            raise UserError(
                "no Android device: connect one, and switch on USB debugging in its "
                "developer options (adb devices lists none)"
            )
        if not serials and len(states) > 1:
            raise UserError(
                f"{len(states)} devices are connected: say --serial=... , one or more "
                f"of {', '.join(states)}"
            )
        chosen = list(dict.fromkeys(serials)) or list(states)
        for serial in chosen:
            if serial not in states:
                raise UserError(
                    f"no device {serial!r} is connected: expected one of "
                    f"{', '.join(states)}"
                )
            state = states[serial]
            if state != "device":
                advice = _STATES.get(state, "expected the state 'device'")
                raise UserError(f"device {serial} is {state}: {advice}")
        return [
            Device(
                serial,
                self.shell(serial, "getprop ro.product.model").strip() or "unknown",
                self.shell(serial, "getprop ro.build.version.release").strip() or "?",
            )
            for serial in chosen
        ]


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
    command = Adb(adb)
    first = True
    for device in command.choose(serials):
        folder = f"{_FOLDER}/layernas_tf_{secrets.token_hex(4)}"
        tool, graph = f"{folder}/benchmark_model", f"{folder}/model.tflite"
        try:
            command.shell(device.serial, f"mkdir -p {folder}")
            for source, target in ((benchmark_model, tool), (path, graph)):
                command.run("push", source, target, serial=device.serial, timeout=600)
            command.shell(device.serial, f"chmod 755 {tool}")
            for delegate in delegates:
                for count in threads:
                    if not first:
                        sleep(cool_down)
                    first = False
                    line = (
                        f"{tool} --graph={graph} --num_threads={count} "
                        f"--num_runs={runs} --warmup_runs={warmup} "
                        f"--enable_op_profiling={str(profile).lower()} "
                        f"--report_peak_memory_footprint=true {DELEGATES[delegate]}"
                    )
                    printed, code = command.shell_code(device.serial, line, 1200)
                    output, error = measured(printed, code, delegate)
                    if profile and output is not None and not output.operators:
                        error = "benchmark_model printed no times of operators"
                        output = None
                    yield DeviceRun(device, delegate, count, output, error)
        finally:
            _remove(command, device.serial, folder)


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


def _remove(command: Adb, serial: str, folder: str) -> None:
    try:
        command.shell(serial, f"rm -rf {folder}")
    except UserError:
        # Unplugged: the first error says more than this one would.
        pass
