"""Our own copy of one channel's presence, since the library's can be killed by any browser.

Metas are known by (key, phx_ref). What a meta says is read once, when it comes, and only the reading is kept. Changes
come out in slices, each no more work than the caller can afford between two turns of the event loop.

A re-track arrives as the new meta joining and the old one leaving in the same diff. ``phx_ref_prev`` says nothing
beyond that, and a client can forge it: it is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple, TypeAlias, TypeVar

from daemon.presence.metadata import Drops, View

MAX_KEY_LENGTH = 256
MAX_REF_LENGTH = 64
MAX_METAS = 100_000
MAX_PENDING = 20_000
SLICE = 200

T = TypeVar("T")


class MetaId(NamedTuple):
    """What makes a meta the same meta. Both parts may be forged; whoever does so harms nobody but themselves."""

    key: str
    ref: str


class Change(NamedTuple):
    """A slice of what changed: apply ``added`` before ``removed``, or a re-track looks like a leave."""

    added: list[View]
    removed: list[View]


Reader: TypeAlias = Callable[[str, str, dict[str, Any]], View | None]
"""Reads a meta by key, phx_ref and content; None where it is dropped. Must not raise."""


class Mirror:
    """Presence of one channel, over as many joins as it takes.

    What was known before a join is kept until the state that follows it, which replaces everything. The iterators
    returned by ``apply_state`` and ``apply_diff`` do the work as they are consumed; each slice yielded has happened.

    Args:
        read: Reads a meta.
        drops: Grows by what is dropped, by reason.
    """

    def __init__(self, read: Reader, drops: Drops) -> None:
        self._read = read
        self._drops = drops
        self._views: dict[MetaId, View] = {}
        self._pending: dict[MetaId, View | None] = {}
        self._synced = False

    @property
    def synced(self) -> bool:
        """Whether the state that follows the last join has been applied in full."""
        return self._synced

    def views(self) -> Iterable[View]:
        """Return what every meta says."""
        return self._views.values()

    def await_state(self) -> None:
        """Note that the channel is gone: from now on, diffs are kept aside until the state of its next join."""
        self._synced = False
        self._pending.clear()

    def remember(self, views: Iterable[View]) -> Iterator[Change]:
        """Take in what is remembered from before the first join, until a state replaces it."""
        known = ((MetaId("", f"known:{number}"), view) for number, view in enumerate(views))
        for batch in _batches(known):
            yield self._replace(batch)

    def forget(self) -> None:
        """Drop what was known; diffs that wait for a state still do."""
        self._views.clear()

    def apply_state(self, payload: Any) -> Iterator[Change]:
        """Replace everything by a full state, then apply the diffs that came before it."""
        if not isinstance(payload, dict):
            self._drops["malformed_state"] += 1
            return
        present: set[MetaId] = set()
        metas = self._metas(payload)
        for batch in _batches(islice(metas, MAX_METAS)):
            present.update(meta_id for meta_id, _ in batch)
            readings = ((meta_id, self._read(*meta_id, meta)) for meta_id, meta in batch)
            yield self._replace(readings, limit=2 * MAX_METAS)  # after a restart of the server, every ref is new
        for batch in _batches(metas):
            self._drops["mirror_full"] += len(batch)
            yield Change([], [])
        gone = [meta_id for meta_id in self._views if meta_id not in present]
        for ids in _batches(gone):
            yield self._replace((meta_id, None) for meta_id in ids)
        for pending in _batches(self._pending.items()):
            yield self._replace(pending)
        self._pending = {}
        self._synced = True

    def apply_diff(self, payload: Any) -> Iterator[Change]:
        """Apply joins, then leaves; before the first state, keep them for later."""
        if not isinstance(payload, dict):
            self._drops["malformed_diff"] += 1
            return
        for batch in _batches(self._operations(payload)):
            if self._synced:
                yield self._replace(batch)
            else:
                self._postpone(batch)

    def _operations(self, diff: dict[str, Any]) -> Iterator[tuple[MetaId, View | None]]:
        for meta_id, meta in self._metas(diff.get("joins", {})):
            yield meta_id, self._read(*meta_id, meta)
        for meta_id, _ in self._metas(diff.get("leaves", {})):
            yield meta_id, None

    def _metas(self, presences: Any) -> Iterator[tuple[MetaId, dict[str, Any]]]:
        """Yield the well-formed metas of ``{key: {metas: [...]}}``."""
        if not isinstance(presences, dict):
            self._drops["malformed_presence"] += 1
            return
        for key, entry in presences.items():
            metas = entry.get("metas") if isinstance(entry, dict) else None
            if not isinstance(metas, list) or len(key) > MAX_KEY_LENGTH:
                self._drops["malformed_presence"] += 1
                continue
            for meta in metas:
                ref = meta.get("phx_ref") if isinstance(meta, dict) else None
                if isinstance(ref, str) and 0 < len(ref) <= MAX_REF_LENGTH:
                    yield MetaId(key, ref), meta
                else:
                    self._drops["invalid_phx_ref"] += 1

    def _replace(self, operations: Iterable[tuple[MetaId, View | None]], *, limit: int = MAX_METAS) -> Change:
        change = Change([], [])
        for meta_id, view in operations:
            known = self._views.get(meta_id)
            if known == view:
                continue
            if known is not None:
                del self._views[meta_id]
                change.removed.append(known)
            if view is not None and len(self._views) < limit:
                self._views[meta_id] = view
                change.added.append(view)
            elif view is not None:
                self._drops["mirror_full"] += 1
        return change

    def _postpone(self, operations: Iterable[tuple[MetaId, View | None]]) -> None:
        for meta_id, view in operations:
            if meta_id in self._pending or len(self._pending) < MAX_PENDING:
                self._pending[meta_id] = view
            else:
                self._drops["pending_full"] += 1


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, SLICE)):
        yield batch
