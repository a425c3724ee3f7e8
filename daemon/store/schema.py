"""The schema as files: migrations run once each; functions, triggers, seeds and access are applied every time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

LATEST_VERSION = 12
"""The schema version this daemon was written for: the number of the last file in ``schema/migrations``."""

OLDEST_VERSION = 12
"""The oldest schema version this daemon still works with."""


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
    return Schema(
        roles=_read(root / "roles.sql"),
        ledger=_read(root / "ledger.sql"),
        migrations=_read_all(root / "migrations"),
        data=_read_all(root / "data"),
        functions=_read_all(root / "functions"),
        triggers=_read_all(root / "triggers"),
        seeds=tuple(_read(root / "seeds" / f"{name}.sql") for name in ("registry", "flags")),
        access=_read(root / "access.sql"),
        adoption=_read(root / "checks" / "adoption.sql"),
    )


def _find() -> Traversable:
    packaged = files("daemon") / "schema"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "schema"


def _read(file: Traversable) -> SqlFile:
    return SqlFile(file.name.removesuffix(".sql"), file.read_text(encoding="utf-8"))


def _read_all(folder: Traversable) -> tuple[SqlFile, ...]:
    sql_files: Iterable[Traversable] = (entry for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return tuple(sorted((_read(file) for file in sql_files), key=lambda file: file.name))
