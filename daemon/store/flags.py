"""Feature flags: read by the daemon, set by the operator."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from daemon.contracts import Flags, RefreshdError, type_flag
from daemon.store.database import Database


class UnknownFlagError(RefreshdError):
    """There is no flag of that name; the message lists those that are."""


@dataclass(frozen=True, slots=True)
class FlagRow:
    """One row of ``feature_flags``."""

    name: str
    enabled: bool
    changed_by: str | None
    updated_at: datetime


async def list_flags(database: Database) -> list[FlagRow]:
    """Return all flags by name."""
    rows = await database.fetch("select flag_name, enabled, metadata, updated_at from feature_flags order by flag_name")
    return [
        FlagRow(row["flag_name"], row["enabled"], row["metadata"].get("changed_by"), row["updated_at"]) for row in rows
    ]


async def read_flags(database: Database) -> Flags:
    """Return the flags as the daemon uses them; a missing row is a flag that is off.

    Unless it is that of a data type, and the migration finalized: the flags of moved types are gone, and they are on.
    """
    enabled = {row.name: row.enabled for row in await list_flags(database)}
    rows = await database.fetch("select data_type, is_on from type_flags_v2 order by data_type")
    return Flags(
        use_presence_tracking=enabled.get("use_presence_tracking", False),
        use_queue_system=enabled.get("use_queue_system", False),
        use_new_staleness_check=enabled.get("use_new_staleness_check", False),
        types={row["data_type"]: row["is_on"] for row in rows},
    )


async def set_flags(database: Database, names: Sequence[str], *, enabled: bool) -> list[str]:
    """Set flags, all or none, and record who did it; return those that were different before.

    Raises:
        UnknownFlagError: When one of the names is no flag; then nothing is changed.
    """
    rows = await database.fetch("select data_type, is_on from type_flags_v2")
    before = {type_flag(row["data_type"]): row["is_on"] for row in rows}
    before |= {row.name: row.enabled for row in await list_flags(database)}
    if unknown := [name for name in names if name not in before]:
        raise UnknownFlagError(
            f"there is no flag {', '.join(unknown)}, nothing was changed; the flags are {', '.join(sorted(before))}"
        )
    changed = [name for name in names if before[name] is not enabled]
    await database.execute(
        "insert into feature_flags as f (flag_name, enabled, metadata) select n, $2, $3 from unnest($1::text[]) n"
        " on conflict (flag_name) do update"
        " set enabled = excluded.enabled, metadata = f.metadata || excluded.metadata, updated_at = now()",
        changed,
        enabled,
        {"changed_by": getpass.getuser()},
    )
    return changed
