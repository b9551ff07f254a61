"""The `adb` command: the Android devices that are connected, and commands on them."""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence

from layernas_tf.core.errors import UserError

FOLDER = "/data/local/tmp"
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
