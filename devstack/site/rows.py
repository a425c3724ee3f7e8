"""A stand-in for PostgREST: rows of one table or view, as the role ``anon`` may read them. Nothing is ever written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import asyncpg
import orjson

from daemon.store.database import Connection, Database

MOST_ROWS = 1000
"""As many as a hosted project returns unless it is set otherwise."""

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_CONDITION = re.compile(r"eq\.(?P<one>.*)|in\.\((?P<many>.*)\)", re.DOTALL)


class RowsError(Exception):
    """What was asked for cannot be had.

    Args:
        status: The HTTP status.
        code: The SQLSTATE, or the code of PostgREST.
        message: Why.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    @property
    def body(self) -> bytes:
        """The error as PostgREST tells it."""
        return orjson.dumps({"code": self.code, "message": str(self), "details": None, "hint": None})


class Query(NamedTuple):
    """A statement and its values."""

    sql: str
    values: tuple[object, ...]


async def read_rows(database: Database, table: str, parameters: Iterable[tuple[str, str]]) -> str:
    """Return the rows as JSON.

    Args:
        database: PostgreSQL as a login that may become ``anon``.
        table: A table or view of the schema ``public``.
        parameters: ``select``, ``order``, ``limit``, and conditions by ``eq`` and ``in``; nothing else is understood.

    Raises:
        RowsError: Where this cannot be asked, or ``anon`` may not ask it.
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    query = build_query(table, parameters)

    async def read(connection: Connection) -> str:
        await connection.execute("set transaction read only")
        await connection.execute("set local role anon")
        await connection.execute("set local statement_timeout = '3s'")
        return str(await connection.fetchval(query.sql, *query.values))

    try:
        return await database.in_transaction(read)
    except asyncpg.InsufficientPrivilegeError as error:
        raise RowsError(401, error.sqlstate, str(error)) from None
    except asyncpg.PostgresError as error:
        raise RowsError(
            404 if isinstance(error, asyncpg.UndefinedTableError) else 400, error.sqlstate, str(error)
        ) from None


def build_query(table: str, parameters: Iterable[tuple[str, str]]) -> Query:
    """Return the statement; names are quoted, and values are never part of its text.

    Raises:
        RowsError: For what is not understood.
    """
    columns, order, limit = "*", "", MOST_ROWS
    conditions: list[str] = []
    values: list[object] = []
    for name, value in parameters:
        if name == "select":
            columns = "*" if value == "*" else ", ".join(map(_quoted, value.split(",")))
        elif name == "order":
            column, _, direction = value.partition(".")
            order = f" order by {_quoted(column)} {'desc' if direction.startswith('desc') else 'asc'}"
        elif name == "limit":
            limit = min(MOST_ROWS, _number(value))
        else:
            values.append(_accepted(name, value))
            conditions.append(f"{_quoted(name)}::text = any (${len(values)}::text[])")
    where = f" where {' and '.join(conditions)}" if conditions else ""
    rows = f"select {columns} from public.{_quoted(table)}{where}{order} limit {limit}"  # noqa: S608 - names are quoted
    return Query(f"select coalesce(json_agg(r), '[]')::text from ({rows}) r", tuple(values))  # noqa: S608 - as above


def _accepted(name: str, value: str) -> list[str]:
    condition = _CONDITION.fullmatch(value)
    if condition is None:
        raise RowsError(400, "PGRST100", f"{name}: only eq and in are understood here")
    if condition["many"] is None:
        return [condition["one"]]
    return [item.strip('"') for item in condition["many"].split(",")]


def _number(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 10):  # noqa: PLR2004 - fits PostgreSQL's integer
        raise RowsError(400, "PGRST100", "limit: this is no number")
    return int(value)


def _quoted(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise RowsError(400, "PGRST100", "this is no name of a table or column")
    return f'"{name}"'
