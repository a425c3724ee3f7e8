"""An embedded PostgreSQL for demos, tests and benchmarks: a real server in a temporary folder, on a port of its own.

Everything here blocks: a start takes most of a second, a stop a tenth. Code that runs in an event loop calls it through
``asyncio.to_thread``; a server may be used from any thread.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self
from urllib.parse import quote

from devstack.postgres_binaries import PostgresNotFoundError, find_binaries
from devstack.postgres_cluster import LOG_NAME, remove_remains, tail
from devstack.postgres_keeper import start_keeper

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "PostgresNotFoundError", "StopMode", "find_binaries"]

KEEPER_SECONDS = 60.0
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
SUPERUSER = "postgres"

StopMode = Literal["fast", "immediate"]
"""``fast`` rolls back and shuts down in order; ``immediate`` is a crash, and the next start recovers from it."""


class EmbeddedPostgresError(RuntimeError):
    """The server could not be started, or is lost. The message carries the end of its log."""


class EmbeddedPostgres:
    """A running PostgreSQL that is gone without a trace after `stop`, the ``with`` block, or the end of the process.

    The end of the process may be of any kind, SIGKILL included: a keeper process watches over it. The server listens
    on 127.0.0.1 alone, and asks every user for a password.
    """

    def __init__(self, keeper: subprocess.Popen[bytes], keeper_errors: IO[bytes]) -> None:
        """Use `start` instead."""
        self.password = secrets.token_urlsafe(24)
        self._keeper = keeper
        self._keeper_errors = keeper_errors
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._port = 0
        self._postmaster_pid = 0

    @classmethod
    def start(
        cls, *, durable: bool = True, settings: Mapping[str, str] | None = None, binaries: Path | None = None
    ) -> Self:
        """Create a cluster, start its server, and return when that takes connections.

        Args:
            durable: False for tests, where speed matters. A server that crashes, or is restarted ``immediate``, may
                then lose its last commits; with the setting ``synchronous_commit`` at ``on`` it does not.
            settings: lines of postgresql.conf, such as ``{"max_connections": "20"}``.
            binaries: the folder of PostgreSQL's programs, by default what `find_binaries` returns.

        Raises:
            PostgresNotFoundError: there is no PostgreSQL to start.
            EmbeddedPostgresError: it did not start.
        """
        binaries = (binaries or find_binaries()).absolute()
        keeper_errors = tempfile.TemporaryFile()  # noqa: SIM115 - stop() closes it
        server = cls(start_keeper(keeper_errors), keeper_errors)
        try:
            server._ask(
                "create",
                temporary_folder=tempfile.gettempdir(),
                binaries=str(binaries),
                password=server.password,
                settings={**({} if durable else NOT_DURABLE), **(settings or {})},
            )
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def port(self) -> int:
        """The TCP port, the same for as long as this lives."""
        return self._port

    @property
    def folder(self) -> Path:
        """The temporary folder of everything: data, log, and (in ``sockets``) the Unix socket."""
        assert self._folder
        return self._folder

    @property
    def data_folder(self) -> Path:
        """The data folder of the cluster (PGDATA)."""
        return self.folder / "data"

    @property
    def postmaster_pid(self) -> int:
        """The process id of the server's first process. A restart changes it."""
        return self._postmaster_pid

    def url(self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        """Return a ``postgresql://`` URL, by default with the password of the superuser."""
        login = f"{quote(user, safe='')}:{quote(password or self.password, safe='')}"
        return f"postgresql://{login}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop the server and start it again on the same port and data; a server that was killed is started again.

        Raises:
            EmbeddedPostgresError: it did not start again; it may be tried once more, or stopped.
        """
        self._ask("restart", mode=mode)

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server and remove its folder. Does nothing when that has been done."""
        assert self._keeper.stdin
        assert self._keeper.stdout
        with self._lock:
            if self._keeper.stdin.closed:
                return
            with contextlib.suppress(BrokenPipeError):
                self._send("stop", mode=mode)
            self._keeper.stdin.close()
            try:
                self._keeper.wait(KEEPER_SECONDS)
            except subprocess.TimeoutExpired:
                self._keeper.kill()
                self._keeper.wait()
            self._keeper.stdout.close()
            self._keeper_errors.close()
            if self._folder and self._folder.exists():  # somebody killed the keeper
                remove_remains(self._folder)

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines of the server's log, nothing once it is stopped."""
        return tail(self.folder / LOG_NAME, lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _send(self, command: str, **arguments: Any) -> None:
        assert self._keeper.stdin
        self._keeper.stdin.write(json.dumps({"command": command, **arguments}).encode() + b"\n")

    def _ask(self, command: str, **arguments: Any) -> None:
        """Have the keeper carry out a command, and take down what it says of the server."""
        assert self._keeper.stdin
        assert self._keeper.stdout
        with self._lock:
            if self._keeper.stdin.closed:
                raise EmbeddedPostgresError("the server has been stopped")
            with contextlib.suppress(BrokenPipeError):
                self._send(command, **arguments)
            answer = json.loads(self._keeper.stdout.readline() or "null")
            if answer is None:
                self._keeper_errors.seek(0)
                errors = self._keeper_errors.read().decode(errors="replace")
                raise EmbeddedPostgresError(f"the keeper of the server has ended\n{errors}".rstrip())
            if "error" in answer:
                raise EmbeddedPostgresError(answer["error"])
            self._folder = Path(answer["folder"])
            self._port = answer["port"]
            self._postmaster_pid = answer["postmaster_pid"]
