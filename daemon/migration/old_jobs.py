"""What the old system runs for each data type: jobs of pg_cron, or whatever a file says of it.

The file is TOML, with a table for each data type::

    [quote]
    cron = "refresh-quotes"          # a job of pg_cron by name or number; or several: ["a", "b"]

    [profile]
    pause = "ssh old systemctl stop profiles.timer"    # commands of this machine's shell
    resume = "ssh old systemctl start profiles.timer"

    [ratios-ttm]
    manual = "the workflow refresh-ratios of the repository"   # a person does it, and says so

    [exchange-variants]
    none = true                      # nothing refreshes it
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from daemon.contracts import ConfigurationError, RefreshdError
from daemon.store.baselines import CronMeasure

ASKED_SECONDS = 150.0
"""How long a function at the edge may work after it was asked, on the plans of Supabase that have the least."""

COMMAND_SECONDS = 120.0
"""How long a command that pauses or resumes may take."""

OldJobs = Sequence[Mapping[str, Any]]
_NOT_ACTIVE = ", not active: going back will not wake it"
_ASKS = "net.http_"
"""What a command has that only asks for work, with pg_net: its run ends long before the work does."""

_KEYS = ({"cron"}, {"pause", "resume"}, {"manual"}, {"none"})


class OldJobError(RefreshdError):
    """An old job cannot be found, paused or resumed; the message says what to do."""


def read_file(path: Path, known: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
    """Return by data type what the file says.

    Raises:
        ConfigurationError: When it cannot be read, or says something else than it should; all of it in one message.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"the file of old jobs {path} cannot be read: {error}") from None
    wrong = [f"{name}: {why}" for name, entry in document.items() if (why := _mistake(name, entry, known))]
    if wrong:
        raise ConfigurationError(f"the file of old jobs {path}: {'; '.join(wrong)}")
    return document


def _mistake(name: str, entry: Any, known: Sequence[str]) -> str | None:
    if name not in known:
        return f"is no data type; there are {', '.join(known)}"
    if not isinstance(entry, dict) or set(entry) not in _KEYS:
        return "wants either cron, or pause and resume, or manual, or none = true"
    if "cron" in entry:
        names = entry["cron"] if isinstance(entry["cron"], list) else [entry["cron"]]
        is_good = bool(names) and all(isinstance(value, str | int) for value in names)
        return None if is_good else "cron is a name, a number or a list of them, and not empty"
    if "none" in entry:
        return None if entry["none"] is True else "none can only be true"
    is_good = all(isinstance(text, str) and text.strip() for text in entry.values())
    return None if is_good else "commands and manual steps are texts, and not empty"


def find(
    data_type: str,
    table: str,
    cron: Sequence[CronMeasure] | None,
    *,
    named: Sequence[str] = (),
    entry: Mapping[str, Any] | None = None,
) -> OldJobs:
    """Return the old jobs of a type, as they are written down; none where the file says that there are none.

    Args:
        data_type: The type.
        table: Its data table.
        cron: The jobs of pg_cron; None where it cannot be asked.
        named: Jobs of pg_cron that the operator names; without any, the file decides, and without that, their names.
        entry: What the file says of the type.

    A job is found by its name. One whose command alone speaks of the type is proposed, and not taken.

    Raises:
        OldJobError: When a named one is not there, or none or several could be meant.
    """
    if entry and not named:
        if "cron" in entry:
            names = entry["cron"]
            return [_named(name, cron) for name in (names if isinstance(names, list) else [names])]
        if "none" in entry:
            return []
        return [written(entry)]
    if named:
        return [_named(name, cron) for name in named]
    found = [job for job in cron or () if mentions(job.name, data_type, table)]
    if len(found) == 1:
        return [_written_down(found[0])]
    advice = (
        "name it with --cron, or in the file of REFRESHD_OLD_JOBS_FILE; --no-old-job where nothing else refreshes this"
    )
    if found:
        raise OldJobError(
            f"{len(found)} jobs of pg_cron could be meant ({', '.join(job.name for job in found)}): {advice}"
        )
    if commands := [job.name for job in cron or () if mentions(job.command, data_type, table)]:
        raise OldJobError(
            f"no job of pg_cron has its name, but the command of {', '.join(commands)} speaks of it: {advice}"
        )
    where = "there is no pg_cron here to look in" if cron is None else f"none of pg_cron's {len(cron)} jobs mentions it"
    raise OldJobError(f"{where}: {advice}")


def written(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a job outside the database, of which the file says how it is paused and resumed, as it is written down."""
    return {"kind": "manual" if "manual" in entry else "command", **entry}


def mentions(text: str, data_type: str, table: str) -> bool:
    """Return whether a job's name or command speaks of a type, or of its table: in whole words, with - or _."""
    words = "|".join(re.escape(word.replace("_", "-")) for word in (data_type, table))
    return re.search(rf"(?<![a-z0-9])(?:{words})s?(?![a-z0-9])", text.lower().replace("_", "-")) is not None


def shared(jobs: OldJobs, cron: Sequence[CronMeasure] | None, others: Mapping[str, str]) -> list[str]:
    """Return the other types that one of these jobs of pg_cron speaks of, too: in its name or its command.

    Args:
        jobs: The jobs of one type.
        cron: All jobs of pg_cron.
        others: The tables of the other types that are the old system's, by type.
    """
    ids = {job.get("cron_job") for job in jobs}
    texts = [f"{job.name} {job.command}" for job in cron or () if job.job_id in ids]
    return [name for name, table in others.items() if any(mentions(text, name, table) for text in texts)]


def _named(name: str | int, cron: Sequence[CronMeasure] | None) -> Mapping[str, Any]:
    if cron is None:
        raise OldJobError(f"the job {name} is one of pg_cron, which is not here, or not to be read by this login")
    for job in cron:
        if str(name) in {job.name, str(job.job_id)}:
            return _written_down(job)
    raise OldJobError(f"pg_cron has no job {name}; it has {', '.join(job.name for job in cron) or 'none'}")


def _written_down(job: CronMeasure) -> Mapping[str, Any]:
    return {
        "kind": "pg_cron",
        "cron_job": job.job_id,
        "name": job.name,
        "schedule": job.schedule,
        "was_active": job.active,
        "only_asks": _ASKS in job.command,
    }


def hold_seconds(jobs: OldJobs, wanted: float) -> float:
    """Return how long a run of these jobs can still go on: ``wanted``, or longer where nobody sees it end."""
    return max(wanted, ASKED_SECONDS) if any(job.get("only_asks") for job in jobs) else wanted


def in_words(jobs: OldJobs) -> str:
    """Return what the old jobs are."""
    said = {
        "pg_cron": lambda job: (
            f"{job['name']} ({job['schedule']}) of pg_cron{'' if job['was_active'] else _NOT_ACTIVE}"
        ),
        "command": lambda job: f"what `{job['pause']}` pauses",
        "manual": lambda job: f"by hand: {job['manual']}",
    }
    return ", ".join(said[job["kind"]](job) for job in jobs) or "none"


def run_command(command: str) -> None:
    """Run a command of the file in the shell, as the operator would.

    Raises:
        OldJobError: When it fails or does not end.
    """
    try:
        done = subprocess.run(  # noqa: S602 - the operator's own file says what to run
            command, shell=True, timeout=COMMAND_SECONDS, capture_output=True, text=True, errors="replace", check=False
        )
    except subprocess.TimeoutExpired:
        raise OldJobError(f"`{command}` did not end within {COMMAND_SECONDS:g} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-300:]
        raise OldJobError(f"`{command}` ended with {done.returncode}: {said or 'it said nothing'}")
