"""Money in the database: limits, reservations, settlements, pauses and the breaker's one row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from daemon.contracts import CallRefusedError
from daemon.store.database import Connection, Database, transposed


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one reserved call really cost; 0 calls gives an unsent reservation back."""

    reservation: int
    calls: int
    received_bytes: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What the upstream's plan allows, and the parameters of the policy that the database applies."""

    calls_per_minute: int
    bytes_per_30_days: int
    first_view_share: float = 0.1
    """Of what is spent, for pairs that were never fetched."""
    price_step: float = 0.15


@dataclass(frozen=True, slots=True)
class LimitsInForce:
    """The least limits of all live instances, and whether theirs differ."""

    limits: Limits
    differ: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What holds all calls: ``no_limits``, ``pause``, ``breaker``, ``bytes``, or nothing; and why."""

    held_by: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class BreakerRow:
    """The breaker as all processes see it."""

    state: str
    open_for_seconds: float
    """Until a probe may be asked for; 0 or less is now."""


_VERDICT = """
select u.breaker_state, u.breaker_reason, u.pause_reason,
       coalesce(u.paused_until > clock_timestamp(), false) as paused,
       l.upstream is null as no_limits,
       coalesce(b.bytes_in_30_days >= l.bytes_per_30_days * 0.95, false) as exhausted
from upstreams_v2 u
left join upstream_limits_in_force_v2 l on l.upstream = u.upstream
cross join lateral upstream_usage_v2(u.upstream) b
where u.upstream = $1
"""


async def announce_limits(database: Database, upstream: str, instance: str, limits: Limits) -> LimitsInForce:
    """Write this instance's limits and that it lives; return what is in force: the least of all live instances."""
    differ = await database.fetchval(
        "select announce_limits_v2($1, $2, $3, $4, $5, $6)",
        upstream,
        instance,
        limits.calls_per_minute,
        limits.bytes_per_30_days,
        limits.first_view_share,
        limits.price_step,
    )
    in_force = await read_limits(database, upstream)
    return LimitsInForce(in_force or limits, bool(differ))


async def read_limits(database: Database, upstream: str) -> Limits | None:
    """Return the limits in force, None where no instance lives."""
    row = await database.fetchrow(
        "select calls_per_minute, bytes_per_30_days, first_view_share, price_step"
        " from upstream_limits_in_force_v2 where upstream = $1",
        upstream,
    )
    return None if row is None else Limits(*row)


async def retire_instance(database: Database, instance: str) -> None:
    """Take back the limits of an instance that stops."""
    await database.execute("select retire_instance_v2($1)", instance)


async def read_verdict(database: Database, upstream: str) -> Verdict:
    """Return whether calls are held now."""
    row = await database.fetchrow(_VERDICT, upstream)
    assert row is not None, f"upstream {upstream} is not in upstreams_v2"
    if row["no_limits"]:
        return Verdict("no_limits", "no running daemon has announced limits")
    if row["paused"]:
        return Verdict("pause", row["pause_reason"])
    if row["breaker_state"] != "closed":
        return Verdict("breaker", row["breaker_reason"])
    if row["exhausted"]:
        return Verdict("bytes", "95 % of the bytes of 30 days are spent")
    return Verdict(None, None)


async def reserve_call(database: Database, upstream: str, estimated_bytes: int, holder: str) -> int:
    """Reserve one call of both budgets; return the id to settle.

    Raises:
        CallRefusedError: When a budget or a pause stands in the way.
        StoreUnavailableError: When PostgreSQL could not do it now; the reservation then counts as spent, if it exists.
    """
    row = await database.fetchrow(
        "select * from reserve_api_calls_v2($1, 1, $2, $3)", upstream, estimated_bytes, holder
    )
    assert row is not None
    if row["refused_by"] is not None:
        raise CallRefusedError(row["refused_by"], row["retry_after_seconds"])
    return int(row["ids"][0])


async def settle(connection: Connection | Database, settlements: Sequence[Settlement]) -> None:
    """Replace reservations by what was spent; settling twice changes nothing."""
    if settlements:
        columns = transposed([(s.reservation, s.calls, s.received_bytes) for s in settlements], 3)
        await connection.execute("select settle_api_calls_v2($1, $2, $3)", *columns)


async def pause_upstream(database: Database, upstream: str, seconds: float, reason: str) -> None:
    """Stop all calls to an upstream for a while, in all processes."""
    await database.execute("select pause_upstream_v2($1, $2, $3)", upstream, seconds, reason)


async def read_breaker(database: Database, upstream: str) -> BreakerRow:
    """Return the breaker of an upstream."""
    row = await database.fetchrow(
        """
        select breaker_state,
               extract(epoch from greatest(breaker_open_until, probe_expires_at) - clock_timestamp())::float8 as seconds
        from upstreams_v2 where upstream = $1
        """,
        upstream,
    )
    assert row is not None, f"upstream {upstream} is not in upstreams_v2"
    return BreakerRow(row["breaker_state"], row["seconds"] or 0.0)


async def trip_breaker(
    database: Database, upstream: str, reason: str, probe: UUID | None, first_seconds: float, longest_seconds: float
) -> float | None:
    """Open the breaker; return for how many seconds, or None where somebody else was first."""
    seconds: float | None = await database.fetchval(
        "select trip_breaker_v2($1, $2, $3, $4, $5)", upstream, reason, probe, first_seconds, longest_seconds
    )
    return seconds


async def acquire_probe(database: Database, upstream: str, lease_seconds: float) -> UUID | None:
    """Ask for the one probe; None where it is not time or somebody else has it."""
    probe: UUID | None = await database.fetchval("select acquire_probe_v2($1, $2)", upstream, lease_seconds)
    return probe


async def close_breaker(database: Database, upstream: str, probe: UUID) -> bool:
    """Close the breaker after a good probe; False where the probe was no longer ours."""
    return bool(await database.fetchval("select close_breaker_v2($1, $2)", upstream, probe))


async def return_probe(database: Database, upstream: str, probe: UUID) -> None:
    """Give back a probe that decided nothing."""
    await database.execute("select return_probe_v2($1, $2)", upstream, probe)
