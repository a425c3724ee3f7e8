"""How everything is at a moment, measured and kept under a name: data tables, old jobs, calls and bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from daemon.contracts import ConfigurationError, RefreshdError
from daemon.store.owner import Owner, Queryable, StepRefusedError

CRON_DAYS = 7
"""How far back the runs of old jobs are counted."""

_TYPES = (
    "select data_type, table_name, default_ttl_minutes as ttl_minutes from data_type_registry_v2 order by data_type"
)
_USAGE = """
select (select coalesce(sum(u.calls), 0)::bigint from api_data_usage_v2 u
        where u.reserved_at > now() - interval '24 hours') as calls_in_24_hours,
       (select coalesce(sum(u.bytes), 0)::bigint from api_data_usage_v2 u
        where u.reserved_at > now() - interval '24 hours') as bytes_in_24_hours,
       (select coalesce(sum(u.bytes_in_30_days), 0)::bigint
        from upstreams_v2 p cross join lateral upstream_usage_v2(p.upstream) u) as bytes_in_30_days
"""
_CRON = """
select j.jobid as job_id, coalesce(j.jobname, j.jobid::text) as name, j.schedule, j.command, j.active,
       count(d.runid) as runs,
       count(d.runid) filter (where d.status = 'failed') as failures,
       max(d.start_time) as last_run_at
from cron.job j
left join cron.job_run_details d on d.jobid = j.jobid and d.start_time > now() - make_interval(days => $1)
where j.database = current_database()
group by j.jobid
order by j.jobid
"""
_RECORD = """
insert into migration_baselines_v2 (name, recorded_by, note, content) values ($1, $2, $3, $4) returning recorded_at
"""
_READ = "select name, recorded_at, recorded_by, note, content from migration_baselines_v2"


@dataclass(frozen=True, slots=True)
class TypeMeasure:
    """One data type."""

    data_type: str
    table_name: str
    ttl_minutes: int
    problem: str | None = None
    """Why it could not be measured; then all else is 0."""
    table_rows: int = 0
    symbols: int = 0
    unlisted_symbols: int = 0
    """Those of them that the allow-list does not have: refreshd never asks for them."""
    fresh_symbols: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    viewed: int = 0
    viewed_fresh: int = 0
    jobs_in_24_hours: int = 0
    bytes_in_24_hours: int = 0

    @property
    def fresh_share(self) -> float | None:
        """The share of viewed pairs within their TTL; of all symbols where nobody looked; None where there are none."""
        if self.viewed:
            return self.viewed_fresh / self.viewed
        return self.fresh_symbols / self.symbols if self.symbols else None


@dataclass(frozen=True, slots=True)
class CronMeasure:
    """A job of pg_cron and its runs of the last days."""

    job_id: int
    name: str
    schedule: str
    command: str
    active: bool = True
    runs: int = 0
    failures: int = 0
    last_run_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What was spent: as refreshd has metered it, and as the operator knows it of the old system."""

    calls_in_24_hours: int = 0
    bytes_in_24_hours: int = 0
    bytes_in_30_days: int = 0
    told_calls_a_day: int | None = None
    told_bytes_a_day: int | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """Everything at one moment."""

    types: list[TypeMeasure] = field(default_factory=list)
    cron_jobs: list[CronMeasure] | None = None
    """None where there is no pg_cron, or it cannot be read."""
    usage: Usage = field(default_factory=Usage)

    def of(self, data_type: str) -> TypeMeasure | None:
        """Return what was measured of one type."""
        return next((measure for measure in self.types if measure.data_type == data_type), None)


@dataclass(frozen=True, slots=True)
class Baseline:
    """A measure that was kept."""

    name: str
    recorded_at: datetime
    recorded_by: str
    note: str | None
    measure: Measure


class BaselineError(RefreshdError):
    """There is no such baseline, or its name is taken."""


async def measure(owner: Owner, *, calls_a_day: int | None = None, bytes_a_day: int | None = None) -> Measure:
    """Measure everything now; a table that cannot be read is told and does not keep the others from being measured.

    Raises:
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    types = []
    for row in await owner.fetch(_TYPES):
        try:
            found = await owner.fetchrow("select * from measure_type_v2($1)", row["data_type"])
        except (ConfigurationError, StepRefusedError, asyncpg.PostgresError) as error:
            types.append(TypeMeasure(**row, problem=str(error).removesuffix(": run `refreshd migrate`")))
        else:
            assert found is not None
            types.append(TypeMeasure(**row, problem=None, **found))
    usage = await owner.fetchrow(_USAGE)
    assert usage is not None
    return Measure(
        types, await read_cron(owner), Usage(told_calls_a_day=calls_a_day, told_bytes_a_day=bytes_a_day, **usage)
    )


async def read_cron(database: Queryable) -> list[CronMeasure] | None:
    """Return the jobs of pg_cron with their runs; None where there is none, or it cannot be read."""
    if await database.fetchval("select to_regclass('cron.job') is null"):
        return None
    try:
        return [CronMeasure(**row) for row in await database.fetch(_CRON, CRON_DAYS)]
    except (asyncpg.InsufficientPrivilegeError, ConfigurationError):
        return None


async def record(owner: Owner, name: str, measured: Measure, *, who: str, note: str | None) -> datetime:
    """Keep a measure under a new name, without the commands of jobs, which often have keys in them; return when.

    Raises:
        BaselineError: When the name is taken or none.
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    content = msgspec.to_builtins(asdict(measured))
    for job in content["cron_jobs"] or ():
        job["command"] = ""
    try:
        moment: datetime = await owner.fetchval(_RECORD, name, who, note, content)
    except asyncpg.UniqueViolationError:
        raise BaselineError(f"there is a baseline {name!r} already: give this one another name") from None
    except asyncpg.CheckViolationError:
        raise BaselineError(
            f"{name!r} is no name for a baseline: letters, digits, dots, dashes and underscores, 63 at most"
        ) from None
    return moment


async def list_baselines(database: Queryable) -> Sequence[Baseline]:
    """Return all of them, the newest first."""
    return [_baseline(row) for row in await database.fetch(f"{_READ} order by recorded_at desc")]


async def read_baseline(database: Queryable, name: str | None = None) -> Baseline:
    """Return one of them, the newest without a name.

    Raises:
        BaselineError: When there is none.
    """
    row = await database.fetchrow(
        f"{_READ} where $1::text is null or name = $1 order by recorded_at desc limit 1", name
    )
    if row is None:
        known = await database.fetch("select name from migration_baselines_v2 order by recorded_at desc")
        names = ", ".join(each["name"] for each in known)
        what = (
            "there is no baseline yet"
            if name is None or not known
            else f"there is no baseline {name!r}; there are {names}"
        )
        raise BaselineError(f"{what}: record one with `refreshd baseline record NAME`")
    return _baseline(row)


def _baseline(row: asyncpg.Record) -> Baseline:
    content: Any = row["content"]
    try:
        measured = msgspec.convert(content, Measure, strict=False)
    except msgspec.ValidationError as error:
        raise BaselineError(
            f"the baseline {row['name']} was recorded by a version that this one does not understand: {error}"
        ) from None
    return Baseline(row["name"], row["recorded_at"], row["recorded_by"], row["note"], measured)
