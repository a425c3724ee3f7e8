"""The schema as files: migrations run once each; functions, triggers, seeds and access are applied every time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

LATEST_VERSION = 13
"""The schema version this daemon was written for: the number of the last file in ``schema/migrations``."""

OLDEST_VERSION = 13
"""The oldest schema version this daemon still works with."""


_RELATION = re.compile(r"^create (?:or replace )?(?:table|view) (\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SqlFile:
    """One file of the schema: its name without the ending, and its text."""

    name: str
    sql: str

    @property
    def version(self) -> int:
        """The number that a migration's name starts with."""
        return int(self.name.split("_", 1)[0])

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hexadecimal."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Schema:
    """All files, in the order in which they are applied."""

    roles: SqlFile
    ledger: SqlFile
    migrations: tuple[SqlFile, ...]
    data: tuple[SqlFile, ...]
    functions: tuple[SqlFile, ...]
    triggers: tuple[SqlFile, ...]
    seeds: tuple[SqlFile, ...]
    access: SqlFile
    adoption: SqlFile
    """A query, of tables that an older system left."""
    names: SqlFile
    """A query, of what is renamed when the suffix goes."""

    @property
    def declared(self) -> tuple[SqlFile, ...]:
        """What is applied on every run, after the data tables that are missing."""
        return (*self.functions, *self.triggers, *self.seeds, self.access)

    @property
    def declared_checksum(self) -> str:
        """SHA-256 of everything but migrations, in hexadecimal."""
        texts = "".join(f"{file.name} {file.checksum}\n" for file in (*self.data, *self.declared))
        return hashlib.sha256(texts.encode()).hexdigest()


def load_schema(folder: Traversable | None = None) -> Schema:
    """Read the schema from ``folder``, or from where the package or the source tree has it.

    Raises:
        FileNotFoundError: When there is no schema: the installation is broken.
    """
    root = folder if folder is not None else _find()
    ledger, migrations = _read(root / "ledger.sql"), _read_all(root / "migrations")
    functions = _read_all(root / "functions")
    own = {
        "own_functions": [file.name for file in functions],
        "own_relations": sorted({name for file in (ledger, *migrations) for name in _RELATION.findall(file.sql)}),
    }
    return Schema(
        roles=_read(root / "roles.sql"),
        ledger=ledger,
        migrations=migrations,
        data=_read_all(root / "data"),
        functions=functions,
        triggers=_read_all(root / "triggers"),
        seeds=tuple(_read(root / "seeds" / f"{name}.sql") for name in ("registry", "flags")),
        access=_naming(_read(root / "access.sql"), own),
        adoption=_read(root / "checks" / "adoption.sql"),
        names=_naming(_read(root / "checks" / "names.sql"), own),
    )


def _naming(file: SqlFile, own: Mapping[str, Sequence[str]]) -> SqlFile:
    """Fill in the names of what the schema creates, where a file asks for them as an array in braces."""
    sql = file.sql
    for word, names in own.items():
        sql = sql.replace(f"'{{{word}}}'", f"'{{{','.join(names)}}}'")
    return SqlFile(file.name, sql)


def _find() -> Traversable:
    packaged = files("daemon") / "schema"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "schema"


def _read(file: Traversable) -> SqlFile:
    return SqlFile(file.name.removesuffix(".sql"), file.read_text(encoding="utf-8"))


def _read_all(folder: Traversable) -> tuple[SqlFile, ...]:
    sql_files: Iterable[Traversable] = (entry for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return tuple(sorted((_read(file) for file in sql_files), key=lambda file: file.name))
