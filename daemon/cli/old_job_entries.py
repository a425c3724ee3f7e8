"""What the operator's file says of the old system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from daemon.migration.old_jobs import read_file
from daemon.settings import DatabaseSettings
from daemon.store.moves import Move


def old_job_entries(settings: DatabaseSettings, moves: Sequence[Move]) -> Mapping[str, Mapping[str, Any]]:
    """Return by data type what REFRESHD_OLD_JOBS_FILE says; nothing where there is none.

    Raises:
        ConfigurationError: When it cannot be read, or says something else than it should.
    """
    if not settings.old_jobs_file:
        return {}
    return read_file(Path(settings.old_jobs_file), [move.data_type for move in moves])
