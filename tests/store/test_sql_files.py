"""Every SQL file parses as PostgreSQL reads it, before any server sees it."""

from __future__ import annotations

import pglast
import pytest

from daemon.store.schema import SqlFile, load_schema
from tests.store.test_catalog import OWNER_ONLY

SCHEMA = load_schema()
FILES = [
    SCHEMA.roles,
    SCHEMA.ledger,
    *SCHEMA.migrations,
    *SCHEMA.data,
    *SCHEMA.functions,
    *SCHEMA.triggers,
    *SCHEMA.seeds,
    SCHEMA.access,
    SCHEMA.adoption,
    SCHEMA.names,
]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_parses(file: SqlFile) -> None:
    assert pglast.parse_sql(file.sql)
    if "language plpgsql" in file.sql:
        assert pglast.parse_plpgsql(file.sql)


@pytest.mark.parametrize("file", SCHEMA.functions, ids=lambda file: file.name)
def test_a_function_file_holds_one_function_its_comment_and_its_grants(file: SqlFile) -> None:
    statements = [type(raw.stmt).__name__ for raw in pglast.parse_sql(file.sql)]

    grants = ["GrantStmt"] if file.name in OWNER_ONLY else ["GrantStmt", "GrantStmt"]
    assert statements == ["CreateFunctionStmt", "CommentStmt", *grants]
    assert f"function {file.name}(" in file.sql
    assert "set search_path = public, pg_temp" in file.sql


def test_a_broken_file_does_not_parse() -> None:
    with pytest.raises(pglast.parser.ParseError):
        pglast.parse_sql("create nothing x ();")
