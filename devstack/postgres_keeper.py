"""The keeper: the small process that owns an embedded PostgreSQL, and leaves nothing of it behind.

It runs in a session of its own, so that Ctrl-C in a terminal does not reach it. It reads commands, a JSON object a
line, from its standard input, and answers each with a JSON object on its standard output:

- ``{"command": "create", "temporary_folder", "binaries", "password", "settings"}``: a new cluster, running;
- ``{"command": "restart", "mode"}``: stopped (``fast`` or ``immediate``) and started again on the same port;
- ``{"command": "stop", "mode"}``: stopped and removed; ends the keeper and has no answer.

An answer is ``{"folder", "port", "postmaster_pid"}`` or ``{"error"}``. A ``create`` that fails ends the keeper.

However the keeper ends, it first stops the server and removes the folder: at ``stop``, at the end of its input, when
the parent process is gone, at SIGTERM, or on an error of its own. It takes no notice of SIGINT and SIGHUP. Should it be
killed, the server stops by itself where ``setpriv`` is installed.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from devstack.postgres_cluster import Cluster, ClusterError, free_ports, unprivileged_identity

FOLDER_PREFIX = "refreshd-postgres-"
PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); from devstack.postgres_keeper import main; main(int(sys.argv[2]))"
)
"""What the keeper's Python runs. That is isolated, and finds this package by no other means."""


def start_keeper(errors: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a keeper process that serves this process; it writes a crash of its own into ``errors``."""
    root = str(Path(__file__).resolve().parents[1])
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", PROGRAM, root, str(os.getpid())],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        cwd="/",
        start_new_session=True,
    )


class Keeper:
    """Carries out the commands of one parent process, on at most one cluster."""

    def __init__(self, commands: int, answers: int, parent_pid: int) -> None:
        self._commands = commands
        self._answers = answers
        self._signals = listen_for_signals()
        self._sources = [self._commands, self._signals]
        self._parent = -1
        with contextlib.suppress(OSError):  # an old kernel, or the parent is gone, which the end of input tells too
            self._parent = os.pidfd_open(parent_pid)
            self._sources.append(self._parent)
        self._cluster: Cluster | None = None

    def run(self) -> None:
        """Serve until there is a reason to end, then leave nothing behind."""
        mode = "fast"
        try:
            for command in self._incoming():
                if command["command"] == "stop":
                    mode = command["mode"]
                    break
                if not self._answer(command):
                    break
        finally:
            if self._cluster:
                self._cluster.remove(mode)

    def _incoming(self) -> Iterator[dict[str, Any]]:
        """Yield commands until the input ends, the parent is gone, or SIGTERM."""
        buffer = b""
        while True:
            ready, _, _ = select.select(self._sources, [], [])
            if self._parent in ready:
                return
            if self._signals in ready and signal.SIGTERM in os.read(self._signals, 4096):
                return
            if self._cluster:
                self._cluster.reap()
            if self._commands in ready:
                chunk = os.read(self._commands, 65536)
                if not chunk:
                    return
                *lines, buffer = (buffer + chunk).split(b"\n")
                yield from map(json.loads, lines)

    def _answer(self, command: dict[str, Any]) -> bool:
        """Carry out one command and answer it; tell whether there is anything left to serve."""
        answer: dict[str, Any]
        try:
            answer = self._carry_out(command)
        except (ClusterError, OSError, subprocess.SubprocessError) as error:
            answer = {"error": str(error)}
        try:
            os.write(self._answers, json.dumps(answer).encode() + b"\n")
        except BrokenPipeError:
            return False
        return "error" not in answer or command["command"] == "restart"

    def _carry_out(self, command: dict[str, Any]) -> dict[str, Any]:
        if command["command"] == "create":
            identity = unprivileged_identity()
            folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=command["temporary_folder"]))
            self._cluster = Cluster(folder, Path(command["binaries"]), identity)
            self._cluster.create(command["password"], command["settings"])
            self._cluster.start(free_ports())
        elif self._cluster:
            self._cluster.shut_down(command["mode"])
            self._cluster.start(itertools.repeat(self._cluster.port))
        assert self._cluster
        return {
            "folder": str(self._cluster.folder),
            "port": self._cluster.port,
            "postmaster_pid": self._cluster.postmaster_pid,
        }


def listen_for_signals() -> int:
    """Return a descriptor that becomes readable at a signal, and yields its number.

    The signals have handlers, which do nothing, rather than being ignored, since child processes would inherit that.
    """
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return reader


def main(parent_pid: int) -> None:
    """Keep one cluster for a parent process."""
    os.chdir("/")
    os.umask(0o022)
    Keeper(sys.stdin.fileno(), sys.stdout.fileno(), parent_pid).run()
