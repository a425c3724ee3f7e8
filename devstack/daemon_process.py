"""The daemon as its own process, with its log read line by line."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

import orjson

LINES_KEPT = 10_000
STOP_SECONDS = 25.0
REPOSITORY = Path(__file__).parents[1]
INHERITED = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "TMPDIR", "REFRESHD_LOG_LEVEL")

LogLine = dict[str, Any]


class DaemonProcess:
    """A running ``refreshd run``."""

    def __init__(
        self, process: asyncio.subprocess.Process, log: IO[bytes] | None = None, secrets: Collection[str] = ()
    ) -> None:
        self._process = process
        self._log = log
        self._secrets = [secret.encode() for secret in secrets]
        self.leaks = 0
        """How many lines held a secret."""
        self._changed = asyncio.Condition()
        self._reader = asyncio.ensure_future(self._read())
        self.lines: deque[LogLine] = deque(maxlen=LINES_KEPT)
        self.events: Counter[str] = Counter()
        self.errors: deque[LogLine] = deque(maxlen=100)
        """Lines at error and above, and whatever was no log line at all."""

    @classmethod
    async def start(
        cls, environment: Mapping[str, str], log: IO[bytes] | None = None, secrets: Collection[str] = ()
    ) -> Self:
        """Start the daemon with these settings and nothing else of ours; copy what it says to ``log``.

        Args:
            environment: The settings.
            log: Gets every line as it comes.
            secrets: What no line may hold.
        """
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "devstack.die_with_parent",
                str(os.getpid()),
                sys.executable,
                "-m",
                "daemon",
                "run",
                env={**inherited, **environment},
                cwd=REPOSITORY,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                limit=2**20,
            ),
            log,
            secrets,
        )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, None while it runs."""
        return self._process.returncode

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def until(
        self, condition: Callable[[LogLine], bool], timeout_seconds: float = 20.0, *, after: int = 0
    ) -> LogLine:
        """Return the first line that fulfils ``condition``, of those from number ``after`` on.

        Raises:
            TimeoutError: With the last lines, when it does not come in time.
        """
        found: list[LogLine] = []

        def is_there() -> bool:
            found[:] = [line for line in list(self.lines)[after:] if condition(line)][:1]
            return bool(found) or self._reader.done()

        try:
            async with asyncio.timeout(timeout_seconds), self._changed:
                await self._changed.wait_for(is_there)
        except TimeoutError:
            raise TimeoutError(f"the line did not come; the last were {list(self.lines)[-10:]}") from None
        if not found:
            raise TimeoutError(f"the daemon ended with {self.exit_code}; its last lines were {list(self.lines)[-10:]}")
        return found[0]

    async def until_event(self, event: str, timeout_seconds: float = 20.0, *, after: int = 0) -> LogLine:
        """Return the first line of that event; see :meth:`until`."""
        return await self.until(lambda line: line.get("event") == event, timeout_seconds, after=after)

    async def wait(self, timeout_seconds: float = STOP_SECONDS) -> int:
        """Wait for the end and return the exit code."""
        async with asyncio.timeout(timeout_seconds):
            code = await self._process.wait()
            await self._reader
        return code

    async def stop(self) -> int:
        """Ask it to stop, insist if it does not, and return the exit code."""
        self.send(signal.SIGTERM)
        try:
            return await self.wait()
        except TimeoutError:
            self.send(signal.SIGKILL)
            return await self.wait()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for raw in self._process.stdout:
            if self._log is not None:
                self._log.write(raw)
                self._log.flush()
            self.leaks += any(secret in raw for secret in self._secrets)
            line = parse_line(raw)
            self.lines.append(line)
            self.events[line["event"]] += 1
            if line["level"] in {"error", "critical"}:
                self.errors.append(line)
            async with self._changed:
                self._changed.notify_all()
        async with self._changed:
            self._changed.notify_all()


def parse_line(raw: bytes) -> LogLine:
    """Return a log line as data; what is none becomes an error of its own."""
    try:
        line: LogLine = orjson.loads(raw[3:])
    except orjson.JSONDecodeError:
        return {"event": "not_a_log_line", "level": "error", "text": raw.decode(errors="replace").rstrip()}
    return line
