"""Who owns which shard, as the database decides it."""

from __future__ import annotations

import asyncio

import pytest

from daemon.contracts import KnownTopic, KnownViewer, Pair, Subscription
from daemon.store.database import Database
from daemon.store.demand import report_subscriptions, touch_subscriptions
from daemon.store.shards import StoredShards, list_listeners, list_shards
from tests.rows import make_ready

SHARDS = ["viewers:0", "viewers:1", "viewers:2", "viewers:3", "symbols:0"]
AAPL, MSFT = Pair("AAPL", "quote"), Pair("MSFT", "quote")


def listener(database: Database, name: str) -> StoredShards:
    return StoredShards(database, name, lease_seconds=30)


async def expire(owner: Database, holder: str) -> None:
    """Let a listener have died a while ago."""
    await owner.execute("update leases_v2 set expires_at = now() - interval '1 s' where holder = $1", holder)
    await owner.execute("update listeners_v2 set expires_at = now() - interval '1 s' where holder = $1", holder)


async def test_a_listener_alone_owns_everything(database: Database) -> None:
    held = await listener(database, "a/1").hold(SHARDS, {"enabled": True})

    assert held.kept == frozenset(SHARDS)
    assert held.surplus == frozenset()
    assert held.next_free_seconds is None
    assert [row["status"] for row in await list_listeners(database)] == [{"enabled": True}]


async def test_two_listeners_share_and_nothing_is_owned_twice(database: Database) -> None:
    first, second = listener(database, "a/1"), listener(database, "b/1")
    await first.hold(SHARDS, {})

    nothing = await second.hold(SHARDS, {})
    crowded = await first.hold(SHARDS, {})
    await first.release(sorted(crowded.surplus))
    settled = await second.hold(SHARDS, {})

    assert nothing.kept == frozenset()
    assert 0 < (nothing.next_free_seconds or 0) <= 30
    assert len(crowded.kept & set(SHARDS[:4])) == 2
    assert settled.kept == crowded.surplus
    assert len(settled.kept) == 2
    assert not settled.kept & (await first.hold(SHARDS, {})).kept


async def test_the_shards_of_the_dead_are_taken_when_their_leases_end(owner: Database, database: Database) -> None:
    dead, heir = listener(database, "a/1"), listener(database, "b/1")
    await dead.hold(SHARDS, {})
    await heir.hold(SHARDS, {})
    await expire(owner, "a/1")

    inherited = await heir.hold(SHARDS, {})
    risen = await dead.hold(SHARDS, {})

    assert inherited.kept == frozenset(SHARDS)
    assert risen.kept == frozenset()


async def test_a_lease_that_ended_stays_with_its_holder_until_somebody_takes_it(
    owner: Database, database: Database
) -> None:
    alone = listener(database, "a/1")
    await alone.hold(SHARDS, {})
    await expire(owner, "a/1")

    assert (await alone.hold(SHARDS, {})).kept == frozenset(SHARDS)


async def test_what_an_earlier_life_of_the_instance_owned_is_taken_at_once(database: Database) -> None:
    await listener(database, "a/1").hold(SHARDS, {})

    reborn = await listener(database, "a/2").hold(SHARDS, {})

    assert reborn.kept == frozenset(SHARDS)
    assert [row["holder"] for row in await list_listeners(database)] == ["a/2"]


async def test_a_farewell_hands_everything_over_at_once(database: Database) -> None:
    first, second = listener(database, "a/1"), listener(database, "b/1")
    await first.hold(SHARDS, {})

    await first.retire()
    held = await second.hold(SHARDS, {})

    assert held.kept == frozenset(SHARDS)
    assert {row["holder"] for row in await list_shards(database)} == {"b/1"}


