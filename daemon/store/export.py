"""The schema as files for the Supabase CLI, which applies each once, in the order of the timestamps in their names.

A numbered migration has its own hour after a fixed date. What is declared anew on every run of `refreshd migrate` is
one more file a second later; when it changes, another one follows it, and the first stays as it was applied.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timedelta
from pathlib import Path

from daemon.store.execution import MigrationError
from daemon.store.roles import DAEMON_ROLE
from daemon.store.schema import Schema, SqlFile

_FIRST_HOUR = datetime(2025, 1, 1)  # noqa: DTZ001 - a name, not a moment
_TIMESTAMP = "%Y%m%d%H%M%S"
_DECLARED = "refreshd_declared"
_NAME = re.compile(r"(\d{14})_(refreshd_(?:\d{4}_\w+|declared))\.sql")
_HEADER = "-- From `refreshd migrate --export`; not to be edited. SHA-256 of what follows: {}\n"

_ROLE = f"""do $refreshd$
begin
    if not exists (select from pg_roles where rolname = '{DAEMON_ROLE}') then
        create role {DAEMON_ROLE} nologin;
    end if;
end
$refreshd$;
"""
_TABLE = """do $refreshd$
begin
    if to_regclass('public.{name}') is null then
        execute $refreshd_table$
{sql}
$refreshd_table$;
    end if;
end
$refreshd$;
"""
_RECORD = """insert into refreshd_migrations (version, name, checksum)
values ({version}, '{name}', '{checksum}')"""
_RECORD_AGAIN = """
on conflict (version) do update set checksum = excluded.checksum, applied_at = now()"""


def export_schema(schema: Schema, folder: Path) -> tuple[str, ...]:
    """Write the schema into ``folder``, beside what an earlier export left there; return the names of the new files.

    Raises:
        MigrationError: When a file there was edited, or comes from another version's text; nothing was written.
        OSError: When the folder cannot be read or written.
    """
    there = _exported(folder)
    wanted = {_name(0, "refreshd_0000_ledger"): _ledger(schema)}
    wanted |= {_name(file.version, f"refreshd_{file.name}"): _migration(file) for file in schema.migrations}
    for name, text in there.items():
        if not name.endswith(f"_{_DECLARED}.sql") and wanted.get(name) != text:
            raise MigrationError(
                f"{folder / name} is not what this version of refreshd exports under that name, nothing was written:"
                " was it exported by a newer one?"
            )
    wanted |= _declared_file(schema, there)
    new = {name: text for name, text in sorted(wanted.items()) if name not in there}
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in new.items():
        (folder / name).write_text(text, encoding="utf-8")
    return tuple(new)


def _exported(folder: Path) -> dict[str, str]:
    """Return the files of earlier exports, by name; refuse one that was edited."""
    files = sorted(path for path in folder.glob("*.sql") if _NAME.fullmatch(path.name))
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    for name, text in texts.items():
        if text != _sealed(text.partition("\n")[2]):
            raise MigrationError(
                f"{folder / name} was edited after it was exported, nothing was written: restore it, and write the"
                " change as a migration of your own"
            )
    return texts


def _declared_file(schema: Schema, there: dict[str, str]) -> dict[str, str]:
    """Return what is declared, under a name later than all there is; nothing where the newest such file says it."""
    text = _declared(schema)
    earlier = [name for name in there if name.endswith(f"_{_DECLARED}.sql")]
    if earlier and there[earlier[-1]] == text:
        return {}
    moment = _hour(schema.migrations[-1].version)
    if earlier:
        moment = max(moment, datetime.strptime(earlier[-1][:14], _TIMESTAMP))  # noqa: DTZ007 - a name, not a moment
    return {f"{moment + timedelta(seconds=1):{_TIMESTAMP}}_{_DECLARED}.sql": text}


def _ledger(schema: Schema) -> str:
    return _sealed(f"set search_path = public;\n\n{_ROLE}\n{schema.ledger.sql}\nreset search_path;\n")


def _migration(file: SqlFile) -> str:
    record = _RECORD.format(version=file.version, name=file.name, checksum=file.checksum)
    return _sealed(f"set search_path = public;\n\n{file.sql}\n{record};\nreset search_path;\n")


def _declared(schema: Schema) -> str:
    tables = [_TABLE.format(name=file.name, sql=file.sql) for file in schema.data]
    record = _RECORD.format(version=0, name="declared", checksum=schema.declared_checksum) + _RECORD_AGAIN
    parts = [
        "set search_path = public;\nset check_function_bodies = off;\n",
        *tables,
        *(file.sql for file in schema.declared),
        f"{record};\nreset check_function_bodies;\nreset search_path;\n",
    ]
    return _sealed("\n".join(parts))


def _sealed(body: str) -> str:
    return _HEADER.format(hashlib.sha256(body.encode()).hexdigest()) + body


def _name(version: int, name: str) -> str:
    return f"{_hour(version):{_TIMESTAMP}}_{name}.sql"


def _hour(version: int) -> datetime:
    return _FIRST_HOUR + timedelta(hours=version)
