"""A pgbouncer in front of an embedded PostgreSQL, in transaction mode: what Supabase's pooler is to the daemon.

A server connection belongs to a client for one transaction and to any other afterwards, so that whatever a client
leaves in its session is lost, or is found by somebody else.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from devstack.postgres import EmbeddedPostgres
from devstack.postgres_cluster import death_signal_prefix, free_ports, tail, unprivileged_identity

PROGRAM = "pgbouncer"
READY_SECONDS = 10.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02


class PoolerError(RuntimeError):
    """pgbouncer is not installed or did not start. The message carries the end of its log."""


def find_pooler() -> str | None:
    """Return the program, None where it is not installed; Debian has it in /usr/sbin."""
    return shutil.which(PROGRAM, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


class Pooler:
    """A running pgbouncer that is gone without a trace after the ``with`` block, or the end of the process.

    Args:
        server: Where the databases are; any of them can be reached.
        logins: Passwords by login.
        pool_size: Server connections per database and login. Fewer than clients: they must share.
    """

    def __init__(self, server: EmbeddedPostgres, logins: Mapping[str, str], *, pool_size: int = 5) -> None:
        self._server = server
        self._logins = logins
        self._pool_size = pool_size
        self._port = 0
        self._folder: Path
        self._process: subprocess.Popen[bytes]

    def through(self, url: str) -> str:
        """Return the URL of the same database and login by way of the pooler."""
        parts = urlsplit(url)
        login = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{self._port}"))

    def __enter__(self) -> Self:
        program = find_pooler()
        if program is None:
            raise PoolerError(f"{PROGRAM} is not installed (Debian: apt-get install {PROGRAM})")
        self._folder = Path(tempfile.mkdtemp(prefix="refreshd-pooler-"))
        try:
            self._start(program)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, program: str) -> None:
        self._port = next(free_ports())
        configuration = self._write_files()
        identity = unprivileged_identity()
        if identity:
            for path in (self._folder, *self._folder.iterdir()):
                os.chown(path, identity["user"], identity["group"])
        command = [*death_signal_prefix(), program, "--quiet", configuration]
        with (self._folder / "pgbouncer.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **identity)
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                self._process.wait()
                raise PoolerError(f"{PROGRAM} did not start:\n{tail(self._folder / 'pgbouncer.log')}")
            time.sleep(POLL_SECONDS)

    def _write_files(self) -> str:
        users = self._folder / "users.txt"
        users.write_text("".join(f'"{login}" "{password}"\n' for login, password in self._logins.items()))
        users.chmod(0o600)
        configuration = self._folder / "pgbouncer.ini"
        configuration.write_text(
            f"[databases]\n* = host=127.0.0.1 port={self._server.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self._port}\nunix_socket_dir =\n"
            f"auth_type = scram-sha-256\nauth_file = {users}\n"
            f"pool_mode = transaction\ndefault_pool_size = {self._pool_size}\nmax_client_conn = 1000\n"
            "server_login_retry = 0.2\nquery_wait_timeout = 30\n"
            "log_connections = 0\nlog_disconnections = 0\n"
        )
        return str(configuration)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0
