"""A PostgreSQL server for a test, in a temporary folder."""

from __future__ import annotations

import contextlib
import glob
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator


def programs() -> pathlib.Path | None:
    """The folder of PostgreSQL's programs; None if it is not installed."""
    for folder in sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True):
        if os.path.exists(os.path.join(folder, "initdb")):
            return pathlib.Path(folder)
    found = shutil.which("initdb")
    return pathlib.Path(os.path.realpath(found)).parent if found else None


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """Starts a server; yields the URL of an empty database, and stops the server."""
    folder = programs()
    # PostgreSQL does not run as root; Debian's package makes this user.
    user = {"user": "postgres"} if os.geteuid() == 0 else {}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as temporary:
        data = os.path.join(temporary, "data")
        os.mkdir(data)
        if user:
            os.chmod(temporary, 0o755)
            shutil.chown(data, "postgres")

        def call(program: str, *arguments: str) -> None:
            log = subprocess.DEVNULL
            command = [str(folder / program), "-D", data, *arguments]
            subprocess.run(
                command, check=True, stdout=log, stderr=log, cwd=data, **user
            )

        call("initdb", "--username=tester", "--auth=trust", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -k {data}"
        log = os.path.join(data, "log")
        call("pg_ctl", "-w", "-t", "300", "-l", log, "-o", options, "start")
        try:
            yield f"postgresql://tester@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "-w", "-m", "immediate", "stop")
