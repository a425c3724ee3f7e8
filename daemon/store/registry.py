"""The registry of data types as an operator sees and changes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import asyncpg

from daemon.contracts import ConfigurationError, RefreshdError
from daemon.schedule import next_firing
from daemon.store.database import Connection, Database

# A real prints as the number that was written (0.1); widened as it is, it would not (0.10000000149011612).
_TYPES = """
select r.data_type, r.table_name, r.timestamp_column, r.source_timestamp_column, r.symbol_column, r.key_columns,
       r.staleness_function, r.edge_function_name as fetcher, r.upstream, r.refresh_strategy, r.refresh_schedule,
       t.next_scheduled_at, r.default_ttl_minutes, r.weight::text::float8 as weight, r.priority, r.api_calls_per_job,
       r.batch_size, r.estimated_data_size_bytes,
       coalesce(t.estimated_data_size_bytes, r.estimated_data_size_bytes) as estimate_in_force_bytes,
       e.data_type is not null as enabled, r.created_at, r.updated_at
from data_type_registry_v2 r
left join data_type_state_v2 t on t.data_type = r.data_type
left join enabled_data_types_v2 e on e.data_type = r.data_type
order by r.data_type
"""

_LOCKED = """
select r.default_ttl_minutes as ttl_minutes, r.refresh_strategy as strategy, r.refresh_schedule as schedule,
       r.weight::text::float8 as weight, r.priority
from data_type_registry_v2 r
where r.data_type = $1
for no key update
"""

_CHANGE = """
update data_type_registry_v2
set default_ttl_minutes = $2, refresh_strategy = $3, refresh_schedule = $4, weight = $5, priority = $6,
    updated_at = now()
where data_type = $1
"""


class UnknownTypeError(RefreshdError):
    """There is no data type of that name; the message lists those that are."""


class TypeChangeError(RefreshdError):
    """The registry cannot be changed like this; nothing was changed."""


@dataclass(frozen=True, slots=True)
class TypeSettings:
    """What an operator may change of a data type."""

    ttl_minutes: int
    strategy: str
    schedule: str | None
    weight: float
    priority: int


@dataclass(frozen=True, slots=True)
class TypeChange:
    """What is to be changed of a data type; None leaves a value as it is."""

    ttl_minutes: int | None = None
    strategy: str | None = None
    schedule: str | None = None
    weight: float | None = None
    priority: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to change."""
        return all(getattr(self, field.name) is None for field in fields(self))

    def applied_to(self, before: TypeSettings) -> TypeSettings:
        """Return ``before`` with the changes."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return TypeSettings(**{name: getattr(before, name) if new is None else new for name, new in given.items()})


async def list_types(database: Database) -> list[Mapping[str, Any]]:
    """Return every data type by name, with its size estimate in force and whether the flags enable it."""
    return [dict(row) for row in await database.fetch(_TYPES)]


async def read_type(database: Database, name: str) -> Mapping[str, Any]:
    """Return one data type, with the columns of :func:`list_types`.

    Raises:
        UnknownTypeError: When there is none.
    """
    types = await list_types(database)
    for row in types:
        if row["data_type"] == name:
            return row
    raise _unknown(name, [row["data_type"] for row in types])


async def change_type(database: Database, name: str, change: TypeChange) -> tuple[TypeSettings, TypeSettings]:
    """Change a data type in one transaction; return its settings before and after.

    A new strategy or schedule forgets when the old one fires next: the daemon computes it anew.

    Raises:
        UnknownTypeError: When there is no such type.
        ScheduleError: When the schedule is none, or never fires.
        TypeChangeError: When the registry refuses it.
        ConfigurationError: When the login may not change the registry.
    """

    async def work(connection: Connection) -> tuple[TypeSettings, TypeSettings]:
        row = await connection.fetchrow(_LOCKED, name)
        if row is None:
            known = await connection.fetch("select data_type from data_type_registry_v2 order by data_type")
            raise _unknown(name, [row["data_type"] for row in known])
        before = TypeSettings(**row)
        after = change.applied_to(before)
        if after == before:
            return before, before
        await _write(connection, name, before, after)
        stored = await connection.fetchrow(_LOCKED, name)
        assert stored is not None
        return before, TypeSettings(**stored)

    try:
        return await database.in_transaction(work)
    except asyncpg.InsufficientPrivilegeError:
        raise ConfigurationError(
            "this login may not change data types, the owner may: set REFRESHD_OWNER_DATABASE_URL"
        ) from None
    except (asyncpg.IntegrityConstraintViolationError, asyncpg.RaiseError, asyncpg.DataError) as error:
        raise TypeChangeError(f"the registry refuses it, nothing was changed: {error}") from None


async def _write(connection: Connection, name: str, before: TypeSettings, after: TypeSettings) -> None:
    if (after.strategy, after.schedule) != (before.strategy, before.schedule):
        _check_schedule(name, after)
    await connection.execute(
        _CHANGE, name, after.ttl_minutes, after.strategy, after.schedule, after.weight, after.priority
    )


def _check_schedule(name: str, after: TypeSettings) -> None:
    if after.schedule is not None:
        next_firing(after.schedule, datetime.now(UTC))
    elif after.strategy == "scheduled":
        raise TypeChangeError(f"{name} has no schedule, and needs one to be scheduled: give it with --schedule")


def _unknown(name: str, known: Sequence[str]) -> UnknownTypeError:
    return UnknownTypeError(f"there is no data type {name!r}; the types are {', '.join(known)}")
