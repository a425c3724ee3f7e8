"""The catalogue of log events against the code, in both directions, and its queries on real lines."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest
import structlog

from daemon.log import configure_logging
from tests.needs import require
from tests.process_logging import logging_restored

REPOSITORY = Path(__file__).parents[1]
PAGE = (REPOSITORY / "docs" / "log-events.md").read_text(encoding="utf-8")
RUNBOOK = (REPOSITORY / "docs" / "runbook.md").read_text(encoding="utf-8")

LEVELS = frozenset({"debug", "info", "warning", "error", "critical"})
METHODS: Mapping[str, str] = MappingProxyType({**{level: level for level in LEVELS}, "exception": "error"})
PSEUDO_FIELDS = frozenset({"exc_info"})
"""What becomes `exception` and `traceback`, which every event may have."""

OPEN_FIELDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {"old_rows_removed": frozenset({"completed", "failed", "attempts"})}
)
"""Fields that are only known when the program runs; of `old_rows_removed` as `daemon.store.upkeep` names them."""


class Said(NamedTuple):
    """One place in the code that logs."""

    event: str
    levels: frozenset[str]
    fields: frozenset[str]


class Listed(NamedTuple):
    """One row of the page."""

    levels: frozenset[str]
    fields: frozenset[str]
    todo: str


class Module:
    """What one module logs.

    Args:
        tree: The parsed module.
        where: Named by failures.
    """

    def __init__(self, tree: ast.Module, where: str) -> None:
        self._where = where
        self._loggers = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("structlog.get_logger(")
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        self._tree = tree

    @property
    def logger_count(self) -> int:
        """How many loggers the module has."""
        return len(self._loggers)

    def is_logger(self, value: ast.expr) -> bool:
        """Return whether an expression is the name of a logger."""
        return isinstance(value, ast.Name) and value.id in self._loggers

    def said(self) -> Iterator[Said]:
        """Yield every call of a logger, of a name that stands for a method of one, and every line made by hand."""
        scopes = [n for n in ast.walk(self._tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        seen: set[int] = set()
        for scope in reversed(scopes):  # inner functions before those around them
            names = _assigned(scope)
            for node in ast.walk(scope):
                if isinstance(node, ast.Call) and id(node) not in seen:
                    seen.add(id(node))
                    levels = self._levels(node.func, names)
                    if levels:
                        yield self._line(node, levels, names)
                    elif isinstance(node.func, ast.Name) and node.func.id == "_arranged":
                        yield from self._by_hand(node, names)

    def _levels(self, called: ast.expr, names: Mapping[str, ast.expr]) -> frozenset[str]:
        match called:
            case ast.Attribute(value=ast.Name(id=name), attr=method) if name in self._loggers and method in METHODS:
                return frozenset({METHODS[method]})
            case ast.Name(id=name) if name in names:
                return self._levels(names[name], {})
            case ast.IfExp(body=one, orelse=other):
                return self._levels(one, {}) | self._levels(other, {})
            case _:
                return frozenset()

    def _line(self, call: ast.Call, levels: frozenset[str], names: Mapping[str, ast.expr]) -> Said:
        (event,) = self._texts(call.args[0], names)
        fields: set[str] = set()
        for keyword in call.keywords:
            if keyword.arg is not None:
                fields.add(keyword.arg)
            elif event not in OPEN_FIELDS:
                fields |= self._keys(keyword.value, names)
        return Said(event, levels, frozenset(fields - PSEUDO_FIELDS) | OPEN_FIELDS.get(event, frozenset()))

    def _by_hand(self, call: ast.Call, names: Mapping[str, ast.expr]) -> Iterator[Said]:
        """Yield a line that the log itself writes, where it names its event."""
        level, data = call.args
        if isinstance(data, ast.Name):
            data = names.get(data.id, data)
        if not isinstance(data, ast.Dict):
            return
        keys = self._keys(data, names)
        event = next(value for key, value in zip(data.keys, data.values, strict=True) if _is_text(key, "event"))
        (name,) = self._texts(event, names)
        levels = frozenset({str(level.value)}) if isinstance(level, ast.Constant) else LEVELS
        yield Said(name, levels, frozenset(keys - {"event"}))

    def _keys(self, value: ast.expr, names: Mapping[str, ast.expr]) -> set[str]:
        if isinstance(value, ast.Name):
            value = names[value.id]
        assert isinstance(value, ast.Dict), f"{self._where}: fields of a log line cannot be read: {ast.unparse(value)}"
        return {text for key in value.keys if key is not None for text in self._texts(key, names)}

    def _texts(self, value: ast.expr, names: Mapping[str, ast.expr]) -> set[str]:
        match value:
            case ast.Constant(value=str() as text):
                return {text}
            case ast.Name(id=name) if name in names:
                return self._texts(names[name], names)
            case ast.IfExp(body=one, orelse=other):
                return self._texts(one, names) | self._texts(other, names)
            case _:
                pytest.fail(f"{self._where}: the name of an event or field is computed: {ast.unparse(value)}")


def _assigned(scope: ast.AST) -> dict[str, ast.expr]:
    """Return what plain names were given in a function; of several values the last one."""
    found: dict[str, ast.expr] = {}
    for node in ast.walk(scope):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found[name] = value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found[name] = value
    return found


def _is_text(node: ast.expr | None, text: str) -> bool:
    return isinstance(node, ast.Constant) and node.value == text


def said_by_the_code() -> dict[str, Said]:
    """Return every event with all its levels and fields."""
    found: dict[str, Said] = {}
    for path in sorted((REPOSITORY / "daemon").rglob("*.py")):
        for said in Module(ast.parse(path.read_text(encoding="utf-8")), path.name).said():
            known = found.get(said.event, said)
            found[said.event] = Said(said.event, known.levels | said.levels, known.fields | said.fields)
    return found


def listed_on_the_page() -> dict[str, Listed]:
    """Return the rows of the catalogue."""
    catalogue = PAGE.split("## The catalogue")[1]
    rows = re.findall(r"^\| `(\w+)` \| ([a-z, ]+) \| [^|]+ \| ([^|]*) ?\| ?([^|]*)\|$", catalogue, re.MULTILINE)
    names = [row[0] for row in rows]
    assert len(names) == len(set(names)), "an event is listed twice"
    return {
        name: Listed(
            frozenset(levels.split(", ")), frozenset(re.findall(r"(?:^|; )`(\w+)`", fields.strip())), todo.strip()
        )
        for name, levels, fields, todo in rows
    }


CODE = said_by_the_code()
LISTED = listed_on_the_page()


def test_every_event_of_the_code_is_on_the_page_and_every_one_on_the_page_is_in_the_code() -> None:
    assert set(LISTED) == set(CODE)


def test_every_row_of_the_catalogue_is_read() -> None:
    catalogue = PAGE.split("## The catalogue")[1]

    assert len(re.findall(r"^\| `", catalogue, re.MULTILINE)) == len(LISTED) > 50


@pytest.mark.parametrize("event", sorted(CODE))
def test_an_event_has_the_levels_and_fields_that_the_page_gives_it(event: str) -> None:
    if event not in LISTED:
        pytest.fail(f"{event} is not on the page")

    assert LISTED[event].levels == CODE[event].levels
    assert LISTED[event].fields == CODE[event].fields


def test_every_event_from_warning_on_leads_to_its_section_of_the_runbook() -> None:
    headings = set(re.findall(r"^#+ (\w+)$", RUNBOOK, re.MULTILINE))
    loud = {event for event, said in CODE.items() if said.levels & {"warning", "error", "critical"}}

    links = {event: LISTED[event].todo for event in loud if event in LISTED}

    assert links == {event: f"[runbook](runbook.md#{event})" for event in loud}
    assert loud <= headings


def test_the_code_is_read_as_it_is() -> None:
    source = """
