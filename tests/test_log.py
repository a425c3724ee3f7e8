"""Log lines: their shape, their way to the journal, and what must never be in them."""

from __future__ import annotations

import json
import logging
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from daemon.log import LogOutput, configure_logging
from daemon.log_text import LogText
from tests.process_logging import logging_restored

SECRET = "canary/se'cret\\é"
log = structlog.get_logger()

Lines = Callable[[], list[str]]


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Undo what configuring changes for the whole process."""
    with logging_restored():
        yield


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    """Open a file to log to."""
    descriptor = os.open(tmp_path / "log", os.O_CREAT | os.O_RDWR)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def lines(tmp_path: Path) -> Lines:
    """Return a reader of what was logged so far."""
    return lambda: (tmp_path / "log").read_text().splitlines()


def decoded(line: str) -> dict[str, Any]:
    return dict(json.loads(line[3:]))


def fail(error: Exception, cause: Exception | None = None) -> None:
    raise error from cause


def test_a_line_is_a_priority_and_an_object_that_starts_with_time_level_and_event(
    descriptor: int, lines: Lines
) -> None:
    configure_logging("json", "info", [], descriptor=descriptor)

    log.bind(service="processor").info("job_finished", symbol="AAPL", lead_seconds=0.5)

    data = decoded(lines()[0])
    assert list(data) == ["time", "level", "event", "service", "symbol", "lead_seconds"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", data["time"])
    assert (data["level"], data["event"], data["lead_seconds"]) == ("info", "job_finished", 0.5)


@pytest.mark.parametrize(
    ("level", "priority"), [("debug", 7), ("info", 6), ("warning", 4), ("error", 3), ("critical", 2)]
)
def test_every_level_has_the_priority_that_the_journal_knows(
    descriptor: int, lines: Lines, level: str, priority: int
) -> None:
    configure_logging("json", "debug", [], descriptor=descriptor)

    getattr(log, level)("event_happened")

    assert lines()[0].startswith(f"<{priority}>{{")


def test_configuring_again_changes_the_level_of_loggers_that_exist(descriptor: int, lines: Lines) -> None:
    bound = structlog.get_logger()
    configure_logging("json", "warning", [], descriptor=descriptor)
    bound.info("not_logged")

    configure_logging("json", "info", [], descriptor=descriptor)
    bound.info("logged")

    assert [decoded(line)["event"] for line in lines()] == ["logged"]


@pytest.mark.parametrize("mode", ["json", "console"])
def test_a_secret_is_redacted_wherever_it_hides(
    descriptor: int, lines: Lines, mode: Literal["json", "console"]
) -> None:
    configure_logging(mode, "debug", [SECRET, "longer-canary-key", "canary-key"], descriptor=descriptor)

    log.info("started with %s", SECRET, key=SECRET, nested={"list": [{"deep": f"x{SECRET}x"}], SECRET: 1})
    log.info("encoded", url="https://h/?k=canary%2Fse%27cret%5C%C3%A9", shown=repr(SECRET), body=json.dumps([SECRET]))
    log.info("twice", text=f"{SECRET}{SECRET}", longer="longer-canary-key", path=Path(SECRET))
    try:
        fail(ConnectionError(SECRET), ValueError(SECRET))
    except ConnectionError as error:
        log.exception("failed")
        log.warning("failed", error=error, exc_info=True)
        logging.getLogger("websockets").exception("%s failed", SECRET)

    text = "\n".join(lines())
    assert len(lines()) >= 6
    assert "canary" not in text
    assert "[redacted]" in text


def test_redaction_leaves_the_rest_of_a_line_alone(descriptor: int, lines: Lines) -> None:
    configure_logging("json", "info", ["123456", "short"], descriptor=descriptor)

    log.info("counted", number=123456, text="id 123456.", word="short", none=None)

    data = decoded(lines()[0])
    assert (data["number"], data["text"], data["word"], data["none"]) == (123456, "id [redacted].", "short", None)


def test_a_long_value_is_cut_after_redaction(descriptor: int, lines: Lines) -> None:
    configure_logging("json", "info", ["canary-key"], descriptor=descriptor)

    log.info("answered", body="x" * 1_995 + "canary-key" + "y" * 9_000)

    body = decoded(lines()[0])["body"]
    assert body.startswith("x" * 1_995 + "[reda... (")
    assert len(body) < 2_050


def test_an_endless_line_is_cut_into_one_that_can_be_read(descriptor: int, lines: Lines) -> None:
    configure_logging("json", "info", ["canary-key"], descriptor=descriptor)

    log.info("listed canary-key", symbols=["canary-key"] * 10_000)

    assert len(lines()[0]) < 5_000
    assert decoded(lines()[0])["event"] == "listed [redacted]"
    assert "canary" not in lines()[0]


@pytest.mark.parametrize("mode", ["json", "console"])
def test_nothing_in_a_value_can_start_a_line_or_move_the_cursor(
    descriptor: int, lines: Lines, mode: Literal["json", "console"]
) -> None:
    configure_logging(mode, "info", [], descriptor=descriptor)
    hostile = "\r\n<0>forged \x1b[2J\x9b2J\x7f\x00\u2028\u202e"

    log.info("event %s", hostile, value=hostile, nested=[{hostile: hostile}])

    assert len(lines()) == 1
    assert lines()[0].isascii()
    assert lines()[0].isprintable()


def test_what_was_raised_is_one_line_and_a_traceback_at_error(descriptor: int, lines: Lines) -> None:
    configure_logging("json", "info", [], descriptor=descriptor)
    try:
        fail(ValueError("two\nlines"))
    except ValueError as error:
        log.warning("job_retried", exc_info=error)
        log.exception("job_failed")

    warned, failed = map(decoded, lines())
    assert warned["exception"] == failed["exception"] == "ValueError: two lines"
    assert "traceback" not in warned
    assert failed["traceback"][0] == "Traceback (most recent call last):"


def test_a_group_of_exceptions_names_its_members(descriptor: int, lines: Lines) -> None:
    configure_logging("json", "info", [], descriptor=descriptor)

    log.error("services_died", exc_info=ExceptionGroup("two", [KeyError("a"), ValueError("b")]))

    assert decoded(lines()[0])["exception"] == "ExceptionGroup: two [KeyError: 'a'; ValueError: b]"


def test_a_traceback_on_the_console_keeps_its_lines(descriptor: int, lines: Lines) -> None:
    configure_logging("console", "info", [], descriptor=descriptor)

    log.error("job_failed", exc_info=ValueError("\x1b[2J"))

    assert lines()[1:] == [r"ValueError: \x1b[2J"]


@pytest.mark.parametrize(
    "name", ["aiohttp.client", "asyncio", "asyncpg.pool", "realtime", "websockets.client", "other"]
)
def test_a_library_is_heard_from_warning_upwards(descriptor: int, lines: Lines, name: str) -> None:
    logging.getLogger(name.partition(".")[0]).setLevel(logging.DEBUG)
    configure_logging("json", "debug", [], descriptor=descriptor)

    logging.getLogger(name).info("GET %s", "wss://host?apikey=1")
    logging.getLogger(name).warning("closed by %s", "peer")

    assert [(decoded(line)["event"], decoded(line)["logger"]) for line in lines()] == [("closed by peer", name)]


@pytest.mark.parametrize("name", ["aiohttp.access", "realtime._async.channel", "realtime._async.client"])
def test_loggers_that_have_nothing_to_add_are_off(descriptor: int, lines: Lines, name: str) -> None:
    configure_logging("json", "debug", [], descriptor=descriptor)

    logging.getLogger(name).error("GET /?apikey=1")

    assert lines() == []


def test_a_message_that_does_not_fit_its_arguments_is_logged_as_it_is(descriptor: int, lines: Lines) -> None:
    configure_logging("json", "info", [], descriptor=descriptor)

    logging.getLogger("asyncio").warning("%d tasks", "many")

    assert decoded(lines()[0])["event"] == "%d tasks"


@pytest.mark.filterwarnings("default")
def test_warnings_of_python_become_lines(descriptor: int, lines: Lines) -> None:
    configure_logging("json", "info", [], descriptor=descriptor)

    warnings.warn("do not do that", UserWarning, stacklevel=1)

    assert "do not do that" in decoded(lines()[0])["event"]


class Unspeakable:
    """Has no text."""

    def __repr__(self) -> str:
        """Fail."""
        raise RuntimeError


def test_an_object_without_a_text_costs_only_its_line(descriptor: int, lines: Lines) -> None:
    configure_logging("json", "info", [], descriptor=descriptor)

    log.info("job_finished", result=Unspeakable())

    assert decoded(lines()[0])["event"] == "log_line_failed"


def test_data_cannot_pass_for_the_level_of_a_line(descriptor: int, lines: Lines) -> None:
    configure_logging("json", "info", [], descriptor=descriptor)

    log.error("job_failed", level="info", time="never")

    assert decoded(lines()[0])["level"] == "error"


def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    output = configure_logging("json", "info", [], descriptor=descriptor)

    log.info("first")
    logging.getLogger("asyncio").error("second")

    assert output.lost_lines == 2
    os.close(descriptor)


def test_a_closed_reader_and_a_closed_descriptor_cost_lines_and_nothing_else() -> None:
    reader, writer = os.pipe()
    output = LogOutput(writer)
    os.close(reader)

    output.write(b"nobody reads")
    os.close(writer)
    output.write(b"nowhere to write")

    assert output.lost_lines == 2


def test_a_line_after_a_torn_one_starts_on_its_own() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    output = LogOutput(writer)

    output.write(b"x" * 1_000_000)
    received = os.read(reader, 1_000_000)
    output.write(b"whole")

    assert set(received) == {ord("x")}
    assert os.read(reader, 100) == b"\nwhole\n"
    assert output.lost_lines == 1
    os.close(reader)
    os.close(writer)


CANARY = "canary-key"
TEXTS = st.text() | st.text().map(lambda text: f"{text}{CANARY}{text}")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.binary() | TEXTS.map(ValueError),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | st.integers(), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4), TEXTS)
def test_any_data_gives_one_object_without_the_secret(data: dict[str, Any], event: str) -> None:
    text = LogText([CANARY])

    line = text.json_line({"time": "now", "level": "info", "event": event, **data, "last": CANARY})

    assert b"\n" not in line
    assert CANARY not in line.decode()
    assert json.loads(line)["last"] == "[redacted]"


def test_a_line_takes_microseconds() -> None:
    descriptor = os.open(os.devnull, os.O_WRONLY)
    configure_logging("json", "info", [f"a-secret-of-the-daemon-{n}" for n in range(6)], descriptor=descriptor)

    def seconds_for_a_thousand_lines() -> float:
        started = time.perf_counter()
        for number in range(1_000):
            log.info("job_finished", symbol="AAPL", data_type="quote", outcome="changed", lead_seconds=0.1, job=number)
        return time.perf_counter() - started

    best = min(seconds_for_a_thousand_lines() for _ in range(5))

    assert best / 1_000 < 60e-6, "six times what it takes on an idle machine"
    os.close(descriptor)
