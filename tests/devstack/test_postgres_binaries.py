"""Where the PostgreSQL of the development stack comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from devstack.postgres import EmbeddedPostgres, PostgresNotFoundError, find_binaries
from devstack.postgres_binaries import BINARIES_VARIABLE, PROGRAMS, choose_binaries


def fake_installation(folder: Path, version: str) -> Path:
    """Put programs into ``folder`` that do nothing but name a version."""
    for program in PROGRAMS:
        path = folder / program
        path.write_text(f"#!/bin/sh\necho '{version}'\n")
        path.chmod(0o755)
    return folder


def test_a_folder_without_postgresql_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(BINARIES_VARIABLE, str(tmp_path))

    with pytest.raises(PostgresNotFoundError, match=f"{BINARIES_VARIABLE} names '{tmp_path}'"):
        EmbeddedPostgres.start()


def test_a_named_folder_comes_before_all_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = fake_installation(tmp_path, "postgres (PostgreSQL) 19beta1")
    monkeypatch.setenv(BINARIES_VARIABLE, str(named))

    found = find_binaries()

    assert found == named


def test_a_named_postgresql_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    too_old = fake_installation(tmp_path, "postgres (PostgreSQL) 14.19 (Debian 14.19-1)")
    monkeypatch.setenv(BINARIES_VARIABLE, str(too_old))

    with pytest.raises(PostgresNotFoundError, match="PostgreSQL 15 or newer"):
        find_binaries()


def test_the_first_usable_folder_is_chosen(tmp_path: Path) -> None:
    names = {"old": "14.19", "good": "15.1", "better": "18.4"}
    for name, version in names.items():
        (tmp_path / name).mkdir()
        fake_installation(tmp_path / name, f"postgres (PostgreSQL) {version}")
    (tmp_path / "old" / "initdb").unlink()

    chosen = choose_binaries([tmp_path / "missing", *(tmp_path / name for name in names)])

    assert chosen == tmp_path / "good"


def test_without_any_postgresql_the_error_says_what_to_install(tmp_path: Path) -> None:
    too_old = fake_installation(tmp_path, "postgres (PostgreSQL) 14.19 (Debian 14.19-1)")

    with pytest.raises(PostgresNotFoundError, match=r"pip install 'refreshd\[demo\]'"):
        choose_binaries([too_old, tmp_path / "missing"])
