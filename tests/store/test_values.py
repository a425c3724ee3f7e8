"""The small functions: names, ages, back-off."""

from __future__ import annotations

import asyncpg
import pytest

from daemon.store.database import Database


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("symbol", True),
        ("_Price2", True),
        ("a" * 63, True),
        ("a" * 64, False),
        ("2nd", False),
        ("a b", False),
        ('a"; drop', False),
        ("a\n", False),
        ("é", False),
        ("", False),
        (None, False),
    ],
)
async def test_an_identifier_is_a_plain_name_of_up_to_63_bytes(
    database: Database, name: str | None, valid: bool
) -> None:
    assert await database.fetchval("select is_valid_identifier($1)", name) is valid


@pytest.mark.parametrize("function", ["is_data_stale_v2", "is_profile_stale_v2"])
async def test_data_is_stale_past_its_ttl_and_not_at_it(database: Database, function: str) -> None:
    row = await database.fetch(
        f"""
        select {function}(now() - interval '5 minutes', 5) as at_ttl,
               {function}(now() - interval '5 minutes' - interval '1 microsecond', 5) as past_ttl,
               {function}(null, 5) as never_fetched
        """
    )

    assert tuple(row[0]) == (False, True, True)


@pytest.mark.parametrize("function", ["is_data_stale_v2", "is_profile_stale_v2"])
@pytest.mark.parametrize("ttl", [None, 0, -1])
async def test_a_missing_ttl_raises(database: Database, function: str, ttl: int | None) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError, match="is no TTL"):
        await database.fetchval(f"select {function}(now(), $1)", ttl)


@pytest.mark.parametrize(("retries", "most_seconds"), [(-1, 5), (0, 5), (3, 40), (1000, 900)])
async def test_the_back_off_doubles_up_to_fifteen_minutes_with_full_jitter(
    database: Database, retries: int, most_seconds: int
) -> None:
    row = (
        await database.fetch(
            "select min(d) as least, max(d) as most"
            " from (select extract(epoch from retry_delay_v2($1))::float8 as d from generate_series(1, 400)) x",
            retries,
        )
    )[0]

    assert 0 <= row["least"] < most_seconds * 0.1
    assert most_seconds * 0.9 < row["most"] <= most_seconds
