"""Named places at which the process can be made to die, so that tests can prove that no job and no effect is lost.

Armed by ``REFRESHD_CRASH_POINT``: never in operation.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

LOOP_POINTS = {
    "claimed": "jobs are ours, nothing has been started",
    "admitted": "the breaker lets a call through, nothing is reserved",
    "reserved": "a call is reserved in both budgets, nothing is sent",
    "answered": "the upstream has answered",
    "concluded": "it is known what becomes of the jobs, nothing is written",
    "leases_taken": "within the transaction of the effect: the jobs are completed",
    "rows_stored": "within the transaction of the effect: the rows are stored",
    "settled": "within the transaction of the effect: the call is settled, nothing is committed",
    "committed": "the effect is committed, and nobody has been told",
    "renewed": "leases of running jobs are renewed",
}
"""What has just happened at each of them, in the loop of the daemon."""

JOURNEY_POINTS = {
    "move_pausing": "what will be paused outside the database is written down",
    "move_paused": "what lies outside the database is paused",
    "move_begun": "a type has moved over, and is held",
    "move_held": "a moved type is let go",
    "rollback_begun": "a type is off, its old jobs are paused",
    "rollback_drained": "nothing of a type that goes back is under way",
    "rollback_handed_back": "rows are stamped, and pg_cron's jobs resumed",
    "names_changed": "within the transaction of the end: everything has its new name",
    "rollback_resumed": "what lies outside the database is resumed",
}
"""The same in the commands that move a data type over and back."""

POINTS = LOOP_POINTS | JOURNEY_POINTS


@dataclass(slots=True)
class _Armed:
    point: str | None = None
    passes_left: int = 0


_armed = _Armed()


def parse(text: str) -> tuple[str, int]:
    """Return the point that ``NAME`` or ``NAME:N`` means, and at which pass the process dies there.

    Raises:
        ValueError: For anything else, saying what there is.
    """
    name, _, number = text.partition(":")
    if name not in POINTS or (number and not (number.isdecimal() and int(number) > 0)):
        raise ValueError(f"must be NAME or NAME:N with one of {', '.join(POINTS)}")
    return name, int(number or 1)


def arm(text: str) -> None:
    """Let the process kill itself at the point that ``text`` names; at none where it is empty."""
    _armed.point, _armed.passes_left = parse(text) if text else (None, 0)


def arm_from_environment() -> None:
    """Do that as ``REFRESHD_CRASH_POINT`` says, for a command that needs no other setting of the daemon."""
    arm(os.environ.get("REFRESHD_CRASH_POINT", ""))


def reached(point: str) -> None:
    """Die here by SIGKILL, if this is the point and the pass."""
    if point == _armed.point:
        _armed.passes_left -= 1
        if _armed.passes_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
