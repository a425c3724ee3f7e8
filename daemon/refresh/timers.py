"""One timer per pair, on a heap; setting it again replaces it. Pure: the clock is passed in."""

from __future__ import annotations

import heapq

from daemon.contracts import Pair


class DueTimers:
    """When each pair is to be looked at, in monotonic seconds."""

    def __init__(self) -> None:
        self._due: dict[Pair, float] = {}
        self._heap: list[tuple[float, Pair]] = []

    def __len__(self) -> int:
        return len(self._due)

    def set(self, pair: Pair, at: float) -> None:
        """Look at ``pair`` at that time, whatever was set before."""
        if self._due.get(pair) != at:
            self._due[pair] = at
            heapq.heappush(self._heap, (at, pair))
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [(at, pair) for pair, at in self._due.items()]
            heapq.heapify(self._heap)

    def drop(self, pair: Pair) -> None:
        """Forget ``pair``."""
        self._due.pop(pair, None)

    def next_at(self) -> float | None:
        """Return when the first timer fires; None where there is none."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float, limit: int | None = None) -> list[Pair]:
        """Remove and return the pairs whose time has come, the longest due first, at most ``limit``."""
        taken: list[Pair] = []
        while len(taken) != limit and (at := self.next_at()) is not None and at <= now:
            _, pair = heapq.heappop(self._heap)
            del self._due[pair]
            taken.append(pair)
        return taken
