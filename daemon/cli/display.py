"""How commands show what the database holds: for people in tables, for scripts as one JSON document.

What is shown comes from elsewhere (upstream errors, symbols): nothing in it is read as markup, and characters that
would move a terminal's cursor are shown by their escapes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def echo_json(document: Any) -> None:
    """Print one JSON document: times in ISO 8601, ids as text."""
    text = orjson.dumps(document, default=str, option=orjson.OPT_INDENT_2).decode()
    click.echo(_UNSAFE.sub(lambda match: match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}", text))


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that something takes its time, on a terminal; stay quiet in a pipe."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(what):
            yield
    else:
        yield


def new_table(headings: Sequence[str], *, right: Collection[str] = (), yielding: str) -> Table:
    """Return a table without lines.

    Args:
        headings: Of the columns.
        right: Headings of the columns that are aligned to the right.
        yielding: Heading of the column that gets narrower where the terminal is too narrow for all.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", no_wrap=heading != yielding)
    return table


def cut_text(text: str) -> Text:
    """Return ``text`` for a cell of one line that ends where the room does."""
    return Text(safe(text), no_wrap=True, overflow="ellipsis")


def echo_fields(values: Mapping[str, Any]) -> None:
    """Print one thing, a line for each of its values."""
    width = max(map(len, values), default=0)
    console = Console()
    for name, value in values.items():
        line = Text(f"{name:<{width}}  ").append(shown(value))
        console.print(line, soft_wrap=True, highlight=False)


def shown(value: Any) -> str:
    """Return a value as a person reads it, safe on any terminal."""
    match value:
        case None:
            text = "-"
        case bool():
            text = "yes" if value else "no"
        case datetime():
            text = f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        case float():
            text = f"{value:g}"
        case list():
            text = ", ".join(map(shown, value))
        case dict():
            text = orjson.dumps(value).decode()
        case _:
            text = str(value)
    return safe(text)


def safe(text: str) -> str:
    """Return ``text`` with every character that a terminal would obey shown by its escape."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def duration(seconds: float) -> str:
    """Return a length of time in all its units, seconds rounded down: ``1 h 30 min``."""
    rest, parts = int(seconds), list[str]()
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts) or "0 s"


def rough_duration(seconds: float) -> str:
    """Return a length of time by its largest unit alone, rounded down: ``1 h``."""
    return " ".join(duration(seconds).split()[:2])
