"""Something that is done a while after it was asked for, once however often it was asked for meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Later:
    """Gathers requests.

    Args:
        seconds: From the first request to the deed.
        do: The deed; it does not block and does not raise.
    """

    def __init__(self, seconds: float, do: Callable[[], None]) -> None:
        self._seconds = seconds
        self._do = do
        self._timer: asyncio.TimerHandle | None = None

    def ask(self) -> None:
        """Have it done; from within the event loop."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._done)

    def _done(self) -> None:
        self._timer = None
        self._do()
