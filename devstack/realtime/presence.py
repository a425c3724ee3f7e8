"""The presences of one room: several metas per key, one for each channel that tracks."""

import secrets
from dataclasses import dataclass
from typing import Any

Metas = dict[str, dict[str, list[dict[str, Any]]]]
"""``{key: {"metas": [meta, ...]}}``, the wire form of a state and of each half of a diff."""

Diff = dict[str, Metas]
"""``{"joins": metas, "leaves": metas}``."""


@dataclass(frozen=True, slots=True)
class _Tracked:
    ref: str
    meta: dict[str, Any]


class Presences:
    """Who is tracked, by key and owner. Every change returns the one diff that tells it."""

    def __init__(self) -> None:
        self._tracked: dict[str, dict[object, _Tracked]] = {}

    def track(self, owner: object, key: str, payload: dict[str, Any]) -> Diff:
        """Track ``owner`` under ``key``, in place of what it tracked there before."""
        owners = self._tracked.setdefault(key, {})
        previous = owners.get(owner)
        tracked = owners[owner] = _new(payload, previous)
        return {"joins": _single(key, tracked), "leaves": _single(key, previous) if previous else {}}

    def untrack(self, owner: object, key: str) -> Diff | None:
        """Forget what ``owner`` tracks under ``key``; None where that is nothing."""
        owners = self._tracked.get(key, {})
        tracked = owners.pop(owner, None)
        if tracked is None:
            return None
        if not owners:
            del self._tracked[key]
        return {"joins": {}, "leaves": _single(key, tracked)}

    def state(self) -> Metas:
        """Return everything that is tracked."""
        return {key: {"metas": [tracked.meta for tracked in owners.values()]} for key, owners in self._tracked.items()}


def _new(payload: dict[str, Any], previous: _Tracked | None) -> _Tracked:
    # The hosted server writes its own fields before the user's and lets doubles stand, of which decoders keep the
    # last: a payload with a phx_ref of its own wins. Clients must live with that, so it is kept.
    ref = secrets.token_urlsafe(12)
    own = {"phx_ref": ref} if previous is None else {"phx_ref": ref, "phx_ref_prev": previous.ref}
    return _Tracked(ref, {**own, **payload})


def _single(key: str, tracked: _Tracked) -> Metas:
    return {key: {"metas": [tracked.meta]}}
