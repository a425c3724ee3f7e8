"""A temporary PostgreSQL cluster: its folder, its server process, and the removal of both.

The keeper runs this, with nothing but the standard library. Programs of PostgreSQL see none of our environment and
descriptors; as root, they run as a user without rights.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

UNPRIVILEGED_USERS = ("nobody", "postgres")
PROGRAMS = ("initdb", "pg_isready", "postgres")
STOP_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
STOP_SECONDS = 10.0
READY_SECONDS = 30.0
INITDB_SECONDS = 120.0
PROBE_SECONDS = 5.0
POLL_SECONDS = 0.01
PORT_ATTEMPTS = 5
LOWEST_PORT = 10_240
LONGEST_SOCKET_PATH_BYTES = 107
LOG_NAME = "server.log"
PORT_TAKEN = "could not create any TCP/IP sockets"
SHARED_MEMORY_LINE, STATUS_LINE = 6, 7
"""Lines of ``postmaster.pid``, counted from 0 (PostgreSQL's ``utils/pidfile.h`` counts from 1)."""


class ClusterError(Exception):
    """The server could not be created or started. The message carries the end of its log."""


class Cluster:
    """A PostgreSQL cluster in a temporary folder, and its server process.

    The folder belongs to whoever runs this; only ``data`` and ``sockets`` in it belong to the user that the server
    runs as, which is another one when this is root.
    """

    def __init__(self, folder: Path, binaries: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self.data_folder = folder / "data"
        self.port = 0
        self._binaries = binaries
        self._identity = identity
        self._environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": "/nonexistent"}
        if "LD_LIBRARY_PATH" in os.environ:
            self._environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        self._settings: dict[str, str] = {}
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def postmaster_pid(self) -> int:
        """The process id of the server's first process, 0 before the first start."""
        return self._server.pid if self._server else 0

    def create(self, password: str, settings: Mapping[str, str]) -> None:
        """Lay out the folder and run initdb. The superuser is ``postgres``, with ``password``."""
        self._settings = {"timezone": "UTC", "log_timezone": "UTC", "dynamic_shared_memory_type": "mmap", **settings}
        password_file = self.folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(password)
        (self.folder / "sockets").mkdir(mode=0o700)
        self.data_folder.mkdir(mode=0o700)
        if self._identity:
            self.folder.chmod(0o711)
            for path in (password_file, self.folder / "sockets", self.data_folder):
                os.chown(path, self._identity["user"], self._identity["group"])
            if not self._can_run_binaries():
                self._copy_installation()
        self._run_initdb(password_file)
        password_file.unlink()

    def start(self, ports: Iterable[int]) -> None:
        """Start the server on the first of ``ports`` that it can have, and wait until it takes connections."""
        for port in itertools.islice(ports, PORT_ATTEMPTS):
            self.port = port
            self._write_configuration()
            if self._launch():
                return
        raise ClusterError(f"no free port for the server\n{tail(self.folder / LOG_NAME)}")

    def shut_down(self, mode: str) -> None:
        """Stop the server by ``mode``, harder when it takes too long; no process of it is left."""
        for pid in processes_of(self.folder):
            send_signal(pid, signal.SIGCONT)  # a frozen process acts on no other signal
        if self._server:
            for number in dict.fromkeys((STOP_SIGNALS[mode], signal.SIGQUIT, signal.SIGKILL)):
                self._server.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._server.wait(STOP_SECONDS)
                    break
        kill_processes_of(self.folder)

    def reap(self) -> None:
        """Collect the exit status of a server that has ended, so that no zombie stays."""
        if self._server:
            self._server.poll()

    def remove(self, mode: str = "fast") -> None:
        """Stop the server and remove all there is of it."""
        self.shut_down(mode)
        remove_remains(self.folder)

    def _can_run_binaries(self) -> bool:
        """Tell whether the server's user may run the programs where they are."""
        command: list[str | Path] = [self._binaries / "postgres", "--version"]
        try:
            done = subprocess.run(
                command,
                check=False,
                capture_output=True,
                env=self._environment,
                timeout=PROBE_SECONDS,
                **self._identity,
            )
        except PermissionError:
            return False
        return done.returncode == 0

    def _copy_installation(self) -> None:
        """Copy the programs, libraries and data files to where the server's user may read them."""
        copy = self.folder / "installation"
        ignored = shutil.ignore_patterns("include", "pgxs", "pkgconfig", "doc", "man", "*.a")
        shutil.copytree(self._binaries.parent, copy, symlinks=True, ignore=ignored)
        for parent, folders, files in os.walk(copy):
            for name in (".", *folders, *files):
                os.chown(Path(parent, name), self._identity["user"], self._identity["group"], follow_symlinks=False)
        self._binaries = copy / self._binaries.name

    def _run_initdb(self, password_file: Path) -> None:
        command: list[str | Path] = [self._binaries / "initdb", "--pgdata", self.data_folder, "--username=postgres"]
        command += [f"--pwfile={password_file}", "--auth=scram-sha-256"]
        command += ["--locale=C.UTF-8", "--encoding=UTF8", "--no-sync", "--no-instructions"]
        process = self._spawn(command)
        if process.wait(INITDB_SECONDS) != 0:
            raise ClusterError(f"initdb failed\n{tail(self.folder / LOG_NAME)}")

    def _write_configuration(self) -> None:
        """Write the settings on top of those that initdb chose."""
        sockets = self.folder / "sockets"
        path_bytes = len(os.fsencode(sockets / f".s.PGSQL.{self.port}"))
        fixed = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(sockets) if path_bytes <= LONGEST_SOCKET_PATH_BYTES else "",
        }
        lines = [f"{name} = {quoted(value)}\n" for name, value in (self._settings | fixed).items()]
        text = f"include {quoted('data/postgresql.conf')}\n{''.join(lines)}"
        (self.folder / "postgresql.conf").write_text(text)

    def _launch(self) -> bool:
        """Start the server and wait until it is ready; tell False when another process has the port."""
        log = self.folder / LOG_NAME
        log_start = log.stat().st_size
        configuration = f"config_file={self.folder / 'postgresql.conf'}"
        command: list[str | Path] = [*death_signal_prefix(), self._binaries / "postgres", "-D", self.data_folder]
        self._server = self._spawn([*command, "-c", configuration])
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            try:
                self._server.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                if self._is_ready():
                    return True
            else:
                if PORT_TAKEN in log.read_bytes()[log_start:].decode(errors="replace"):
                    return False
                raise ClusterError(f"the server ended while it was starting\n{tail(log)}")
        self.shut_down("immediate")
        raise ClusterError(f"the server was not ready within {READY_SECONDS:.0f} s\n{tail(log)}")

    def _is_ready(self) -> bool:
        """Tell whether this very server says that it is ready, and a connection attempt agrees."""
        lines = pid_file_lines(self.data_folder)
        if lines[:1] != [str(self.postmaster_pid)] or lines[STATUS_LINE : STATUS_LINE + 1] != ["ready"]:
            return False
        command: list[str | Path] = [self._binaries / "pg_isready", "--quiet", "--host=127.0.0.1"]
        command += [f"--port={self.port}", "--username=postgres", "--dbname=postgres"]
        return self._spawn(command).wait(PROBE_SECONDS) == 0

    def _spawn(self, command: list[str | Path]) -> subprocess.Popen[bytes]:
        """Start a program of PostgreSQL as the server's user, with nothing of ours but the log."""
        with (self.folder / LOG_NAME).open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self._environment,
                process_group=0,
                **self._identity,
            )


