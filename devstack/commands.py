"""The command ``refreshd`` in a process of its own, as an operator runs it."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Mapping

from devstack.daemon_process import REPOSITORY

SECRETS = ("DATABASE_URL", "REFRESHD_OWNER_DATABASE_URL", "SUPABASE_SERVICE_ROLE_KEY", "FMP_API_KEY")
WIDTH = "100"


async def run_command(command: str, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a ``refreshd`` command; return its exit code and what it printed, without the secrets among the settings."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "daemon", *shlex.split(command)[1:], cwd=REPOSITORY,
        env={**os.environ, **environment, "COLUMNS": WIDTH}, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    text = output.decode()
    for variable in SECRETS:
        text = text.replace(environment[variable], f"<{variable}>")
    assert process.returncode is not None
    return process.returncode, text


def shortened(text: str, most_lines: int) -> str:
    """Return at most so many lines, and how many are left out."""
    lines = [line.rstrip() for line in text.rstrip().splitlines()]
    if len(lines) > most_lines:
        lines = [*lines[:most_lines], f"... and {len(lines) - most_lines} more lines"]
    return "\n".join(lines)
