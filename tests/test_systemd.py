"""What goes over the notification socket."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from daemon.systemd import LONGEST_STATUS, Notifier


@pytest.fixture(params=["path", "abstract"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@refreshd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address.replace("@", "\0") if address.startswith("@") else address)
        receiver.settimeout(2)
        yield address, receiver


def test_everything_arrives_word_for_word(server: tuple[str, socket.socket]) -> None:
    address, receiver = server
    with closing(Notifier(address)) as notifier:
        notifier.ready("works\nREADY=0")
        notifier.status("x" * 999)
        notifier.alive()
        notifier.reloading()
        notifier.stopping()

    ready, status, alive, reloading, stopping = (receiver.recv(4_096).decode() for _ in range(5))
    assert ready == "READY=1\nSTATUS=works READY=0"  # one line, whatever a message holds
    assert status == f"STATUS={'x' * LONGEST_STATUS}"
    assert alive == "WATCHDOG=1"
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert int(reloading.rpartition("=")[2]) > 0
    assert stopping == "STOPPING=1\nSTATUS=draining"


def test_a_socket_that_is_gone_and_one_that_is_full_do_no_harm(tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver,
        closing(Notifier(str(tmp_path / "nowhere"))) as gone,
        closing(Notifier(str(tmp_path / "full"))) as full,
    ):
        receiver.bind(str(tmp_path / "full"))
        gone.alive()
        for _ in range(10_000):
            full.alive()

    Notifier(None).alive()


def test_signs_of_life_get_out_when_there_are_no_file_descriptors_left(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver,
        closing(Notifier(str(tmp_path / "notify"))) as notifier,
    ):
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(2)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            notifier.alive()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

        assert receiver.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_ours_only_when_it_is_meant_for_us(environment: dict[str, str], seconds: float | None) -> None:
    assert Notifier.from_environment(environment).watchdog_seconds == seconds
