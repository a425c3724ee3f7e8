"""``refreshd run``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from daemon.log import LogOutput, configure_logging
from daemon.main import run as run_daemon
from daemon.settings import Settings, load_settings

T = TypeVar("T")


@click.command()
@click.pass_obj
def run(env_file: Path | None) -> None:
    """Run the daemon until SIGTERM or Ctrl-C.

    SIGHUP makes it read flags, registry and REFRESHD_RELOAD_FILE again. Log lines go to standard output: JSON for the
    journal, or REFRESHD_LOG=console for people.
    """
    settings = load_settings(env_file)
    reader = SettingsReader(settings, env_file)
    sys.exit(_loop_runner()(run_daemon(settings, reader)))


class SettingsReader:
    """Reads the settings again from where they came from; what is secret in them is redacted before anybody uses it.

    Args:
        settings: As they were loaded at the start.
        env_file: The file that was named then.
    """

    def __init__(self, settings: Settings, env_file: Path | None) -> None:
        self._env_file = env_file
        self._mode = settings.log
        self._level = settings.log_level
        self._secrets = set(settings.secrets())
        self._output: LogOutput | None = None
        self._configure()

    def __call__(self) -> Settings:
        """Return fresh settings; errors as :func:`daemon.settings.load_settings`."""
        fresh = load_settings(self._env_file)
        if not self._secrets.issuperset(fresh.secrets()):
            self._secrets.update(fresh.secrets())
            self._configure()
        return fresh

    def use_level(self, settings: Settings) -> None:
        """Log from the level of ``settings`` upwards."""
        self._level = settings.log_level
        self._configure()

    def log_lines(self) -> tuple[int, int]:
        """Return how many lines could not be written, and how many were left out in a flood."""
        assert self._output is not None
        return self._output.lost_lines, self._output.rate.suppressed_lines

    def _configure(self) -> None:
        self._output = configure_logging(self._mode, self._level, self._secrets, output=self._output)


def _loop_runner() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Return uvloop's runner where it is installed (the extra `speed`), asyncio's otherwise."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return asyncio.run
    return uvloop.run
