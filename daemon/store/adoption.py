"""Data tables that an older system left under the names of ours: whether they can be used as they are."""

from __future__ import annotations

from dataclasses import dataclass

from daemon.store.database import Connection
from daemon.store.execution import MigrationError, run_file
from daemon.store.roles import create_daemon_role
from daemon.store.schema import Schema

_FOREIGN = """
select relname::text as name
from pg_class
where relnamespace = 'public'::regnamespace and relname = any ($1)
  and coalesce(obj_description(oid, 'pg_class'), '') not like 'Written by refreshd%'
order by 1
"""

_COPY_REGISTRY = """
insert into pg_temp.data_type_registry_v2 (
    data_type, table_name, timestamp_column, staleness_function, default_ttl_minutes, edge_function_name,
    key_columns, symbol_column, source_timestamp_column
)
select data_type, table_name, timestamp_column, staleness_function, default_ttl_minutes, edge_function_name,
       key_columns, symbol_column, source_timestamp_column
from public.data_type_registry_v2
"""


@dataclass(frozen=True, slots=True)
class Adoption:
    """The tables of an older system that will be used as they are, and what there is to know about them."""

    tables: tuple[str, ...]
    notes: tuple[str, ...]


async def examine_tables(connection: Connection, schema: Schema) -> Adoption:
    """Compare tables that are there already with what our files would create.

    Call it in a `rehearsal`: our schema is built beside theirs, in pg_temp.

    Raises:
        MigrationError: When one cannot be used; the message is a list of all problems of all tables, with the SQL
            that mends each.
        ConfigurationError: When the owner's role may not do what is needed.
    """
    rows = await connection.fetch(_FOREIGN, [file.name for file in schema.data])
    names = tuple(row["name"] for row in rows)
    if not names:
        return Adoption((), ())
    role_is_new = await create_daemon_role(connection)
    await _build_beside(connection, schema, names)
    findings = await connection.fetch(schema.adoption.sql, names)
    problems = [(row["finding"], row["remedy"]) for row in findings if row["remedy"]]
    if problems:
        raise MigrationError(_complaint(problems, role_is_new=role_is_new))
    return Adoption(names, tuple(row["finding"] for row in findings))


async def _build_beside(connection: Connection, schema: Schema, names: tuple[str, ...]) -> None:
    """Create in pg_temp what says how the tables have to be: the registry, with the rows in force, and our tables."""
    has_unique_key = next(file for file in schema.functions if file.name == "has_unique_key_v2")
    await run_file(connection, has_unique_key)
    registry_is_there = await connection.fetchval("select to_regclass('public.data_type_registry_v2') is not null")
    await connection.execute("set local search_path = pg_temp")
    for file in schema.migrations:
        await run_file(connection, file)
    if registry_is_there:
        await connection.execute(_COPY_REGISTRY)
    await run_file(connection, next(file for file in schema.seeds if file.name == "registry"))
    for file in schema.data:
        if file.name in names:
            await run_file(connection, file)


def _complaint(problems: list[tuple[str, str]], *, role_is_new: bool) -> str:
    lines = [f"-- {finding}\n{remedy}" for finding, remedy in problems]
    if role_is_new and any("refreshd_daemon" in remedy for _, remedy in problems):
        lines.insert(0, "-- the daemon's role does not exist yet\ncreate role refreshd_daemon nologin;")
    return (
        "tables of an older system cannot be used as they are, nothing was changed. Mend them, or rename them, then run"
        " `refreshd migrate` again:\n" + "\n".join(lines)
    )
