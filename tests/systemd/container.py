"""systemd as the first process of a container, over a copy-on-write view of this machine's files: units really run.

The container shares the network of this machine, so that what a unit talks to can run in the test. Its mounts live in a
namespace of their own and its processes die with it: whatever happens to the test, nothing is left.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.needs import require

BOOT_SECONDS = 60.0
COMMAND_SECONDS = 60.0
LOOK_SECONDS = 1.0
STOP_SECONDS = 20.0
TARGET = "bare.target"
MASKED = ("network-online.target", "systemd-timesyncd.service")
"""What the machine may have turned on and the tests do not need."""
CGROUPS = tuple(map(Path, ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")))
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}

START = f"""
set -e
folder=$1; machine=$2; shift 2
mount -t tmpfs -o mode=755 tmpfs "$folder/view"
mkdir "$folder/view/changes" "$folder/view/work" "$folder/view/root"
for layer in "$folder/files" "$@"; do cp -a "$layer/." "$folder/view/changes/"; done
mount -t overlay -o "lowerdir=/,upperdir=$folder/view/changes,workdir=$folder/view/work" overlay "$folder/view/root"
exec systemd-nspawn --directory="$folder/view/root" --machine="$machine" --console=pipe --settings=no \\
    --link-journal=no --resolv-conf=off --timezone=off --register=no --keep-unit --notify-ready=yes \\
    /lib/systemd/systemd --unit={TARGET}
"""


class Result(NamedTuple):
    """How a command ended and what it wrote."""

    code: int
    output: str
    errors: str


class Container:
    """A running container.

    Args:
        leader: Its first process, as this machine numbers it.
    """

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self._root = Path(f"/proc/{leader}/root")

    async def run(self, *command: str, code: int | None = 0, seconds: float = COMMAND_SECONDS) -> Result:
        """Run a command as root and return what came of it.

        Raises:
            AssertionError: Where it ends with another code; with None any is taken.
        """
        process = await asyncio.create_subprocess_exec(
            *("nsenter", f"--target={self._leader}", "--all", "--", *command),
            env=ENVIRONMENT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(seconds):
                output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        result = Result(process.returncode, output.decode(), errors.decode())
        assert code in {None, result.code}, (command, result)
        return result

    def path(self, inside: str) -> Path:
        """Return where this machine finds a file of the container."""
        return self._root / inside.lstrip("/")

    def write(self, inside: str, text: str, mode: int = 0o644) -> None:
        """Write a file, and the folders above it."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode)
        path.chmod(mode)
        path.write_text(text)

    def remove(self, inside: str) -> None:
        """Remove a folder, if it is there."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.path(inside))


def require_container() -> None:
    """Skip the test where there can be no container."""
    require("root", found=os.geteuid() == 0, hint="mounts and namespaces need it")
    for program, package in (("systemd-nspawn", "systemd-container"), ("setpriv", "util-linux")):
        require(program, found=shutil.which(program), hint=f"apt-get install {package}")


@contextmanager
def booted(folder: Path, layers: list[Path]) -> Iterator[Container]:
    """Boot a container whose files are those of this machine, with ``folder/files`` and then ``layers`` laid over them.

    Args:
        folder: An empty folder, but for ``files``.
        layers: Folders with more files, whose owners and modes are kept.
    """
    _prepare(folder)
    machine = f"refreshd-test-{os.getpid()}"
    with _control_groups(machine), (folder / "console").open("wb") as console:
        with _listening(f"{machine}-ready") as ready:
            process = subprocess.Popen(
                [*_command(folder, machine), *map(str, layers)],
                env={**ENVIRONMENT, "NOTIFY_SOCKET": f"@{machine}-ready"},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                preexec_fn=lambda: _join(machine),  # noqa: PLW1509 - it opens and writes files, and takes no lock
            )
            try:
                _wait_until_ready(ready, process, folder / "console")
            except BaseException:
                _end(process)
                raise
        try:
            yield Container(_leader(process))
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the container, and wait until none of its processes is left."""
    inside = psutil.Process(process.pid).children(recursive=True) if process.returncode is None else []
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(inside, timeout=STOP_SECONDS)
    assert alive == []


def _prepare(folder: Path) -> None:
    (folder / "view").mkdir()
    files = folder / "files"
    units = files / "etc" / "systemd" / "system"
    units.mkdir(parents=True, exist_ok=True)
    files.chmod(0o755)  # it becomes the root
    (files / "etc" / "fstab").touch()
    (units / TARGET).write_text(
        "[Unit]\nRequires=sysinit.target\nWants=dbus.socket\nAfter=sysinit.target dbus.socket\n"
    )
    for name in MASKED:
        (units / name).symlink_to("/dev/null")


def _command(folder: Path, machine: str) -> list[str]:
    """Return what starts nspawn, as the first process of a namespace: the kernel ends all that is in it with it.

    The kernel ends nspawn together with `unshare`, and that together with this process, however it ends.
    """
    namespaces = ["--mount", "--propagation=private", "--pid", "--mount-proc", "--fork", "--kill-child"]
    tied = ["setpriv", "--pdeathsig=KILL", "unshare", *namespaces]
    return [*tied, "/bin/sh", "-c", START, "sh", str(folder), machine]


@contextmanager
def _control_groups(name: str) -> Iterator[None]:
    """Keep a group of the container's own in every hierarchy that systemd uses."""
    groups = [root / name for root in CGROUPS if (root / "cgroup.procs").exists()]
    for group in groups:
        group.mkdir()
    try:
        yield
    finally:
        for group in groups:
            for path in sorted(group.rglob("*/"), reverse=True):
                path.rmdir()
            group.rmdir()


def _join(name: str) -> None:
    for root in CGROUPS:
        if (root / name).is_dir():
            (root / name / "cgroup.procs").write_text("0")


@contextmanager
def _listening(name: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}")
        listener.settimeout(LOOK_SECONDS)
        yield listener


def _wait_until_ready(ready: socket.socket, process: subprocess.Popen[bytes], console: Path) -> None:
    """Wait until the container is up; nobody may listen for longer, or nspawn waits for its messages to be read."""
    told = b""
    deadline = time.monotonic() + BOOT_SECONDS
    while b"READY=1" not in told.splitlines():
        with suppress(TimeoutError):
            told = ready.recv(4096)
        is_over = process.poll() is not None or time.monotonic() > deadline
        assert not is_over, f"no container ({process.returncode}): {console.read_text()}"


def _leader(process: subprocess.Popen[bytes]) -> int:
    """Return the first process of the container: number 1 in a namespace within the namespace of nspawn."""
    for each in psutil.Process(process.pid).children(recursive=True):
        numbers = re.search(r"^NSpid:\t(.+)$", Path(f"/proc/{each.pid}/status").read_text(), re.MULTILINE)
        if numbers and len(numbers[1].split()) > 2 and numbers[1].split()[-1] == "1":
            return each.pid
    raise AssertionError("the container has no first process")
