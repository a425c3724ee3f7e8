"""What the extension plpgsql_check says of every PL/pgSQL function, on whichever installed server has it."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from daemon.store.migrate import migrate
from daemon.store.schema import load_schema
from devstack.old_system.cron import INTERFACE
from devstack.postgres import EmbeddedPostgres
from devstack.postgres_binaries import candidate_folders, is_usable
from tests.needs import require

CHECK = """
select p.proname || ': ' || c.level || ': ' || c.message as finding
from pg_proc p
join pg_language l on l.oid = p.prolang and l.lanname = 'plpgsql'
left join pg_trigger t on t.tgfoid = p.oid
cross join lateral plpgsql_check_function_tb(
    p.oid, coalesce(t.tgrelid, 0), fatal_errors => false, extra_warnings => true, security_warnings => true
) c
where p.pronamespace = 'public'::regnamespace
  and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
order by 1
"""
_BY_QUERY = "the columns of the result are written by RETURN QUERY"
ACCEPTED = {
    "get_queue_batch_v2: warning: target type is different type than source type": "counts are bigint, slots integer",
    "hand_back_rows_v2: security: text type variable is not sanitized": "names go through %I",
    "missing_symbols_v2: security: text type variable is not sanitized": "names go through %I",
    "remove_gone_rows_v2: security: text type variable is not sanitized": "names go through %I",
    "seed_refresh_state_v2: security: text type variable is not sanitized": "names go through %I",
    'store_rows_v2: warning extra: OUT variable "inserted" is maybe unmodified': _BY_QUERY,
    'store_rows_v2: warning extra: OUT variable "updated" is maybe unmodified': _BY_QUERY,
    'store_rows_v2: warning extra: OUT variable "unchanged" is maybe unmodified': _BY_QUERY,
}
ACCEPTED |= {
    f'measure_type_v2: warning extra: OUT variable "{column}" is maybe unmodified': _BY_QUERY
    for column in (
        [
            "table_rows",
            "symbols",
            "unlisted_symbols",
            "fresh_symbols",
            "oldest",
            "newest",
            "viewed",
            "viewed_fresh",
            "jobs_in_24_hours",
            "bytes_in_24_hours",
        ]
    )
}
"""Findings that are no defect, each with the reason; which of them appear depends on the extension's version."""


def folder_with_plpgsql_check() -> Path | None:
    """Return the programs of a server that has the extension."""
    for folder in candidate_folders():
        program = folder / "pg_config"
        if not is_usable(folder) or not program.is_file():
            continue
        share = subprocess.run([program, "--sharedir"], capture_output=True, text=True, check=True).stdout.strip()
        if (Path(share) / "extension" / "plpgsql_check.control").is_file():
            return folder
    return None


@pytest.fixture
async def checked() -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection to a migrated database with the extension."""
    binaries = folder_with_plpgsql_check()
    require("plpgsql_check", found=binaries, hint="Debian: apt-get install postgresql-NN-plpgsql-check")
    with EmbeddedPostgres.start(durable=False, binaries=binaries) as server:
        await migrate(server.url(), load_schema(), create_roles=True)
        connection = await asyncpg.connect(server.url())
        await connection.execute("create extension plpgsql_check")
        await connection.execute(INTERFACE.read_text())
        yield connection
        await connection.close()


async def test_plpgsql_check_finds_nothing_wrong(checked: asyncpg.Connection[asyncpg.Record]) -> None:
    await checked.execute(
        "create function broken_v2() returns int language plpgsql"
        " as $$ begin return (select nothing from leases_v2); end $$"
    )

    findings = [row["finding"] for row in await checked.fetch(CHECK)]

    assert 'broken_v2: error: column "nothing" does not exist' in findings
    assert [found for found in findings if not found.startswith("broken_v2:") and found not in ACCEPTED] == []
