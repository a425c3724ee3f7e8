"""The feature flags as the daemon last read them, and what it does when they change.

SQL reads the table itself, so that a flag holds at once for queueing and claiming; this copy decides what the daemon
starts: channels, event-driven checks.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from daemon.contracts import Flags

TURN_ON_HINT = (
    "run `refreshd flags on use_queue_system use_presence_tracking use_new_staleness_check`, turn on the"
    " migrate_<type>_type flags of the types to refresh, and reload"
)

log = structlog.get_logger()


class FlagBoard:
    """Holds the flags and tells who asked to be told.

    Listeners take nothing, do not block and do not raise.
    """

    def __init__(self) -> None:
        self._flags = Flags()
        self._is_read = False
        self._listeners: list[Callable[[], None]] = []

    @property
    def flags(self) -> Flags:
        """The flags as last read; all off before the first reading."""
        return self._flags

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called after every change."""
        self._listeners.append(listener)

    def update(self, flags: Flags) -> None:
        """Take over freshly read flags, log each change, at first what is on, and tell the listeners of a change."""
        before, self._flags = self._flags.by_name(), flags
        after = flags.by_name()
        changed = {name: enabled for name, enabled in after.items() if before.get(name, False) is not enabled}
        if not self._is_read:
            log.info("flags_read", on=[name for name, enabled in after.items() if enabled])
        else:
            for name, enabled in changed.items():
                log.info("flag_changed", flag=name, enabled=enabled)
        self._is_read = True
        for listener in self._listeners if changed else ():
            listener()

    def log_if_idle(self) -> None:
        """Say plainly that these flags leave nothing to do, and how to change that."""
        if self._flags.idle:
            log.info("idle", reason="flags off", hint=TURN_ON_HINT)