import structlog
log = structlog.get_logger()
def outer(bad, what_kind):
    fields = {"one": 1, "two": 2}
    say = log.error if bad else log.warning
    what = "reason" if what_kind else "field"
    say("loud_thing", **fields, **{what: 1}, hint="x")
    def inner():
        log.exception("broken_thing", exc_info=True)
    other.info("no_event")
"""

    said = list(Module(ast.parse(source), "example").said())

    assert sorted(said) == [
        Said("broken_thing", frozenset({"error"}), frozenset()),
        Said("loud_thing", frozenset({"error", "warning"}), frozenset({"one", "two", "reason", "field", "hint"})),
    ]


@pytest.mark.parametrize("path", sorted((REPOSITORY / "daemon").rglob("*.py")), ids=lambda path: path.stem)
def test_no_line_is_written_in_a_way_that_is_not_read_here(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    module = Module(tree, path.name)

    made = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "structlog.get_logger"]
    read = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            read |= {id(part) for part in ast.walk(node.value)}
    uses = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and module.is_logger(n.value)]

    assert len(made) == module.logger_count
    assert [ast.unparse(use) for use in uses if id(use) not in read] == []


# --- The queries ---


@pytest.fixture
def journal(tmp_path: Path) -> str:
    """Return lines of the daemon's own log as journald keeps them, without priorities, and one that is no JSON."""
    descriptor = os.open(tmp_path / "log", os.O_CREAT | os.O_RDWR)
    with logging_restored():
        configure_logging("json", "info", [], descriptor=descriptor)
        log = structlog.get_logger()
        fields = {
            "job": "1f",
            "symbol": "AAPL",
            "data_type": "quote",
            "outcome": "changed",
            "viewers": 7,
            "bytes": 5120,
        }
        log.info("starting", version="1", instance="one")
        log.info("job_finished", verdict="completed", milliseconds=184.2, **fields)
        log.info("job_finished", verdict="completed", milliseconds=90.0, **{**fields, "symbol": "MSFT"})
        log.info("job_failed", verdict="retry", error="upstream_error: 502", retries=1, milliseconds=1.0, **fields)
        log.warning("part_interrupted", part="claim", error="gone", hint="wait")
        log.info("part_recovered", part="claim", failures=9, seconds=11.3)
    os.close(descriptor)
    lines = (tmp_path / "log").read_text().splitlines()
    return "\n".join(["Fatal Python error: none, really", "17", *(re.sub(r"^<\d>", "", line) for line in lines), ""])