def unprivileged_identity() -> dict[str, Any]:
    """Return whom the server runs as, as arguments of ``subprocess``: nothing to change unless this is root."""
    if os.geteuid() != 0:
        return {}
    for name in UNPRIVILEGED_USERS:
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise ClusterError(f"PostgreSQL does not run as root, and no user of {UNPRIVILEGED_USERS} exists to run it as")


def free_ports() -> Iterator[int]:
    """Yield ports that are free right now.

    They lie below the range that the kernel gives to outgoing connections, where there is room: from within it, a
    client that connects again and again while the server restarts could come to hold the server's port itself.
    """
    first_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        wanted = random.randrange(LOWEST_PORT, first_outgoing) if first_outgoing > 2 * LOWEST_PORT else 0
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            port = probe.getsockname()[1]
        yield port


def death_signal_prefix() -> list[str]:
    """Return the command that makes the server stop fast when the keeper dies, nothing where it is not to be had."""
    setpriv = shutil.which("setpriv")
    if not setpriv:
        return []
    prefix = [setpriv, "--pdeathsig", "INT"]
    done = subprocess.run([*prefix, "true"], check=False, capture_output=True, timeout=PROBE_SECONDS)
    return prefix if done.returncode == 0 else []  # busybox has one that does not know the option


def quoted(value: str) -> str:
    """Return ``value`` as a string of postgresql.conf."""
    escaped = value.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n")
    return f"'{escaped}'"


def tail(path: Path, lines: int = 40) -> str:
    """Return the last lines of a text file, nothing when there is no such file."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def pid_file_lines(data_folder: Path) -> list[str]:
    """Return the lines of the server's ``postmaster.pid``, stripped; none when there is no such file."""
    try:
        text = (data_folder / "postmaster.pid").read_text()
    except FileNotFoundError:
        return []
    return [line.strip() for line in text.splitlines()]


def processes_of(folder: Path) -> list[int]:
    """Return the ids of PostgreSQL's live processes in a cluster's folder, where every one of them works."""
    pids = []
    folder = folder.resolve()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            program = (entry / "comm").read_text().strip()
            if program in PROGRAMS and (entry / "cwd").readlink().is_relative_to(folder):
                pids.append(int(entry.name))
    return pids


def send_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def kill_processes_of(folder: Path) -> None:
    """Kill what a server has left behind, such as a busy backend that did not see its postmaster being killed."""
    while pids := processes_of(folder):
        for pid in pids:
            send_signal(pid, signal.SIGKILL)
        time.sleep(POLL_SECONDS)


def remove_remains(folder: Path) -> None:
    """Remove a cluster whose server has ended or may be killed: processes, shared memory, files."""
    kill_processes_of(folder)
    shared_memory = pid_file_lines(folder / "data")[SHARED_MEMORY_LINE : SHARED_MEMORY_LINE + 1]
    if shared_memory and shared_memory[0]:  # the file outlives the server only where that was killed
        _, segment = shared_memory[0].split()
        ctypes.CDLL(None).shmctl(int(segment), 0, None)  # 0 is IPC_RMID
    shutil.rmtree(folder)
