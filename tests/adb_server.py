"""An adb server with devices that are folders of this machine.

The real `adb` client talks to it: it is found through ADB_SERVER_SOCKET. Commands of
`adb shell` are run here, with the folder in place of the device's /data/local/tmp.
The protocol: packages/modules/adb, OVERVIEW.TXT, SERVICES.TXT and SYNC.TXT.
"""

from __future__ import annotations

import os
import pathlib
import socket
import socketserver
import struct
import subprocess
import threading

ROOT = "/data/local/tmp"
_VERSION = b"0029"  # of the client's protocol, hexadecimal; another is "killed"


class AdbServer:
    """A server on a free port; use it in a `with` statement.

    Attributes:
      states: State of each device by serial; the caller may change it.
      folder: Holds a folder for each device.
    """

    def __init__(self, folder: str, states: dict[str, str]):
        self.folder = pathlib.Path(folder)
        self.states = states
        self.properties = {
            "ro.product.model": "Tin Phone",
            "ro.build.version.release": "14",
        }
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Connection)
        self._server.daemon_threads = True
        self._server.adb = self

    @property
    def address(self) -> str:
        """For ADB_SERVER_SOCKET."""
        return f"tcp:127.0.0.1:{self._server.server_address[1]}"

    def root(self, serial: str) -> pathlib.Path:
        """The folder that a device sees as `ROOT`."""
        path = self.folder / serial
        path.mkdir(exist_ok=True)
        return path

    def __enter__(self) -> AdbServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        adb, serial = self.server.adb, ""
        while True:
            try:
                service = self._read(int(self._read(4), 16)).decode()
            except (ConnectionError, ValueError):
                return
            if service == "host:version":
                return self._answer(_VERSION)
            if service in ("host:devices", "host:devices-l"):
                lines = [
                    f"{name}{' ' * 15 if service.endswith('l') else chr(9)}{state}\n"
                    for name, state in adb.states.items()
                ]
                return self._answer("".join(lines).encode())
            if service.endswith(":features") or service == "host:features":
                return self._answer(b"")  # none: shell without exit codes, as of old
            if service.startswith(("host:tport:", "host:transport")):
                serial = service.rsplit(":", 1)[1]
                if serial == "any" or serial == "host:transport-any":
                    serial = next(iter(adb.states), "")
                if serial not in adb.states:
                    return self._fail(f"device '{serial}' not found")
                self.request.sendall(b"OKAY")
                if service.startswith("host:tport:"):
                    self.request.sendall(struct.pack("<Q", 1))
            elif service.startswith("shell"):
                return self._shell(serial, service.split(":", 1)[1])
            elif service.startswith("sync:"):
                self.request.sendall(b"OKAY")
                return self._sync(serial)
            else:
                return self._fail(f"unknown service {service}")

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.request.recv(size - len(data))
            if not part:
                raise ConnectionError
            data += part
        return data

    def _answer(self, payload: bytes) -> None:
        self.request.sendall(b"OKAY%04x%b" % (len(payload), payload))

    def _fail(self, message: str) -> None:
        self.request.sendall(b"FAIL%04x%b" % (len(message), message.encode()))

    def _shell(self, serial: str, command: str) -> None:
        adb = self.server.adb
        here = command.replace(ROOT, str(adb.root(serial)))
        getprop = "".join(
            f'[ "$1" = {name} ] && echo "{value}"; '
            for name, value in adb.properties.items()
        )
        done = subprocess.run(
            ["sh", "-c", f"getprop() {{ {getprop} true; }}\n{here}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        self.request.sendall(b"OKAY" + done.stdout)
        self.request.shutdown(socket.SHUT_WR)

    def _sync(self, serial: str) -> None:
        def path(name: bytes) -> str:
            return name.decode().replace(ROOT, str(self.server.adb.root(serial)))

        while True:
            kind, size = struct.unpack("<4sI", self._read(8))
            if kind == b"QUIT":
                return
            name = self._read(size)
            if kind == b"STAT":
                mode = os.stat(path(name)).st_mode if os.path.exists(path(name)) else 0
                self.request.sendall(struct.pack("<4s3I", b"STAT", mode, 0, 0))
            elif kind == b"SEND":
                target, data = path(name.rsplit(b",", 1)[0]), b""
                while True:
                    part, size = struct.unpack("<4sI", self._read(8))
                    if part == b"DONE":
                        break
                    data += self._read(size)
                pathlib.Path(target).write_bytes(data)
                self.request.sendall(struct.pack("<4sI", b"OKAY", 0))