@pytest.mark.parametrize("number", [2, 5])
async def test_listeners_that_come_together_divide_without_overlap(database: Database, number: int) -> None:
    listeners = [listener(database, f"{name}/1") for name in "abcde"[:number]]
    shards = [f"viewers:{shard}" for shard in range(12)]

    for _ in range(6):
        async with asyncio.TaskGroup() as group:
            turns = [group.create_task(each.hold(shards, {})) for each in listeners]
        for each, turn in zip(listeners, turns, strict=True):
            await each.release(sorted(turn.result().surplus))
    held = [(await each.hold(shards, {})).kept for each in listeners]

    assert sorted(shard for each in held for shard in each) == sorted(shards)
    assert {len(each) for each in held} <= {len(shards) // number, -(-len(shards) // number)}


async def test_a_newcomer_for_whom_there_is_no_whole_share_moves_nothing(database: Database) -> None:
    first, second = listener(database, "a/1"), listener(database, "b/1")
    await first.hold(["viewers:0"], {})

    await second.hold(["viewers:0"], {})
    held = await first.hold(["viewers:0"], {})

    assert held.kept == {"viewers:0"}
    assert held.surplus == frozenset()


async def test_whoever_lost_a_shard_can_neither_write_nor_vouch_for_its_rows(
    owner: Database, database: Database
) -> None:
    await make_ready(owner)
    old, new = listener(database, "a/1"), listener(database, "b/1")
    await old.hold(["viewers:0"], {})
    row = Subscription("user:1", AAPL)
    assert await report_subscriptions(database, "a/1", "viewers:0", "viewers:0", [row], [])
    await expire(owner, "a/1")
    await new.hold(["viewers:0"], {})
    await owner.execute("update active_subscriptions_v2 set last_seen_at = now() - interval '1 minute'")

    written = await report_subscriptions(database, "a/1", "viewers:0", "viewers:0", [], [row])
    touched = await touch_subscriptions(database, "a/1", [("viewers:0", "viewers:0")])
    by_the_owner = await touch_subscriptions(database, "b/1", [("viewers:0", "viewers:0")])

    assert (written, touched, by_the_owner) == (False, 0, 1)
    assert await owner.fetchval("select count(*) from active_subscriptions_v2") == 1


async def test_viewers_are_remembered_by_source_until_their_rows_expire(owner: Database, database: Database) -> None:
    await make_ready(owner)
    shards = listener(database, "a/1")
    rows = [Subscription("user:1", AAPL), Subscription("user:1", MSFT), Subscription("user:2", AAPL)]
    await report_subscriptions(database, "a/1", "viewers:0", "viewers:0", rows, [])
    await report_subscriptions(database, "a/1", "viewers:1", "viewers:1", rows[:1], [])
    await owner.execute(
        "update active_subscriptions_v2 set last_seen_at = now() - interval '6 minutes' where user_id = 'user:2'"
    )

    known = await shards.read_viewers("viewers:0")

    assert [(each.viewer, each.pairs) for each in known] == [("user:1", frozenset({AAPL, MSFT}))]
    assert isinstance(known[0], KnownViewer)
    assert 0 <= known[0].seen_seconds_ago < 60


async def test_a_great_many_viewers_are_remembered_page_by_page(owner: Database, database: Database) -> None:
    await owner.execute(
        "insert into active_subscriptions_v2 (user_id, symbol, data_type, source)"
        " select 'user:' || n, s, 'quote', 'viewers:0' from generate_series(1, 2500) n, unnest('{AAPL,MSFT}'::text[]) s"
    )

    known = await listener(database, "a/1").read_viewers("viewers:0")

    assert {each.viewer for each in known} == {f"user:{number}" for number in range(1, 2501)}
    assert {each.pairs for each in known} == {frozenset({AAPL, MSFT})}
    assert len(known) == 2500


async def test_symbol_topics_are_remembered_for_a_day(owner: Database, database: Database) -> None:
    await make_ready(owner)
    shards = listener(database, "a/1")
    named = await database.fetch("select * from name_symbol_topics_v2('{AAPL,MSFT,NOBODY,aapl}') as topic")
    await owner.execute(
        "update symbol_topics_v2 set named_at = now() - interval '25 hours', viewed_at = now() - interval '23 hours'"
        " where topic = 'symbol:MSFT'"
    )

    lately = await shards.read_topics(60)
    within_a_day = await shards.read_topics(86_400)
    await owner.execute("update symbol_topics_v2 set viewed_at = null where topic = 'symbol:MSFT'")
    await shards.note_viewed(["symbol:AAPL"])

    assert [row["topic"] for row in named] == ["symbol:AAPL", "symbol:MSFT"]
    assert [known.topic for known in lately] == ["symbol:AAPL"]
    assert [known.topic for known in within_a_day] == ["symbol:AAPL", "symbol:MSFT"]
    assert isinstance(lately[0], KnownTopic)
    rows = await owner.fetch("select topic, viewed_at is not null as viewed from symbol_topics_v2")
    assert [(row["topic"], row["viewed"]) for row in rows] == [("symbol:AAPL", True)]
