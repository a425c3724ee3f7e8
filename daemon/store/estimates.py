"""What the daemon has measured and must not forget, in ``estimates_v2``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from daemon.store.database import Database, transposed


@dataclass(frozen=True, slots=True)
class Estimate:
    """One measured quantity, in seconds.

    ``estimate`` is ``session_seconds``, or ``lead_seconds`` with the data type as its ``subject``.
    """

    estimate: str
    subject: str
    mean: float
    spread: float
    observations: float


async def read_estimates(database: Database) -> list[Estimate]:
    """Return everything that was measured."""
    rows = await database.fetch("select estimate, subject, mean, spread, observations from estimates_v2")
    return [Estimate(*row) for row in rows]


async def write_estimates(database: Database, estimates: Sequence[Estimate]) -> None:
    """Remember what was measured; of several daemons, the last one's word holds."""
    if not estimates:
        return
    ordered = sorted(estimates, key=lambda known: (known.estimate, known.subject))
    columns = transposed([(e.estimate, e.subject, e.mean, e.spread, e.observations) for e in ordered], 5)
    await database.execute(
        "insert into estimates_v2 (estimate, subject, mean, spread, observations)"
        " select * from unnest($1::text[], $2::text[], $3::float8[], $4::float8[], $5::float8[])"
        " on conflict (estimate, subject) do update set mean = excluded.mean, spread = excluded.spread,"
        " observations = excluded.observations, updated_at = now()",
        *columns,
    )
