"""The registry as an operator changes it: all or nothing, with what was and what is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from daemon.contracts import ConfigurationError
from daemon.schedule import ScheduleError
from daemon.store.database import Database
from daemon.store.registry import (
    TypeChange,
    TypeChangeError,
    TypeSettings,
    UnknownTypeError,
    change_type,
    list_types,
    read_type,
)

DAILY = "30 21 * * MON-FRI"
BEFORE = TypeSettings(1, "on-demand", None, 1.0, 0)
SOON = datetime(2030, 1, 1, tzinfo=UTC)


async def plan(owner: Database) -> None:
    """Give the type a time at which its schedule fires."""
    await owner.execute("update data_type_state_v2 set next_scheduled_at = $1", SOON)


async def planned(owner: Database) -> datetime | None:
    row = await read_type(owner, "quote")
    moment: datetime | None = row["next_scheduled_at"]
    return moment


async def test_a_change_says_what_was_and_what_is(owner: Database) -> None:
    await owner.execute("update data_type_registry_v2 set updated_at = now() - interval '1 d'")

    before, after = await change_type(owner, "quote", TypeChange(ttl_minutes=5, weight=0.1, priority=-3))

    assert (before, after) == (BEFORE, TypeSettings(5, "on-demand", None, 0.1, -3))
    row = await read_type(owner, "quote")
    assert (row["default_ttl_minutes"], row["weight"], row["priority"]) == (5, 0.1, -3)
    assert row["updated_at"] > row["created_at"]


async def test_a_change_of_nothing_leaves_the_row_alone(owner: Database) -> None:
    moment = (await read_type(owner, "quote"))["updated_at"]

    assert await change_type(owner, "quote", TypeChange(ttl_minutes=1)) == (BEFORE, BEFORE)

    assert (await read_type(owner, "quote"))["updated_at"] == moment


@pytest.mark.parametrize(
    "change",
    [TypeChange(schedule="0 0 * * *"), TypeChange(strategy="on-demand"), TypeChange(strategy="on-demand", weight=2)],
)
async def test_a_new_schedule_or_strategy_forgets_the_next_firing(owner: Database, change: TypeChange) -> None:
    await change_type(owner, "quote", TypeChange(strategy="scheduled", schedule=DAILY))
    await plan(owner)

    await change_type(owner, "quote", change)

    assert await planned(owner) is None


@pytest.mark.parametrize("change", [TypeChange(ttl_minutes=9), TypeChange(strategy="scheduled", schedule=DAILY)])
async def test_any_other_change_keeps_the_next_firing(owner: Database, change: TypeChange) -> None:
    await change_type(owner, "quote", TypeChange(strategy="scheduled", schedule=DAILY))
    await plan(owner)

    await change_type(owner, "quote", change)

    assert await planned(owner) == SOON


async def test_going_on_demand_keeps_the_schedule_and_back_again_needs_none(owner: Database) -> None:
    await change_type(owner, "quote", TypeChange(strategy="scheduled", schedule=DAILY))

    _, idle = await change_type(owner, "quote", TypeChange(strategy="on-demand"))
    _, back = await change_type(owner, "quote", TypeChange(strategy="scheduled"))

    assert (idle.strategy, idle.schedule) == ("on-demand", DAILY)
    assert (back.strategy, back.schedule) == ("scheduled", DAILY)


async def test_a_scheduled_type_needs_a_schedule_that_fires(owner: Database) -> None:
    with pytest.raises(TypeChangeError, match="quote has no schedule"):
        await change_type(owner, "quote", TypeChange(strategy="scheduled", weight=2.0))
    with pytest.raises(ScheduleError, match="never fires"):
        await change_type(owner, "quote", TypeChange(schedule="0 0 31 2 *", weight=2.0))
    await owner.execute("update data_type_registry_v2 set refresh_schedule = '0 0 31 2 *'")
    with pytest.raises(ScheduleError, match="never fires"):
        await change_type(owner, "quote", TypeChange(strategy="scheduled", weight=2.0))

    assert (await read_type(owner, "quote"))["weight"] == 1


async def test_what_the_table_refuses_is_told(owner: Database) -> None:
    with pytest.raises(TypeChangeError, match=r"nothing was changed: .*default_ttl_minutes"):
        await change_type(owner, "quote", TypeChange(ttl_minutes=0))


async def test_an_unknown_type_names_the_known_ones(owner: Database) -> None:
    for attempt in (change_type(owner, "quotes", TypeChange(ttl_minutes=2)), read_type(owner, "quotes")):
        with pytest.raises(UnknownTypeError, match=r"no data type 'quotes'; the types are .*profile, .*quote"):
            await attempt


async def test_the_daemon_reads_types_and_may_not_change_them(database: Database) -> None:
    assert {"profile", "quote"} <= {row["data_type"] for row in await list_types(database)}
    with pytest.raises(ConfigurationError, match="set REFRESHD_OWNER_DATABASE_URL"):
        await change_type(database, "quote", TypeChange(ttl_minutes=2))


async def test_the_estimate_in_force_is_what_was_learnt(owner: Database) -> None:
    await owner.execute("update data_type_state_v2 set estimated_data_size_bytes = 4321 where data_type = 'quote'")

    row = await read_type(owner, "quote")

    assert (row["estimated_data_size_bytes"], row["estimate_in_force_bytes"]) == (2000, 4321)
