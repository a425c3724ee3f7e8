"""What there is to know about a database before its schema matters."""

from __future__ import annotations

from dataclasses import dataclass

from daemon.store.database import Database

_FACTS = """
select current_setting('server_version') as version,
       current_setting('server_version_num')::int as version_number,
       session_user::text as login,
       r.rolsuper as is_superuser,
       exists (
           select from pg_roles d where d.rolname = 'refreshd_daemon' and pg_has_role(session_user, d.oid, 'usage')
       ) as is_member,
       array(
           select wanted from unnest(array['anon', 'authenticated', 'service_role']) wanted
           where not exists (select from pg_roles where rolname = wanted)
           union all
           select 'publication supabase_realtime'
           where not exists (select from pg_publication where pubname = 'supabase_realtime')
       ) as missing
from pg_roles r
where r.rolname = session_user
"""


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """The server, the login, and what of a Supabase project is missing."""

    version: str
    version_number: int
    login: str
    is_superuser: bool
    is_member: bool
    """Of the daemon's role."""
    missing: tuple[str, ...]


async def inspect_database(database: Database) -> DatabaseFacts:
    """Look at the server and at the login.

    Raises:
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    row = await database.fetchrow(_FACTS)
    assert row is not None
    return DatabaseFacts(
        row["version"],
        row["version_number"],
        row["login"],
        row["is_superuser"],
        row["is_member"],
        tuple(row["missing"]),
    )
