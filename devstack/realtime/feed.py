"""The changes of a database's published tables, by trigger and NOTIFY, for the channels that asked for them."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import asyncpg

from devstack.realtime.bindings import Change

CHANNEL = "realtime_devstack"
_RETRY_SECONDS = 0.2
_FAREWELL_SECONDS = 5.0
_LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a connection that is killed may raise; the last in the middle of an operation."""

_INSTALL = """
create schema if not exists realtime_devstack;
create unlogged table if not exists realtime_devstack.changes (
    id bigint generated always as identity primary key,
    relation oid not null,
    type text not null,
    record jsonb,
    old_record jsonb,
    noted_at timestamptz not null default clock_timestamp()
);
create or replace function realtime_devstack.note_change() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into realtime_devstack.changes (relation, type, record, old_record)
    values (
        tg_relid, tg_op,
        case when tg_op <> 'DELETE' then to_jsonb(new) end,
        case when tg_op <> 'INSERT' then to_jsonb(old) end
    );
    perform pg_notify('realtime_devstack', '');
    return null;
end
$$;
do $$
declare
    v_table record;
begin
    for v_table in select schemaname, tablename from pg_publication_tables where pubname = 'supabase_realtime' loop
        execute format(
            'create or replace trigger realtime_devstack after insert or update or delete on %I.%I
             for each row execute function realtime_devstack.note_change()',
            v_table.schemaname, v_table.tablename);
    end loop;
end
$$;
"""

_TABLES = """
select
    c.oid, t.schemaname as schema, t.tablename as name,
    array(select rolname from pg_roles r where has_table_privilege(r.oid, c.oid, 'select')) as readers,
    array(
        select a.attname from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = any (i.indkey)
        where i.indrelid = c.oid and i.indisprimary
    ) as key,
    (
        select json_agg(json_build_object('name', a.attname, 'type', y.typname) order by a.attnum)
        from pg_attribute a join pg_type y on y.oid = a.atttypid
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    ) as columns
from pg_publication_tables t
join pg_class c on c.relname = t.tablename and c.relnamespace = t.schemaname::regnamespace
where t.pubname = 'supabase_realtime'
"""

_TAKE = """
with taken as (delete from realtime_devstack.changes returning *)
select relation, type, record::text, old_record::text, noted_at from taken order by id
"""


class ChangeFeed:
    """Installs triggers on the tables of ``supabase_realtime`` and hands on what they note, in their order.

    Row policies are not asked, other than on the hosted server: who may read a table gets all its changes.

    Args:
        url: PostgreSQL as the owner of the tables.
        sink: Called with each change.
    """

    def __init__(self, url: str, sink: Callable[[Change], object]) -> None:
        self._url = url
        self._sink = sink
        self._tables: dict[int, asyncpg.Record] = {}
        self._noted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(_INSTALL)
            self._tables = {table["oid"]: table for table in await connection.fetch(_TABLES)}
        finally:
            await connection.close()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(*_LOST):  # gone with its server
            connection = await asyncpg.connect(self._url, timeout=_FAREWELL_SECONDS)
            try:
                await connection.execute("drop schema realtime_devstack cascade")  # and with it the triggers
            finally:
                await connection.close()

    def may_read(self, role: str, schema: str, table: str | None) -> bool:
        """Whether ``role`` may read that published table; None stands for any of the schema."""
        return any(
            known["schema"] == schema and table in {None, known["name"]} and role in known["readers"]
            for known in self._tables.values()
        )

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(*_LOST):
                await self._follow()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _follow(self) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            await connection.add_listener(CHANNEL, lambda *_: self._noted.set())
            connection.add_termination_listener(lambda _: self._noted.set())
            while True:
                self._noted.clear()
                for row in await connection.fetch(_TAKE):
                    if row["relation"] in self._tables:  # else made anew since
                        self._sink(self._read(row))
                await self._noted.wait()
        finally:
            connection.terminate()

    def _read(self, row: asyncpg.Record) -> Change:
        table = self._tables[row["relation"]]
        old: dict[str, Any] | None = json.loads(row["old_record"]) if row["old_record"] else None
        return Change(
            schema=table["schema"],
            table=table["name"],
            type=row["type"],
            columns=json.loads(table["columns"]),
            record=json.loads(row["record"]) if row["record"] else None,
            old_record=None if old is None else {name: old[name] for name in table["key"]},
            commit_timestamp=row["noted_at"].isoformat(),
        )
