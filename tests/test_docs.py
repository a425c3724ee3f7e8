"""The page about the database names everything that is there, and nothing that is not."""

from __future__ import annotations

import re
from pathlib import Path

from daemon.store.database import Database

PAGE = (Path(__file__).parents[1] / "docs" / "database.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([a-z0-9_]+)`", PAGE))


async def test_every_function_is_on_the_page_and_every_one_on_the_page_exists(owner: Database) -> None:
    rows = await owner.fetch("select proname from pg_proc where pronamespace = 'public'::regnamespace")
    functions = {row["proname"] for row in rows}
    section = PAGE.split("## Functions")[1].split("\n## ")[0]

    assert functions <= NAMED
    assert set(re.findall(r"`([a-z0-9_]+_v2)`", section)) <= functions


async def test_every_own_table_and_view_is_on_the_page(owner: Database) -> None:
    rows = await owner.fetch(
        "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v')"
        " and not relispartition and coalesce(obj_description(oid), '') not like 'Written by refreshd%'"
    )

    assert {row["relname"] for row in rows} <= NAMED
