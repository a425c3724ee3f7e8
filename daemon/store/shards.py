"""Shards of presence in the database: who owns which, the symbol topics to join, and the rows of an earlier life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from daemon.contracts import HeldShards, KnownTopic, KnownViewer, Pair
from daemon.store.database import Database

_TOPICS = """
    select topic,
           extract(epoch from now() - named_at)::float8 as named_seconds_ago
    from symbol_topics_v2
    where greatest(named_at, viewed_at) > now() - make_interval(secs => $1)
    order by topic
"""
_VIEWERS = """
    select user_id, array_agg(symbol) as symbols, array_agg(data_type) as data_types,
           extract(epoch from now() - max(last_seen_at))::float8 as seen_seconds_ago
    from active_subscriptions_v2
    where source = $1 and user_id > $2 and last_seen_at > now() - interval '5 minutes'
    group by user_id
    order by user_id
    limit $3
"""
_PAGE = 1_000


class StoredShards:
    """Implements :class:`daemon.contracts.ShardStore`.

    Args:
        database: The daemon's connections.
        holder: This life of this daemon, ``instance/boot``.
        lease_seconds: How long a shard is ours after the last renewal.
    """

    def __init__(self, database: Database, holder: str, *, lease_seconds: int) -> None:
        self._database = database
        self._holder = holder
        self._lease_seconds = lease_seconds

    async def hold(self, shards: Sequence[str], status: Mapping[str, Any]) -> HeldShards:
        """Renew what is ours and take our share of what is free."""
        rows = await self._database.fetch(
            "select * from hold_shards_v2($1, $2, $3, $4)", self._holder, list(shards), self._lease_seconds, status
        )
        ours = [row for row in rows if row["holder"] == self._holder]
        theirs = [row["seconds_left"] for row in rows if row["holder"] not in {None, self._holder}]
        return HeldShards(
            kept=frozenset(row["shard"] for row in ours if not row["surplus"]),
            surplus=frozenset(row["shard"] for row in ours if row["surplus"]),
            next_free_seconds=min(theirs, default=None),
        )

    async def release(self, shards: Sequence[str]) -> None:
        """Hand shards over."""
        await self._database.execute("select release_shards_v2($1, $2)", self._holder, list(shards))

    async def retire(self) -> None:
        """Hand everything over and say farewell."""
        await self._database.execute("select release_shards_v2($1)", self._holder)

    async def read_topics(self, within_seconds: float) -> list[KnownTopic]:
        """Return the symbol topics asked for or viewed lately."""
        return [KnownTopic(**row) for row in await self._database.fetch(_TOPICS, within_seconds)]

    async def note_viewed(self, topics: Sequence[str]) -> None:
        """Remember that these symbol topics have viewers."""
        await self._database.execute("select touch_symbol_topics_v2($1)", list(topics))

    async def read_viewers(self, source: str) -> list[KnownViewer]:
        """Return who viewed what in a source, as far as the rows have not expired."""
        # By pages, so that the event loop turns between them; a cursor would be a prepared statement, which a
        # transaction pooler gives to somebody else.
        viewers: list[KnownViewer] = []
        while page := await self._database.fetch(_VIEWERS, source, viewers[-1].viewer if viewers else "", _PAGE):
            viewers.extend(map(_known, page))
        return viewers


def _known(row: asyncpg.Record) -> KnownViewer:
    pairs = map(Pair, row["symbols"], row["data_types"])
    return KnownViewer(row["user_id"], frozenset(pairs), row["seen_seconds_ago"])


async def list_shards(database: Database) -> list[Mapping[str, Any]]:
    """Return every shard with its last holder and whether that still holds it."""
    rows = await database.fetch(
        """
        select l.name as shard, l.holder, l.expires_at > now() as held
        from leases_v2 l
        where l.name like 'viewers:%' or l.name like 'symbols:%'
        order by l.name
        """
    )
    return [dict(row) for row in rows]


async def list_listeners(database: Database) -> list[Mapping[str, Any]]:
    """Return every listener that has reported within a day, the latest first, with its status."""
    rows = await database.fetch(
        """
        select holder, status, expires_at > now() as alive,
               extract(epoch from now() - reported_at)::float8 as seconds_ago
        from listeners_v2
        order by reported_at desc
        """
    )
    return [dict(row) for row in rows]
