"""The daemon's role, and its login's membership in it."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import asyncpg

from daemon.contracts import ConfigurationError
from daemon.store.database import Connection

DAEMON_ROLE = "refreshd_daemon"


async def has_daemon_role(connection: Connection) -> bool:
    """Return whether the role is there."""
    return bool(await connection.fetchval("select exists (select from pg_roles where rolname = $1)", DAEMON_ROLE))


async def create_daemon_role(connection: Connection) -> bool:
    """Create the daemon's role where it is missing, and return whether it was.

    Raises:
        ConfigurationError: When the owner may not create roles; the message holds the SQL to run.
    """
    if await has_daemon_role(connection):
        return False
    try:
        async with connection.transaction():
            await connection.execute(f"create role {DAEMON_ROLE} nologin")
    except asyncpg.InsufficientPrivilegeError:
        raise ConfigurationError(
            f"the owner may not create roles. Run as an administrator: create role {DAEMON_ROLE} nologin;"
        ) from None
    return True


async def grant_daemon_role(connection: Connection, daemon_url: str) -> None:
    """Make the login of ``daemon_url`` a member of the daemon's role.

    Raises:
        ConfigurationError: When the owner may not grant it; the message holds the SQL to run.
    """
    login = unquote(urlsplit(daemon_url).username or "")
    row = await connection.fetchrow(
        "select pg_has_role(rolname, $2, 'member') as member, quote_ident(rolname) as name"
        " from pg_roles where rolname = $1",
        login,
        DAEMON_ROLE,
    )
    if row is None or row["member"]:
        return
    try:
        async with connection.transaction():
            await connection.execute(f"grant {DAEMON_ROLE} to {row['name']}")
    except asyncpg.InsufficientPrivilegeError:
        raise ConfigurationError(
            f"the owner may not grant the daemon's role. Run as an administrator: grant {DAEMON_ROLE} to {row['name']};"
        ) from None
