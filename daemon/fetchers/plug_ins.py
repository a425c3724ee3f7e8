"""Data types that other packages add: what they declare under the entry-point group ``refreshd.fetchers``.

The name of an entry point is what the registry calls the fetcher (``edge_function_name``), its value a callable
without arguments that builds one. docs/plug-ins.md says how to write one. A plug-in that is broken is refused with a
reason, and one that breaks later fails its own jobs: neither takes the daemon down.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import EntryPoint, entry_points
from inspect import iscoroutinefunction
from typing import Any

import orjson

from daemon.contracts import (
    ExchangeBook,
    Fetched,
    Fetcher,
    FetchError,
    FetchErrorKind,
    FetchRequest,
    Oddity,
    OddityKind,
    RefreshdError,
    Upstream,
)
from daemon.fetchers.table import build_fetchers

GROUP = "refreshd.fetchers"
BUILT_IN = "built-in"
MAX_BATCH = 1_000
MAX_ETAG = 200

_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")


@dataclass(frozen=True, slots=True)
class FetcherTable:
    """Every fetcher of this process. They remember things: load them once."""

    fetchers: Mapping[str, Fetcher]
    plug_ins: Mapping[str, str] = field(default_factory=dict)
    """By the name of its fetcher the distribution that brings it, with its version."""
    problems: Sequence[str] = ()
    """Why plug-ins were refused, a line for each."""

    def origin(self, name: str) -> str | None:
        """Return where a fetcher comes from: ``built-in``, or a distribution and its version; None where it is none."""
        return self.plug_ins.get(name, BUILT_IN) if name in self.fetchers else None


class PlugInError(RefreshdError):
    """A plug-in cannot be used; the message says why."""


def load_fetchers(
    declared: Iterable[EntryPoint] | None = None,
    book: ExchangeBook | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> FetcherTable:
    """Return the fetchers of this version and those of all plug-ins that can be used.

    Args:
        declared: The entry points; those of the installed distributions where None.
        book: What is stored about exchanges.
        now: Returns the time.
    """
    fetchers, plug_ins, problems = build_fetchers(book, now), dict[str, str](), list[str]()
    for point in sorted(_declared(problems) if declared is None else declared, key=lambda p: (p.name, _origin(p))):
        taken_by = plug_ins.get(point.name, BUILT_IN) if point.name in fetchers else None
        try:
            fetchers[point.name] = _load(point, taken_by)
            plug_ins[point.name] = _origin(point)
        except PlugInError as error:
            problems.append(f"{_origin(point)}, fetcher {point.name[:50]!r}: {error}"[:500])
    return FetcherTable(fetchers, plug_ins, problems)


def _declared(problems: list[str]) -> Iterable[EntryPoint]:
    try:
        return entry_points(group=GROUP)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the metadata of another package
        problems.append(f"the installed packages cannot be read: {type(error).__name__}: {error}"[:500])
        return ()


def _load(point: EntryPoint, taken_by: str | None) -> Fetcher:
    if taken_by is not None:
        raise PlugInError(f"that name is taken: {taken_by} has it")
    if not _NAME.fullmatch(point.name):
        raise PlugInError("a name is made of up to 41 lower-case letters, digits and hyphens")
    try:
        fetcher = point.load()()
        problem = _shortcoming(fetcher)
    except (Exception, SystemExit) as error:
        raise PlugInError(f"{point.value} cannot be built: {type(error).__name__}: {error}") from error
    if problem is not None:
        raise PlugInError(f"{point.value} builds no fetcher: {problem}")
    return GuardedFetcher(_origin(point), fetcher)


def _shortcoming(fetcher: Any) -> str | None:
    if not isinstance(getattr(fetcher, "data_type", None), str):
        return "data_type is no text"
    if not _is_size(getattr(fetcher, "batch_size", None)):
        return f"batch_size is no number from 1 to {MAX_BATCH}"
    return None if iscoroutinefunction(getattr(fetcher, "fetch", None)) else "fetch is no coroutine function"


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_BATCH


def _origin(point: EntryPoint) -> str:
    return "an unknown package" if point.dist is None else f"{point.dist.name} {point.dist.version}"


class GuardedFetcher:
    """A plug-in's fetcher, of which only what the contract allows comes out.

    Args:
        origin: Whose it is, for messages.
        fetcher: It.
    """

    def __init__(self, origin: str, fetcher: Fetcher) -> None:
        self.data_type = fetcher.data_type
        self._origin = origin
        self._fetcher = fetcher

    @property
    def batch_size(self) -> int:
        """What the plug-in says, 1 where that makes no sense."""
        try:
            size = self._fetcher.batch_size
        except (Exception, SystemExit):  # noqa: BLE001 - whatever somebody else's code raises
            return 1
        return size if _is_size(size) else 1

    async def fetch(self, requests: Sequence[FetchRequest], upstream: Upstream) -> Mapping[str, Fetched | FetchError]:
        """Have the plug-in fetch.

        Raises:
            FetchError: What it raises; MALFORMED for everything that it should not.
            CallRefusedError: Where the call was not made.
        """
        try:
            results = await self._fetcher.fetch(requests, upstream)
            return {request.symbol: self._checked(results.get(request.symbol)) for request in requests}
        except RefreshdError:
            raise
        except (Exception, SystemExit) as error:
            raise self._broken(f"{type(error).__name__}: {error}") from error

    def _checked(self, result: Any) -> Fetched | FetchError:
        if result is None:
            return Fetched(rows=())
        if isinstance(result, FetchError):
            return result
        if not isinstance(result, Fetched):
            return self._broken(f"a result is a {type(result).__name__}, neither Fetched nor FetchError")
        problem = _unfit(result)
        if problem is not None:
            return self._broken(problem)
        rows = None if result.rows is None else [dict(row) for row in result.rows]
        return replace(result, rows=rows, oddities=tuple(result.oddities))

    def _broken(self, reason: str) -> FetchError:
        return FetchError(FetchErrorKind.MALFORMED, f"the plug-in {self._origin} is broken: {reason}"[:500])


def _unfit(fetched: Fetched) -> str | None:
    """Return why a result cannot be worked with: its annotations promise what nobody has checked."""
    moment: Any = fetched.source_timestamp
    etag: Any = fetched.etag
    if moment is not None and (not isinstance(moment, datetime) or moment.tzinfo is None):
        return "source_timestamp is no time with a zone"
    if etag is not None and not (isinstance(etag, str) and len(etag) <= MAX_ETAG and etag.isprintable()):
        return f"etag is no text of up to {MAX_ETAG} printable characters"
    if not all(map(_is_oddity, fetched.oddities)):
        return "oddities holds something else than Oddity"
    try:
        orjson.dumps([dict(row) for row in fetched.rows or ()])
    except (TypeError, ValueError) as error:
        return f"rows are no mappings of what JSON can carry: {error}"
    return None


def _is_oddity(value: Any) -> bool:
    kinds = (OddityKind, str, str, int)
    return isinstance(value, Oddity) and all(map(isinstance, value, kinds))
