"""The watch over moved types: looks at each again and again, and says loudly when one does worse than before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import structlog

from daemon.contracts import ConfigurationError
from daemon.migration.gates import BROKEN, Check, cannot_look, judge, reasons_to_wait
from daemon.migration.phases import flag_problem
from daemon.store.baselines import BaselineError, read_baseline
from daemon.store.database import Database
from daemon.store.moves import Move, ObservationError, list_moves, observe, sample, write_checks
from daemon.store.owner import Queryable, StepRefusedError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the gates say of a type, for how long it was watched, and what speaks against the end of that."""

    checks: tuple[Check, ...]
    watched_seconds: float
    reasons: tuple[str, ...]


async def judge_now(database: Queryable, move: Move, sample_seconds: float, whole_watch_seconds: float) -> Judgement:
    """Judge a watched type as things are, against the baseline that it was started with.

    What is wrong with this type alone, such as a table that has changed, is a broken gate.

    Raises:
        StoreUnavailableError: When PostgreSQL does not answer.
    """
    watched = 0.0
    try:
        before = None
        if move.baseline is not None:
            before = (await read_baseline(database, move.baseline)).measure.of(move.data_type)
        seen = await observe(database, move.data_type, sample_seconds)
    except (BaselineError, ObservationError, StepRefusedError, ConfigurationError) as error:
        checks = cannot_look(str(error))
    else:
        checks = judge(seen, before, sample_seconds)
        watched = max(min(seen.watched_seconds, seen.sampled_seconds), 0.0)
    return Judgement(checks, watched, tuple(reasons_to_wait(checks, watched, whole_watch_seconds)))


class MoveWatch:
    """One look at a time; a :class:`~daemon.refresh.periodic.Periodic` takes them.

    Whichever daemon of several takes the sample judges it, and tells what has changed since the judgement before, which
    is in the database: each change is told once.

    Args:
        database: Where it all is.
        sample_seconds: How often samples are wanted.
        watch_seconds: How long a type is watched before it can be finished.
    """

    def __init__(self, database: Database, sample_seconds: float, watch_seconds: float) -> None:
        self._database = database
        self._sample_seconds = sample_seconds
        self._watch_seconds = watch_seconds
        self._told: set[tuple[str, str]] = set()
        self.latest: Sequence[Move] = ()
        """Every type, as it was found last."""

    async def turn(self) -> None:
        """Look once.

        Raises:
            StoreUnavailableError: When PostgreSQL does not answer.
        """
        if await sample(self._database, self._sample_seconds / 2):
            await self._judge()
        self.latest = await list_moves(self._database)
        for move in self.latest:
            self._tell_of_flag(move)

    async def _judge(self) -> None:
        for move in await list_moves(self._database):
            if move.phase == "watched":
                await self._judge_one(move)

    async def _judge_one(self, move: Move) -> None:
        judgement = await judge_now(self._database, move, self._sample_seconds, self._watch_seconds)
        checks = judgement.checks
        await write_checks(self._database, move.data_type, [asdict(check) for check in checks])
        was_broken = {check["name"] for check in move.checks if check["state"] == BROKEN}
        for check in checks:
            self._tell_of_change(move, check, was_broken=check.name in was_broken)
        if not judgement.reasons and self._is_new("over", move):
            hint = f"every gate holds: run `refreshd migration finish {move.data_type}`"
            log.info("migration_watch_over", data_type=move.data_type, hint=hint)

    @staticmethod
    def _tell_of_change(move: Move, check: Check, *, was_broken: bool) -> None:
        if check.state == BROKEN and not was_broken:
            hint = f"look into it, or go back: run `refreshd migration rollback {move.data_type}`"
            log.warning(
                "migration_gate_broken", data_type=move.data_type, gate=check.name, reason=check.text, hint=hint
            )
        elif check.state != BROKEN and was_broken:
            log.info("migration_gate_recovered", data_type=move.data_type, gate=check.name, reason=check.text)

    def _tell_of_flag(self, move: Move) -> None:
        problem = flag_problem(move)
        if problem is None or move.phase == "watched":  # a gate of its own
            self._told.discard(("flag", move.data_type))
        elif self._is_new("flag", move):
            hint = "the flag is not as the migration left it: run `refreshd migration status`"
            log.warning("migration_flag_unexpected", data_type=move.data_type, reason=problem, hint=hint)

    def _is_new(self, what: str, move: Move) -> bool:
        """Return whether this was not told of the type yet."""
        before = len(self._told)
        self._told.add((what, move.data_type))
        return len(self._told) > before
