"""``refreshd seed``."""

from __future__ import annotations

import asyncio
import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

import click

from daemon.cli.display import echo_json, working
from daemon.contracts import RefreshdError
from daemon.settings import load_database_settings
from daemon.store.catalogue import seed_symbols
from daemon.store.database import Database

SYMBOL = re.compile(r"[A-Z0-9^][A-Z0-9.^=-]{0,19}")
_SHOWN = 5


class SymbolFileError(RefreshdError):
    """The file holds something that is no symbol; nothing was stored."""


@click.group()
def seed() -> None:
    """Fill tables that the operator owns."""


@seed.command()
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def symbols(env_file: Path | None, file: TextIO, *, as_json: bool) -> None:
    """Add the symbols in FILE (- for standard input) to the allow-list.

    One symbol a line, optionally followed by a comma and its exchange. Further columns, empty lines, lines that start
    with # and a heading `symbol` are passed over. All or nothing: one bad line, and nothing is stored.
    """
    rows = list(read_symbols(file))
    settings = load_database_settings(env_file)

    async def write() -> int:
        async with Database(
            settings.owner_database_url.get_secret_value(), application_name="refreshd seed"
        ) as database:
            return await seed_symbols(database, rows)

    with working(f"storing {len(rows):,} symbols"):
        changed = asyncio.run(write())
    if as_json:
        echo_json({"symbols": len(rows), "changed": changed})
        return
    click.echo(f"{changed} of {len(rows)} symbols added or changed")


def read_symbols(lines: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """Return (symbol, exchange) of every line.

    Raises:
        SymbolFileError: Naming the first lines that hold no symbol, or saying that there are none at all.
    """
    rows, bad = [], []
    for number, row in enumerate(csv.reader(lines), 1):
        symbol = row[0].strip() if row else ""
        if not symbol or symbol.startswith("#") or (number == 1 and symbol.lower() == "symbol"):
            continue
        if SYMBOL.fullmatch(symbol):
            rows.append((symbol, row[1].strip() or None if len(row) > 1 else None))
        else:
            bad.append(f"line {number}: {symbol[:40]!r}")
    if bad:
        more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise SymbolFileError(
            f"not a symbol in {', '.join(bad[:_SHOWN])}{more}: a symbol is 1 to 20 of A-Z 0-9 . ^ = -;"
            " nothing was stored"
        )
    if not rows:
        raise SymbolFileError("the file holds no symbol; nothing was stored")
    return iter(rows)
