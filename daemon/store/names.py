"""What the names of refreshd's objects end in, decided in one place: ``_v2`` until the migration is finalized.

All SQL is written with the suffix. Every connection looks at what it is given and takes the suffix out where the
database has none any more, so that neither the store nor a file of the schema knows of it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import asyncpg

WRITTEN = "_v2"
"""The suffix that all SQL is written with."""

_NAMED = re.compile(r"(?<=[A-Za-z0-9])_v2(?![A-Za-z0-9])")
# Asked like this, what is not there is no error, which would end the transaction.
_IS_THERE = "select coalesce(has_table_privilege(to_regclass('public.refreshd_names'), 'select'), false)"
_LOOK = "select suffix from public.refreshd_names"

NAMES_ERRORS = (asyncpg.UndefinedTableError, asyncpg.UndefinedFunctionError, asyncpg.UndefinedObjectError)
"""What a statement meets where the names have changed since it was written down."""


@lru_cache(maxsize=1024)
def renamed(text: str) -> str:
    """Return a name, or a text with names in it, without the suffix: ``api_call_queue_v2_pending`` loses it, too."""
    return _NAMED.sub("", text)


class Names:
    """Which names a database has, as far as is known: those with the suffix until it is seen otherwise."""

    def __init__(self) -> None:
        self.suffix = WRITTEN

    def apply(self, text: str) -> str:
        """Return a statement, or a name, as the database knows it."""
        return text if self.suffix == WRITTEN else renamed(text)

    async def look(self, connection: Any) -> None:
        """Look at what the database says; ``connection`` is one of any class."""
        is_there = await connection.fetchval(_IS_THERE)
        suffix = await connection.fetchval(_LOOK) if is_there else None
        self.suffix = WRITTEN if suffix is None else suffix  # a schema from before this could be asked, or none


class NamedConnection(asyncpg.Connection):
    """A connection on which every statement has the names that ``names`` knows."""

    names: Names

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        """Run a statement under the names of this database."""
        return await super().fetch(self.names.apply(query), *args, **options)

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        """Run a statement under the names of this database."""
        return await super().fetchrow(self.names.apply(query), *args, **options)

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        """Run a statement under the names of this database."""
        return await super().fetchval(self.names.apply(query), *args, **options)

    async def execute(self, query: str, *args: Any, **options: Any) -> Any:
        """Run a statement under the names of this database."""
        return await super().execute(self.names.apply(query), *args, **options)


def connection_class(names: Names) -> type[NamedConnection]:
    """Return the class of connections that share what is known of the names."""
    return type("Connection", (NamedConnection,), {"names": names})
