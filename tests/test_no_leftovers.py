"""The demo, as a newcomer runs it: it ends by itself, tells the truth, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from devstack.daemon_process import REPOSITORY


def start_demo(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start the demo in its own process group, with a temporary folder of its own."""
    folder.chmod(0o755)
    return subprocess.Popen(
        [sys.executable, "-m", "devstack.demo", "--viewers", "5", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def wait_for_line(process: subprocess.Popen[bytes], text: bytes) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"the demo ended without saying {text!r}")


def processes_of(folder: Path) -> list[psutil.Process]:
    """Return the processes whose environment or command line names the folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder) in " ".join([*process.cmdline(), process.environ().get("TMPDIR", "")]):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def assert_nothing_left(folder: Path, process: subprocess.Popen[bytes]) -> None:
    _, alive = psutil.wait_procs([p for p in processes_of(folder) if p.pid != process.pid], timeout=30)
    assert alive == []
    assert list(folder.iterdir()) == []


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo")
    root = Path(tempfile.gettempdir())
    for each in (path, *(parent for parent in path.parents if root in parent.parents)):
        each.chmod(0o755)  # PostgreSQL runs as another user where we are root
    return path


def test_a_short_demo_writes_a_report_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"

    process = start_demo(folder, "--seconds", "5", "--report", str(report))
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 0, output.decode()
    told = json.loads(report.read_text())
    assert told["viewers"] >= 5
    assert {"profile", "quote"} <= set(told["data_types"])
    assert told["upstream_calls"] > 0
    assert told["errors"] == []
    assert_nothing_left(folder, process)


def test_a_killed_demo_leaves_nothing_either(folder: Path) -> None:
    process = start_demo(folder)
    wait_for_line(process, b"Ctrl-C ends everything")
    assert len(processes_of(folder)) > 2

    process.kill()
    process.communicate(timeout=30)

    assert_nothing_left(folder, process)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_ends_the_demo_cleanly(folder: Path, number: signal.Signals) -> None:
    process = start_demo(folder)
    wait_for_line(process, b"Ctrl-C ends everything")

    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=20)

    assert process.returncode == 0, output.decode()
    assert_nothing_left(folder, process)
