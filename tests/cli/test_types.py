"""``refreshd types`` as an operator types it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import pytest
import pytest_asyncio

from devstack.stack import Stack
from tests.cli.test_commands import refreshd, set_fetcher

HINT = "systemctl reload refreshd"
DAILY = "30 21 * * MON-FRI"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with Stack(latency_seconds=0.0, durable=False, symbols=["AAPL"]) as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def read(stack: Stack, column: str) -> Any:
    return await stack.owner.fetchval(
        "select to_jsonb(r) -> $1 from data_type_registry_v2 r where data_type = 'profile'", column
    )


@pytest.mark.parametrize(("columns", "lines_per_type"), [(80, 2), (130, 1)])
async def test_every_type_is_listed_within_the_width_of_the_terminal(
    stack: Stack, columns: int, lines_per_type: int
) -> None:
    code, text = await refreshd(stack, "types", "list", COLUMNS=str(columns))

    lines = [line.rstrip() for line in text.splitlines()]
    [quote] = [index for index, line in enumerate(lines) if line.startswith("quote ")]
    shown = " ".join(" ".join(lines[quote : quote + lines_per_type]).split())
    assert code == 0
    assert max(map(len, lines)) <= columns
    for value in ("live_quote_indicators", "on-demand", "1 min", "100", "2,000", "on", "built-in"):
        assert f" {value}" in shown
    assert "…" not in text


async def test_a_type_that_is_off_or_has_no_fetcher_is_told(stack: Stack) -> None:
    await refreshd(stack, "flags", "off", "migrate_financial_statements_type")
    await set_fetcher(stack, "financial-statements", "fax")

    code, text = await refreshd(stack, "types", "list", COLUMNS="130")
    await set_fetcher(stack, "financial-statements", "financial-statements")
    await refreshd(stack, "flags", "on", "migrate_financial_statements_type")

    [line] = [line for line in text.splitlines() if line.startswith("financial-statements")]
    assert code == 0
    assert "30 d" in line
    assert line.split()[-2:] == ["off", "none"]


async def test_the_list_and_one_type_are_json_for_scripts(stack: Stack) -> None:
    _, text = await refreshd(stack, "types", "list", "--json")
    _, one = await refreshd(stack, "types", "show", "quote", "--json")

    listed = {row["data_type"]: row for row in orjson.loads(text)}
    assert {"profile", "quote"} <= listed.keys()
    assert orjson.loads(one) == listed["quote"]
    assert (listed["quote"]["enabled"], listed["quote"]["fetcher_origin"]) == (True, "built-in")


async def test_a_type_is_shown_with_everything(stack: Stack) -> None:
    code, text = await refreshd(stack, "types", "show", "profile")

    shown = {line.split()[0]: line.split(maxsplit=1)[1] for line in text.splitlines()}
    assert code == 0
    assert shown["default_ttl_minutes"] == "1440 (1 d)"
    assert shown["key_columns"] == "symbol"
    assert shown["next_scheduled_at"] == "-"
    assert shown["created_at"].endswith(" UTC")
    assert shown.keys() >= {"updated_at", "estimate_in_force_bytes", "source_timestamp_column", "has_fetcher"}


async def test_a_change_says_what_was_and_what_is(stack: Stack) -> None:
    code, text = await refreshd(stack, "types", "set", "profile", "--ttl", "2160", "--weight", "2.5", "--priority", "0")

    assert code == 0
    assert text.splitlines()[:3] == ["TTL: 1 d -> 1 d 12 h", "weight: 1 -> 2.5", "priority: 0 (as it was)"]
    assert HINT in text
    assert await read(stack, "default_ttl_minutes") == 2160


async def test_a_type_is_scheduled_and_taken_off_its_schedule(stack: Stack) -> None:
    code, text = await refreshd(stack, "types", "set", "profile", "--strategy", "scheduled")
    assert code == 1
    assert "profile has no schedule, and needs one to be scheduled: give it with --schedule" in text

    await stack.owner.execute("update data_type_state_v2 set next_scheduled_at = now()")
    code, text = await refreshd(
        stack, "types", "set", "profile", "--strategy", "scheduled", "--schedule", DAILY.replace(" ", "  ")
    )
    assert code == 0
    assert text.splitlines()[:2] == ["strategy: on-demand -> scheduled", f"schedule: - -> {DAILY}"]
    assert "fires next at " in text
    assert "21:30 UTC" in text
    assert await stack.owner.fetchval(
        "select next_scheduled_at is null from data_type_state_v2 where data_type = 'profile'"
    )

    code, text = await refreshd(stack, "types", "set", "profile", "--strategy", "on-demand")
    assert code == 0
    assert f"the schedule {DAILY} is kept, but does not hold while the strategy is on-demand" in text
    assert await read(stack, "refresh_schedule") == DAILY


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "nothing to change: give --ttl, --strategy, --schedule, --weight or --priority"),
        (("--ttl", "0"), 2, "'--ttl': 0 is not in the range"),
        (("--ttl", "99999999999"), 2, "'--ttl': 99999999999 is not in the range"),
        (("--weight", "0"), 2, "a weight is a number above 0"),
        (("--weight", "nan"), 2, "a weight is a number above 0"),
        (("--weight", "inf"), 2, "a weight is a number above 0"),
        (("--weight", "1e-40"), 2, "a weight is a number above 0"),
        (("--strategy", "hourly"), 2, "'hourly' is not one of 'on-demand', 'scheduled'"),
        (("--schedule", "0 25 * * *"), 1, "has a bad hour, '25'"),
        (("--schedule", "0 0 31 2 *"), 1, "'0 0 31 2 *' never fires"),
        (("--schedule", ""), 1, "has 0 fields instead of 5"),
    ],
)
async def test_what_makes_no_sense_is_refused_and_changes_nothing(
    stack: Stack, arguments: Sequence[str], code: int, said: str
) -> None:
    before = await stack.owner.fetchval("select to_jsonb(r) from data_type_registry_v2 r where data_type = 'quote'")

    answered, text = await refreshd(stack, "types", "set", "quote", *arguments)

    after = await stack.owner.fetchval("select to_jsonb(r) from data_type_registry_v2 r where data_type = 'quote'")
    assert (answered, after) == (code, before)
    assert said in text


async def test_an_unknown_type_names_the_known_ones(stack: Stack) -> None:
    for arguments in (("set", "quotes", "--ttl", "5"), ("show", "quotes")):
        code, text = await refreshd(stack, "types", *arguments)

        assert code == 1
        assert "there is no data type 'quotes'; the types are " in text
        assert "profile, quote" in text


async def test_the_daemons_login_may_look_and_not_change(stack: Stack) -> None:
    code, _ = await refreshd(stack, "types", "list", REFRESHD_OWNER_DATABASE_URL="")
    assert code == 0

    code, text = await refreshd(stack, "types", "set", "quote", "--ttl", "5", REFRESHD_OWNER_DATABASE_URL="")
    assert code == 78
    assert "this login may not change data types, the owner may: set REFRESHD_OWNER_DATABASE_URL" in text


async def test_a_database_without_the_schema_is_told_as_such(stack: Stack) -> None:
    url = stack.postgres.url("template1")

    code, text = await refreshd(stack, "types", "list", REFRESHD_OWNER_DATABASE_URL=url)

    assert code == 78
    assert "run `refreshd migrate`" in text
