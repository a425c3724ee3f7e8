"""A daemon as an operator has it: under something like systemd, with HTTP, and with signals."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientConnectionError, ClientSession

from devstack.daemon_process import DaemonProcess
from devstack.stack import Stack
from tests.test_end_to_end import FAST


@dataclass
class Told:
    """What was told over the notification socket."""

    messages: list[str] = field(default_factory=list)

    async def until(self, text: str, times: int = 1, seconds: float = 20.0) -> None:
        """Wait until a message with this text has come so many times."""
        async with asyncio.timeout(seconds):
            while sum(text in message for message in self.messages) < times:  # noqa: ASYNC110 - filled by a reader
                await asyncio.sleep(0.01)


@asynccontextmanager
async def service_manager(folder: Path) -> AsyncIterator[tuple[str, Told]]:
    """Listen as systemd does; yield the address for NOTIFY_SOCKET and what is told."""
    told, loop = Told(), asyncio.get_running_loop()
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as receiver:
        receiver.bind(str(folder / "notify"))
        receiver.setblocking(False)

        async def listen() -> None:
            while True:
                told.messages.append((await loop.sock_recv(receiver, 4_096)).decode())

        listening = asyncio.ensure_future(listen())
        try:
            yield str(folder / "notify"), told
        finally:
            listening.cancel()


async def start(stack: Stack, overrides: Mapping[str, str] | None = None) -> DaemonProcess:
    """Start a daemon with short times."""
    return await stack.start_daemon({**FAST, **(overrides or {})})


async def url_of(daemon: DaemonProcess) -> str:
    """Return where it answers HTTP."""
    line = await daemon.until_event("http_listening")
    return f"http://127.0.0.1:{line['port']}"


async def ask(url: str, path: str) -> tuple[int, str]:
    """GET a path; 0 where nobody answers."""
    async with ClientSession() as client:
        try:
            async with client.get(f"{url}/{path}") as answer:
                return answer.status, await answer.text()
        except ClientConnectionError:
            return 0, ""


async def until_answer(url: str, path: str, status: int, seconds: float = 20.0) -> str:
    """Ask until the answer has this status; return its text."""
    last: Any = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                last = await ask(url, path)
                if last[0] == status:
                    return str(last[1])
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise TimeoutError(f"{path} did not answer {status}; last it said {last}") from None
