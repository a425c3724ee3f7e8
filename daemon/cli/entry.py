"""The command ``refreshd``: its groups, and how an error becomes one line and an exit code."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from daemon import __version__
from daemon.cli.baseline import baseline
from daemon.cli.check import check
from daemon.cli.completion import completion
from daemon.cli.explain import explain
from daemon.cli.fetch import fetch
from daemon.cli.flags import flags
from daemon.cli.jobs import jobs
from daemon.cli.migrate import migrate
from daemon.cli.migration import migration
from daemon.cli.presence import presence
from daemon.cli.queue import queue
from daemon.cli.run import run
from daemon.cli.seed import seed
from daemon.cli.status import status
from daemon.cli.types import types
from daemon.contracts import ConfigurationError, RefreshdError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--env-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Read settings from this file of NAME=value lines; the environment wins over it.",
)
@click.version_option(__version__, prog_name="refreshd")
@click.pass_context
def refreshd(context: click.Context, env_file: Path | None) -> None:
    """Keep market data fresh for exactly the symbols people are looking at.

    First steps: `refreshd check` says what is missing, `refreshd migrate` applies the schema, `refreshd seed symbols
    FILE` fills the allow-list, `refreshd flags on ...` decides what runs, `refreshd run` is the daemon.

    Exit codes: 0 done or stopped as asked, 78 something has to be configured, 2 wrong usage, 1 anything else.
    """
    context.obj = env_file


for command in (
    run,
    check,
    migrate,
    status,
    queue,
    explain,
    presence,
    jobs,
    flags,
    types,
    fetch,
    seed,
    baseline,
    migration,
    completion,
):
    refreshd.add_command(command)


def main() -> None:
    """Run the command and exit."""
    try:
        refreshd(prog_name="refreshd")
    except ConfigurationError as error:
        _fail(error, 78)
    except RefreshdError as error:
        _fail(error, 1)


def _fail(error: RefreshdError, code: int) -> None:
    click.echo(f"refreshd: {error}", err=True)
    sys.exit(code)