def queries() -> list[str]:
    """Return the commands of the section, as they stand on the page."""
    return re.findall(r"```sh\n(.*?)```", PAGE.split("## Five queries")[1].split("\n## ")[0], re.DOTALL)


def answer(query: str, journal: str) -> list[str]:
    """Run what follows journalctl in a query."""
    require("jq", found=shutil.which("jq"), hint="install the package jq")
    _, _, pipeline = query.partition("|")
    ran = subprocess.run(["sh", "-c", pipeline], input=journal, capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    return [re.sub(r"\d{4}-\d\d-\d\dT\d\d(:[\d:.]+Z)?", "T", line) for line in ran.stdout.splitlines()]


def test_there_are_five_queries_of_the_journal() -> None:
    assert [query.split(" ")[:3] for query in queries()] == [["journalctl", "-u", "refreshd"]] * 5


def test_the_query_for_failed_jobs_tells_why(journal: str) -> None:
    assert answer(queries()[1], journal) == ['["T","AAPL","quote","retry",1,"upstream_error: 502"]']


def test_the_query_for_one_pair_tells_what_its_jobs_did(journal: str) -> None:
    assert answer(queries()[2], journal) == [
        '["T","job_finished","completed","changed",7,184.2,5120]',
        '["T","job_failed","retry","changed",7,1,5120]',
    ]


def test_the_query_by_hour_counts_how_jobs_ended(journal: str) -> None:
    counted = [line.split() for line in answer(queries()[3], journal)]

    assert counted == [["2", "T", "quote", "changed"], ["1", "T", "quote", "retry"]]


def test_the_query_for_outages_tells_when_and_how_long(journal: str) -> None:
    assert answer(queries()[4], journal) == [
        '["T","starting",null,null,null]',
        '["T","part_interrupted","claim",null,"gone"]',
        '["T","part_recovered","claim",11.3,null]',
    ]
