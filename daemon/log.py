"""Where log lines go and how they look: one line per event on standard output, for journald or for a terminal.

In json mode a line is ``<N>{"time": ..., "level": ..., "event": ..., ...}``; N is the priority that journald reads.
The loggers of the libraries take the same way, from WARNING upwards: below it they print URLs, and URLs hold keys.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, WrappedLogger

from daemon.log_rate import LogRate
from daemon.log_text import LogText

LIBRARIES = ("aiohttp", "asyncio", "asyncpg", "httpcore", "httpx", "realtime", "websockets")

UNHEARD = ("aiohttp.access", "realtime._async.channel", "realtime._async.client", "realtime._async.push")
"""Loggers with nothing to add: addresses with keys in them, and errors for what presence expects, bears and reports."""

_PRIORITIES = {"debug": b"<7>", "info": b"<6>", "warning": b"<4>", "error": b"<3>", "critical": b"<2>"}
_WITH_TRACEBACK = frozenset({"error", "critical"})
_LONGEST_TRACEBACK = 100
_LONGEST_KIND = 60
_LOUD = frozenset({"warning", "error", "exception", "critical"})
_STDOUT = 1


class LogOutput:
    """A file descriptor whose failures never reach the program: a line that cannot be written is counted.

    ``rate`` counts the lines that were left out because too many of their kind came.
    """

    def __init__(self, descriptor: int, rate: LogRate | None = None) -> None:
        self._descriptor = descriptor
        self._is_torn = False
        self.rate = rate or LogRate()
        self.lost_lines = 0

    def write(self, line: bytes) -> None:
        """Write ``line`` and a line end, waiting where the reader is slow; nothing where it is empty. Never raises."""
        if not line:
            return
        rest = b"\n" * self._is_torn + line + b"\n"
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
                self._is_torn = bool(rest)
        except OSError:
            self.lost_lines += 1

    debug = info = warning = error = critical = write


def configure_logging(
    mode: Literal["json", "console"],
    level: str,
    secrets: Collection[str],
    *,
    descriptor: int = _STDOUT,
    output: LogOutput | None = None,
) -> LogOutput:
    """Send everything that is logged, by us and by the libraries, to ``descriptor``. May be called again.

    Args:
        mode: JSON with journald's priorities, or columns for people.
        level: Least level of our own events: debug, info, warning or error.
        secrets: Texts that are redacted wherever they appear.
        descriptor: An open file descriptor.
        output: That of an earlier call, which goes on counting.

    Returns:
        The output, which counts the lines it lost.
    """
    output = output or LogOutput(descriptor)
    renderer = _Renderer(mode, LogText(secrets), output, is_coloured=os.isatty(descriptor))
    least = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[renderer],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_: output,
        cache_logger_on_first_use=False,  # so that a second call reaches the loggers that exist
    )
    _route_libraries(_LibraryHandler(renderer, output, max(least, logging.WARNING)))
    return output


def _route_libraries(handler: logging.Handler) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(handler.level)
    for name in LIBRARIES:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.setLevel(handler.level)
    for name in UNHEARD:
        logging.getLogger(name).disabled = True
    logging.captureWarnings(capture=True)


class _LibraryHandler(logging.Handler):
    """Turns a record of the standard library into one of our lines."""

    def __init__(self, renderer: _Renderer, output: LogOutput, least: int) -> None:
        super().__init__(least)
        self._renderer = renderer
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event = record.getMessage()
        except Exception:  # noqa: BLE001 - the arguments do not fit the message, which is the library's mistake
            event = str(record.msg)
        data: EventDict = {"event": event, "logger": record.name, "exc_info": record.exc_info}
        self._output.write(self._renderer(None, _level_name(record.levelno), data))


def _level_name(number: int) -> str:
    name = logging.getLevelName(min(number - number % 10, logging.CRITICAL)).lower()
    return name if name in _PRIORITIES else "debug"


class _Renderer:
    """The one processor: from the data of an event to the bytes of its line, none where too many came. Never raises."""

    def __init__(
        self, mode: Literal["json", "console"], text: LogText, output: LogOutput, *, is_coloured: bool
    ) -> None:
        self._text = text
        self._output = output
        self._render = self._json if mode == "json" else self._columns
        self._console = structlog.dev.ConsoleRenderer(
            colors=is_coloured,
            sort_keys=False,
            timestamp_key="time",
            exception_formatter=structlog.dev.plain_traceback,
        )

    def __call__(self, _: WrappedLogger, level: str, event_dict: EventDict) -> bytes:
        rate = self._output.rate
        for kind, lines in rate.take_suppressed():
            data = {"event": "log_lines_suppressed", "of_event": kind, "lines": lines}
            self._output.write(self._render(_arranged("warning", data)))
        kind = str(event_dict.get("logger") or event_dict.get("event", ""))[:_LONGEST_KIND]
        if not rate.admits(kind, is_loud=level in _LOUD):
            return b""
        try:
            return self._render(_arranged(level, event_dict))
        except Exception as error:  # noqa: BLE001 - an object whose text cannot be had must not end the program
            return self._render(_arranged(level, {"event": "log_line_failed", "error": type(error).__name__}))

    def _json(self, data: dict[str, Any]) -> bytes:
        return _PRIORITIES[data["level"]] + self._text.json_line(data)

    def _columns(self, data: dict[str, Any]) -> bytes:
        data = self._text.terminal_data(data)
        if "traceback" in data:
            data["exception"] = "\n".join(data.pop("traceback"))
        return str(self._console(None, data["level"], data)).encode()


def _arranged(level: str, event_dict: EventDict) -> dict[str, Any]:
    """Return time, level and event, then the data, then what was raised."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
    error = _raised(event_dict.pop("exc_info", None))
    head = {"time": now, "level": level, "event": event_dict.pop("event", "")}
    data = {**head, **event_dict, "time": now, "level": level}
    if error is not None:
        data["exception"] = _one_line(error)
        if level in _WITH_TRACEBACK:
            lines = "".join(traceback.format_exception(error)).splitlines()
            data["traceback"] = lines[-_LONGEST_TRACEBACK:]
    return data


def _raised(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1]  # type: ignore[no-any-return]  # as sys.exc_info() returns it
    return sys.exc_info()[1] if exc_info else None


def _one_line(error: BaseException) -> str:
    name = type(error).__name__
    if isinstance(error, BaseExceptionGroup):
        return f"{name}: {error.message} [{'; '.join(map(_one_line, error.exceptions))}]"
    return f"{name}: {' '.join(str(error).split())}"
