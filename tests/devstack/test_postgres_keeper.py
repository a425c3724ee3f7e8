"""Nothing of an embedded PostgreSQL is ever left: no process, no folder, no shared memory."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from devstack import postgres_cluster
from devstack.postgres import EmbeddedPostgres, EmbeddedPostgresError, find_binaries
from devstack.postgres_keeper import FOLDER_PREFIX, start_keeper
from tests.devstack.embedded_postgres import (
    DEADLINE_SECONDS,
    Traces,
    busy_backend,
    lives,
    open_folder,
    serving_process,
    value_of,
    wait_until,
)


def traces_of(server: EmbeddedPostgres) -> Traces:
    return Traces.of(server._keeper.pid, server.folder)


def cluster_folders(folder: Path) -> list[Path]:
    return list(folder.glob(f"{FOLDER_PREFIX}*"))


def descriptor_targets(pid: int) -> set[Path]:
    """Return what the open descriptors of a process refer to."""
    return {entry.readlink() for entry in Path(f"/proc/{pid}/fd").iterdir()}


def shared_memory_segment(server: EmbeddedPostgres) -> str:
    """Return the id of the server's System V shared memory segment."""
    return postgres_cluster.pid_file_lines(server.data_folder)[postgres_cluster.SHARED_MEMORY_LINE].split()[1]


def shared_memory_segments() -> list[str]:
    """Return the ids of all System V shared memory segments of this machine."""
    return [line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]


def test_the_end_of_the_block_leaves_nothing() -> None:
    with EmbeddedPostgres.start(durable=False) as server:
        traces = traces_of(server)

    assert traces.are_gone()


def test_an_exception_in_the_block_leaves_nothing() -> None:
    server = EmbeddedPostgres.start(durable=False)
    traces = traces_of(server)

    with pytest.raises(ZeroDivisionError), server:
        raise ZeroDivisionError

    assert traces.are_gone()


def test_a_refused_setting_fails_with_the_words_of_the_server_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with open_folder() as folder:
        monkeypatch.setattr(tempfile, "tempdir", str(folder))

        with pytest.raises(EmbeddedPostgresError, match='unrecognized configuration parameter "no_such_setting"'):
            EmbeddedPostgres.start(settings={"no_such_setting": "1"})

        assert cluster_folders(folder) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_parent_leaves_nothing(number: signal.Signals) -> None:
    with serving_process() as serving:
        serving.process.send_signal(number)

        wait_until(serving.traces.are_gone)


def test_ctrl_c_leaves_nothing() -> None:
    with serving_process() as serving:
        os.killpg(serving.process.pid, signal.SIGINT)

        wait_until(serving.traces.are_gone)


def test_a_killed_parent_leaves_nothing_though_a_fork_of_it_holds_its_pipes() -> None:
    with serving_process("os.fork() or signal.pause()") as serving, ExitStack() as cleanup:
        [fork] = [child for child in psutil.Process(serving.process.pid).children() if child != serving.keeper]
        cleanup.callback(fork.kill)

        serving.process.kill()

        wait_until(serving.traces.are_gone)
        assert lives(fork)


def test_a_parent_that_ends_while_the_cluster_is_created_leaves_nothing() -> None:
    command = {"command": "create", "binaries": str(find_binaries()), "password": "secret", "settings": {}}
    with open_folder() as folder, tempfile.TemporaryFile() as errors, start_keeper(errors) as keeper:
        assert keeper.stdin
        keeper.stdin.write(json.dumps(command | {"temporary_folder": str(folder)}).encode() + b"\n")
        wait_until(lambda: cluster_folders(folder))

        keeper.stdin.close()

        assert keeper.wait(DEADLINE_SECONDS) == 0
        assert cluster_folders(folder) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_keeper_takes_no_notice_of_the_signals_of_a_terminal(number: signal.Signals) -> None:
    with EmbeddedPostgres.start(durable=False) as server:
        os.killpg(server._keeper.pid, number)

        server.restart("immediate")

        assert "received fast shutdown request" not in server.log_tail()
        assert value_of(server.url(), "select 1") == 1


def test_a_terminated_keeper_takes_the_server_along() -> None:
    with serving_process() as serving:
        serving.keeper.terminate()

        wait_until(serving.traces.are_gone)


def test_a_killed_keeper_is_reported_and_cleaned_up_after() -> None:
    server = EmbeddedPostgres.start(durable=False)
    traces = traces_of(server)
    traces.processes[0].kill()

    with pytest.raises(EmbeddedPostgresError, match="the keeper of the server has ended"):
        server.restart()
    server.stop()

    assert traces.are_gone()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_a_killed_keeper_makes_the_server_stop() -> None:
    with EmbeddedPostgres.start(durable=False) as server:
        keeper, *server_processes = traces_of(server).processes

        keeper.kill()

        wait_until(lambda: not any(map(lives, server_processes)))
        assert "received fast shutdown request" in server.log_tail()


def test_a_killed_server_with_a_busy_backend_starts_again_on_its_data() -> None:
    with EmbeddedPostgres.start(durable=False, settings={"synchronous_commit": "on"}) as server:
        value_of(server.url(), "create table survived ()")
        with busy_backend(server) as backend:
            postmaster = psutil.Process(server.postmaster_pid)
            postmaster.kill()
            wait_until(lambda: not psutil.pid_exists(postmaster.pid))
            assert lives(backend)

            server.restart()

            assert value_of(server.url(), "select to_regclass('survived')::text") == "survived"
            assert not lives(backend)


def test_a_killed_server_with_a_busy_backend_leaves_nothing() -> None:
    with EmbeddedPostgres.start(durable=False) as server, busy_backend(server) as backend:
        traces = traces_of(server)
        segment = shared_memory_segment(server)
        assert segment in shared_memory_segments()
        psutil.Process(server.postmaster_pid).kill()

        server.stop()

        assert traces.are_gone()
        assert not lives(backend)
        assert segment not in shared_memory_segments()


def test_a_frozen_server_is_stopped_without_waiting_for_it() -> None:
    with EmbeddedPostgres.start(durable=False) as server:
        _, *server_processes = traces_of(server).processes
        for process in server_processes:
            process.suspend()
        began = time.monotonic()

        server.stop()

        assert time.monotonic() - began < postgres_cluster.STOP_SECONDS


def test_neither_keeper_nor_server_holds_a_descriptor_of_the_parent() -> None:
    with socket.socket() as inherited, serving_process(pass_fds=[inherited.fileno()]) as serving:
        descriptors = Path(f"/proc/{serving.process.pid}/fd")

        held = {(descriptors / "1").readlink(), (descriptors / str(inherited.fileno())).readlink()}

        for process in serving.traces.processes:
            with suppress(FileNotFoundError):  # a worker of autovacuum may have ended
                assert not held & descriptor_targets(process.pid)
