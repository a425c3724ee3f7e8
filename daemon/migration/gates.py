"""Whether a moved type does as well as before: what was observed, judged. Pure: no clock, no database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from daemon.store.baselines import TypeMeasure
from daemon.store.moves import Observation

OK, BROKEN, WAITING = "ok", "broken", "waiting"

LEAST_SUCCESS = 0.9
LEAST_JOBS = 10
"""Ended jobs from which their share of success says something."""
FAILED_FROM_THE_START = 3
"""Failed jobs after which a type of which none has succeeded does worse."""
FRESHNESS_TOLERANCE = 0.02
"""How much smaller than in the baseline the share of fresh pairs may be before that is worse."""
LEAST_SAMPLED_PAIRS = 20
MOST_PENDING = 1_000
MOST_OF_BYTES = 0.9
LEAST_GAP_SECONDS = 600.0
GAP_TTLS = 2.0
"""How long a viewed pair may be overdue, in TTLs, but never less than LEAST_GAP_SECONDS: a longer wait is a gap."""
LATEST_SAMPLES = 5.0
"""Samples that may be missing before nobody seems to watch."""
MISSED_SHARE = 0.1
"""Share of the samples of a watch that may be missing when it ends."""
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Check:
    """What one gate says."""

    name: str
    state: str
    """``ok``, ``broken`` or ``waiting`` (nothing to judge by yet)."""
    text: str


def judge(seen: Observation, before: TypeMeasure | None, sample_seconds: float) -> tuple[Check, ...]:
    """Return what every gate says about a type that is watched.

    Args:
        seen: What was observed.
        before: The type in the baseline that it was started with.
        sample_seconds: How often the daemon looks.
    """
    return (
        _flag(seen),
        _old_jobs(seen),
        _watch(seen, sample_seconds),
        _success(seen),
        _freshness(seen, before),
        _queue(seen),
        _quota(seen),
        _gaps(seen),
        _symbols(seen),
    )


def _flag(seen: Observation) -> Check:
    if not seen.flag_is_on:
        return Check("flag", BROKEN, "the flag was turned off by hand: nobody refreshes this type")
    if not seen.queue_is_on:
        return Check("flag", BROKEN, "the flag use_queue_system is off: nothing is refreshed")
    return Check("flag", OK, "on")


def _old_jobs(seen: Observation) -> Check:
    if seen.active_old_jobs:
        return Check("old job", BROKEN, f"{', '.join(seen.active_old_jobs)} runs again: both systems spend calls")
    return Check("old job", OK, "paused" if seen.active_old_jobs is not None else "paused, as far as can be seen")


def _watch(seen: Observation, sample_seconds: float) -> Check:
    late = LATEST_SAMPLES * sample_seconds
    since = seen.watched_seconds if seen.sampled_seconds_ago is None else seen.sampled_seconds_ago
    if seen.is_held:
        return Check("watch", WAITING, "held until runs of the old job have ended")
    if since > late:
        return Check("watch", BROKEN, f"no daemon has looked for {_time(since)}: start one (systemctl start refreshd)")
    when = "not looked at yet" if seen.sampled_seconds_ago is None else f"looked at {_time(since)} ago"
    return Check("watch", OK, when)


def _success(seen: Observation) -> Check:
    ended = seen.completed + seen.failed
    if not ended:
        return Check("success", WAITING, "no job has ended yet")
    share = seen.completed / ended
    text = f"{share:.1%} of {ended:,} jobs in 24 h"
    if share >= LEAST_SUCCESS:
        return Check("success", OK, text)
    if ended < LEAST_JOBS and (seen.completed or seen.failed < FAILED_FROM_THE_START):
        return Check("success", WAITING, f"{text}: too few to judge by ({LEAST_JOBS})")
    return Check("success", BROKEN, f"{text}: less than {LEAST_SUCCESS:.0%}")


def _freshness(seen: Observation, before: TypeMeasure | None) -> Check:
    if seen.viewed < LEAST_SAMPLED_PAIRS:
        return Check("freshness", WAITING, "too little was looked at to judge by, in the last hour or since the start")
    share = seen.fresh / seen.viewed
    text = f"{share:.1%} of what is viewed was fresh in the last hour"
    wanted = before.fresh_share if before is not None else None
    if wanted is None:
        return Check("freshness", OK, f"{text}; the baseline has nothing to compare with")
    compared = f"{text}, {wanted:.1%} in the baseline"
    return Check("freshness", OK if share >= wanted - FRESHNESS_TOLERANCE else BROKEN, compared)


def _queue(seen: Observation) -> Check:
    text = f"{seen.pending_everywhere:,} jobs wait"
    if seen.pending_everywhere < MOST_PENDING:
        return Check("queue", OK, text)
    return Check("queue", BROKEN, f"{text}: {MOST_PENDING:,} or more")


def _quota(seen: Observation) -> Check:
    if seen.bytes_share is None:
        return Check("quota", BROKEN, "no running daemon has announced limits: nothing is claimed")
    text = f"{seen.bytes_share:.0%} of the bytes of 30 days are spent"
    if seen.bytes_share < MOST_OF_BYTES:
        return Check("quota", OK, text)
    return Check("quota", BROKEN, f"{text}: {MOST_OF_BYTES:.0%} or more")


def _gaps(seen: Observation) -> Check:
    longest = max(LEAST_GAP_SECONDS, GAP_TTLS * seen.ttl_seconds)
    if (seen.schedule_overdue_seconds or 0) > longest:
        text = f"its schedule was due {_time(seen.schedule_overdue_seconds or 0)} ago and nothing came of it"
        return Check("gaps", BROKEN, text)
    if seen.overdue_seconds is None:
        return Check("gaps", OK, "nobody looks at it now")
    if seen.overdue_seconds > longest:
        return Check("gaps", BROKEN, f"{seen.overdue_symbol} is viewed, and due for {_time(seen.overdue_seconds)}")
    return Check("gaps", OK, "nothing viewed waits long")


def _symbols(seen: Observation) -> Check:
    missing = seen.missing_symbols
    if not missing:
        return Check("symbols", OK, f"none lost of {seen.symbols_at_start or 0:,} at the start")
    more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
    return Check("symbols", BROKEN, f"no rows any more of {', '.join(missing[:_NAMED])}{more}")


def reasons_to_wait(checks: Sequence[Check], watched_seconds: float, watch_seconds: float) -> Iterator[str]:
    """Yield what speaks against the end of a watch.

    Args:
        checks: What the gates say.
        watched_seconds: For how long somebody has watched, by samples.
        watch_seconds: How long a watch lasts.
    """
    for check in checks:
        if check.state == BROKEN:
            yield f"a gate is broken: {check.name} ({check.text})"
        elif check.state == WAITING and check.name == "success":
            yield f"there is nothing to judge success by ({check.text})"
    if watched_seconds < watch_seconds * (1 - MISSED_SHARE):
        yield f"it has been watched for {_time(watched_seconds)} of {_time(watch_seconds)}"


def cannot_look(reason: str) -> tuple[Check, ...]:
    """Return what there is to say of a type that cannot be looked at."""
    return (Check("look", BROKEN, f"it cannot be looked at: {reason}"),)


def _time(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
