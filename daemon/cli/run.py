"""``refreshd run``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from daemon.log import configure_logging
from daemon.main import run as run_daemon
from daemon.presence.service_key import KeyReader
from daemon.settings import Settings, load_settings

T = TypeVar("T")


@click.command()
@click.pass_obj
def run(env_file: Path | None) -> None:
    """Run the daemon until SIGTERM or Ctrl-C.

    SIGHUP makes it read flags and registry again. Log lines go to standard output: JSON for the journal, or
    REFRESHD_LOG=console for people.
    """
    settings = load_settings(env_file)
    configure_logging(settings.log, settings.log_level, settings.secrets())
    sys.exit(_loop_runner()(run_daemon(settings, _key_reader(settings, env_file))))


def _key_reader(settings: Settings, env_file: Path | None) -> KeyReader:
    """Return what reads the service key again from the file or the credentials; a new one is redacted before use."""
    secrets = set(settings.secrets())

    def read() -> str:
        fresh = load_settings(env_file)
        if not secrets.issuperset(fresh.secrets()):
            secrets.update(fresh.secrets())
            configure_logging(settings.log, settings.log_level, secrets)
        return fresh.supabase_service_role_key.get_secret_value()

    return KeyReader(settings.supabase_service_role_key.get_secret_value(), read)


def _loop_runner() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Return uvloop's runner where it is installed (the extra `speed`), asyncio's otherwise."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return asyncio.run
    return uvloop.run
