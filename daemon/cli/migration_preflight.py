"""What is looked at before a data type moves over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from daemon.cli.check import Finding, probe_upstream
from daemon.cli.old_job_entries import old_job_entries
from daemon.contracts import CallRefusedError, Flags, RefreshdError
from daemon.fetchers.plug_ins import load_fetchers
from daemon.migration import old_jobs
from daemon.migration.gates import MOST_OF_BYTES
from daemon.migration.phases import ORDER, WORDS, in_order
from daemon.settings import Settings
from daemon.store.baselines import Baseline, BaselineError, read_baseline, read_cron
from daemon.store.budgets import read_limits, read_verdict
from daemon.store.database import Database
from daemon.store.flags import read_flags
from daemon.store.migrate import check_version
from daemon.store.moves import Move, list_moves, read_move
from daemon.store.owner import Owner
from daemon.store.queue_state import read_queue_state

MOST_UNLISTED = 0.1
"""Share of the symbols of a table that refreshd may not be allowed to ask for: with more, something is forgotten."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the operator asked for."""

    data_type: str
    cron: Sequence[str]
    no_old_job: bool
    baseline: str | None


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found."""

    findings: Sequence[Finding]
    jobs: old_jobs.OldJobs
    baseline: Baseline | None

    @property
    def failed(self) -> list[str]:
        """What speaks against the move."""
        return [finding.subject for finding in self.findings if not finding.ok]


async def look(owner: Owner, settings: Settings, asked: Asked) -> Looked:
    """Look at everything that a move needs; no finding keeps another from being made."""
    url = settings.database_url.get_secret_value()
    async with Database(url, application_name="refreshd migration") as database:
        await check_version(database)
        move = await read_move(owner, asked.data_type)
        findings = [
            Finding("registry", True, f"fetcher {move.fetcher}, table {move.table_name}, {move.refresh_strategy}"),
            *_phase(move, await list_moves(owner)),
            await _table(owner, move),
            _fetcher(move),
        ]
        jobs, job_findings = await _old_jobs(owner, settings, asked, move)
        recorded, baseline_finding = await _baseline(owner, asked)
        findings += [*job_findings, baseline_finding]
        findings += await _budgets(database, move)
        findings += _flags(await read_flags(database), move)
        findings += await _key(settings, database, move)
    return Looked(findings, jobs, recorded)


def _phase(move: Move, moves: Sequence[Move]) -> list[Finding]:
    findings = []
    if move.phase not in {"old", "pausing", "rolled_back"}:
        text = f"is {WORDS[move.phase]}: see `refreshd migration status {move.data_type}`"
        findings.append(Finding("phase", False, text))
    earlier = [each.data_type for each in in_order(moves) if each.phase in {"old", "rolled_back"}]
    if move.data_type in ORDER and earlier and earlier[0] != move.data_type and earlier[0] in ORDER:
        findings.append(Finding("order", True, f"note: {earlier[0]} would come first in the plan's order"))
    return findings


async def _table(owner: Owner, move: Move) -> Finding:
    try:
        found = await owner.fetchrow("select * from measure_type_v2($1)", move.data_type)
    except RefreshdError as error:
        return Finding("table", False, f"{move.table_name} cannot be read as the registry says: {error}")
    assert found is not None
    text = f"{move.table_name}: {found['table_rows']:,} rows of {found['symbols']:,} symbols"
    unlisted = found["unlisted_symbols"]
    if not unlisted:
        return Finding("table", True, text)
    said = f"{text}; {unlisted:,} of them are not in supported_symbols and will be refreshed by nobody"
    is_ok = unlisted <= MOST_UNLISTED * found["symbols"]
    return Finding("table", is_ok, said if is_ok else f"{said}: refreshd seed symbols FILE")


def _fetcher(move: Move) -> Finding:
    if move.fetcher in load_fetchers().fetchers:
        return Finding("fetcher", True, f"{move.fetcher} is there")
    return Finding(
        "fetcher", False, f"neither this version nor a plug-in has {move.fetcher}: its jobs would wait for ever"
    )


async def _old_jobs(
    owner: Owner, settings: Settings, asked: Asked, move: Move
) -> tuple[old_jobs.OldJobs, list[Finding]]:
    if asked.no_old_job:
        return [], [Finding("old job", True, "none, as you say")]
    moves = await list_moves(owner)
    cron = await read_cron(owner)
    entries = old_job_entries(settings, moves)
    try:
        jobs = old_jobs.find(move.data_type, move.table_name, cron, named=asked.cron, entry=entries.get(move.data_type))
    except old_jobs.OldJobError as error:
        return [], [Finding("old job", False, str(error))]
    others = {
        other.data_type: other.table_name
        for other in moves
        if other.data_type != move.data_type and other.phase in {"old", "rolled_back"}
    }
    shared = old_jobs.shared(jobs, cron, others)
    if shared:
        text = (
            f"{old_jobs.in_words(jobs)} refreshes {', '.join(shared)} as well, which would stop: split it in two first"
        )
        return jobs, [Finding("old job", False, text)]
    return jobs, [Finding("old job", True, old_jobs.in_words(jobs))]


async def _baseline(owner: Owner, asked: Asked) -> tuple[Baseline | None, Finding]:
    try:
        found = await read_baseline(owner, asked.baseline)
    except BaselineError as error:
        return None, Finding("baseline", False, str(error))
    before = found.measure.of(asked.data_type)
    share = before.fresh_share if before else None
    text = f"{found.name} of {found.recorded_at:%Y-%m-%d %H:%M} UTC"
    return found, Finding("baseline", True, text if share is None else f"{text}, {share:.1%} fresh")


async def _budgets(database: Database, move: Move) -> list[Finding]:
    limits = await read_limits(database, move.upstream)
    if limits is None:
        text = "none has announced its limits: nobody would refresh this (systemctl start refreshd)"
        return [Finding("daemon", False, text)]
    row = next(row for row in (await read_queue_state(database)).upstreams if row["upstream"] == move.upstream)
    share = row["bytes_in_30_days"] / limits.bytes_per_30_days
    calls = f"{row['calls_in_window']:,} of {limits.calls_per_minute:,} calls a minute"
    text = f"{calls}, {share:.0%} of the bytes of 30 days"
    has_room = share < MOST_OF_BYTES and row["calls_in_window"] < limits.calls_per_minute
    return [
        Finding("daemon", True, "runs"),
        Finding("budgets", has_room, text if has_room else f"{text}: no headroom for another type"),
    ]


def _flags(flags: Flags, move: Move) -> list[Finding]:
    needed = {"use_queue_system": flags.use_queue_system}
    if move.refresh_strategy == "on-demand":
        needed["use_presence_tracking"] = flags.use_presence_tracking
    if off := [name for name, is_on in needed.items() if not is_on]:
        text = f"off, and nothing is refreshed without: refreshd flags on {' '.join(off)}"
        return [Finding("flags", False, text)]
    return [Finding("flags", True, f"{', '.join(needed)} on")]


async def _key(settings: Settings, database: Database, move: Move) -> list[Finding]:
    """Try the key with a call; where none may be made just now, say so: the old system may spend the same minute."""
    verdict = await read_verdict(database, move.upstream)
    if verdict.held_by is not None and "breaker" in verdict.held_by:
        return [Finding("key", False, f"calls are held by the breaker: {verdict.reason}")]
    try:
        return await probe_upstream(settings, database)
    except CallRefusedError as error:
        return [Finding("key", True, f"not tried: {error}")]
    except RefreshdError as error:
        return [Finding("key", False, str(error))]
