"""When a schedule fires: cron expressions with five fields, in UTC, read as Debian's cron reads them."""

from __future__ import annotations

from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from daemon.contracts import RefreshdError

LONGEST_EXPRESSION = 200
_FIELDS = ("minute", "hour", "day-of-month", "month", "day-of-week")
_SHAPE = f'write "{" ".join(_FIELDS)}" (UTC), such as "30 21 * * MON-FRI"'
_MONTH = 3


class ScheduleError(RefreshdError):
    """The expression is no schedule, or it never fires; the message says what is wrong with it."""


def next_firing(expression: str, after: datetime) -> datetime:
    """Return the first moment after ``after`` at which ``expression`` fires: aware, in UTC, on a full minute.

    Where day of month and day of week are both given, either of them suffices; where one of them starts with ``*``,
    both must hold.

    Args:
        expression: ``minute hour day-of-month month day-of-week``.
        after: An aware moment; it is never returned itself.

    Raises:
        ScheduleError: For an expression that cannot be read, or that does not fire within 50 years.
    """
    if after.tzinfo is None:
        raise ValueError("a moment without a time zone")
    _check_shape(expression)
    try:
        return next(CronSim(expression, after.astimezone(UTC)))
    except CronSimError as error:
        raise ScheduleError(_refusal(expression, _reason(expression, error))) from None
    except (StopIteration, OverflowError):
        raise ScheduleError(_refusal(expression, "never fires")) from None


def _check_shape(expression: str) -> None:
    if len(expression) > LONGEST_EXPRESSION:
        raise ScheduleError(_refusal(expression, f"is longer than {LONGEST_EXPRESSION} characters"))
    count = len(expression.split())
    if count != len(_FIELDS):
        raise ScheduleError(_refusal(expression, f"has {count} field{'' if count == 1 else 's'} instead of 5"))


def _reason(expression: str, error: CronSimError) -> str:
    """Return what is wrong; a day that exists, but in none of the months, is no bad day."""
    fields = expression.split()
    fields[_MONTH] = "*"
    try:
        CronSim(" ".join(fields), datetime.now(UTC))
    except CronSimError:
        name = str(error).removeprefix("Bad ")
        return f"has a bad {name}, {_excerpt(expression.split()[_FIELDS.index(name)])}"
    if str(error) == "Bad month":
        return f"has a bad month, {_excerpt(expression.split()[_MONTH])}"
    return "never fires: its months have no such day"


def _refusal(expression: str, reason: str) -> str:
    return f"the schedule {_excerpt(expression)} {reason}; {_SHAPE}"


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")  # noqa: PLR2004 - enough to recognise it by
