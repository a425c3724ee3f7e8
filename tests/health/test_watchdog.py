"""The sign of life for systemd, over a real socket."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing
from pathlib import Path

from daemon.contracts import Verdict
from daemon.health.watchdog import Watchdog
from daemon.systemd import Notifier
from tests.presence.stage import LogRecorder


class Judge:
    """Says what it is told to say."""

    def __init__(self) -> None:
        self.verdict = Verdict(True, "fine")
        self.line = "works"

    def alive(self) -> Verdict:
        return self.verdict

    def summary(self) -> str:
        return self.line


async def test_it_is_given_three_times_within_its_time_and_withheld_from_a_stuck_part(
    tmp_path: Path, log: LogRecorder
) -> None:
    judge, stop = Judge(), asyncio.Event()
    loop = asyncio.get_running_loop()
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver,
        closing(Notifier(str(tmp_path / "notify"), 0.3)) as notifier,
    ):
        receiver.bind(str(tmp_path / "notify"))
        receiver.setblocking(False)
        heard: list[str] = []

        async def listen() -> None:
            while True:
                heard.append((await loop.sock_recv(receiver, 4_096)).decode())

        listening = asyncio.ensure_future(listen())
        running = asyncio.ensure_future(Watchdog(notifier, judge).run(stop))
        async with asyncio.timeout(10):
            while heard.count("WATCHDOG=1") < 4:  # noqa: ASYNC110 - the socket tells nobody else
                await asyncio.sleep(0.01)
            judge.verdict, judge.line = Verdict(False, "stuck: sweep for 5 s"), "progress: stuck"
            await log.written("part_stuck")
            given = heard.count("WATCHDOG=1")
            await asyncio.sleep(0.5)
            assert heard.count("WATCHDOG=1") == given
            judge.verdict = Verdict(True, "fine")
            while heard.count("WATCHDOG=1") == given:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        stop.set()
        await running
        listening.cancel()

    assert [line for line in heard if line.startswith("STATUS=")] == ["STATUS=works", "STATUS=progress: stuck"]
    assert len(log.of("part_stuck")) == 1
    assert log.of("part_stuck")[0]["reason"] == "stuck: sweep for 5 s"
