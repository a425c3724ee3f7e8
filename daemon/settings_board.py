"""The settings in force: which of them may change while the daemon runs, and who is told."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from daemon.settings import RELOADABLE, Settings, variable_of

log = structlog.get_logger()


class SettingsBoard:
    """Holds the settings and tells who asked to be told.

    Args:
        settings: As they were loaded at the start.
    """

    def __init__(self, settings: Settings) -> None:
        self.current = settings
        self._listeners: list[Callable[[Settings], None]] = []
        self._said: set[str] = set()

    def on_change(self, listener: Callable[[Settings], None]) -> None:
        """Have ``listener`` called after every change with the new settings; it does not block and does not raise."""
        self._listeners.append(listener)

    def update(self, fresh: Settings) -> None:
        """Take over what may change, log each change, and say which changes need a restart."""
        changed = {
            name: (getattr(self.current, name), getattr(fresh, name))
            for name in Settings.model_fields
            if getattr(self.current, name) != getattr(fresh, name)
        }
        for name, (before, after) in changed.items():
            if name in RELOADABLE:
                log.info("setting_changed", setting=variable_of(name), before=_shown(before), after=_shown(after))
            elif name not in self._said and name != "supabase_service_role_key":  # presence takes a new key over itself
                self._said.add(name)
                log.warning("setting_needs_restart", setting=variable_of(name), hint="the old value stays in force")
        taken = {name: after for name, (_, after) in changed.items() if name in RELOADABLE}
        if taken:
            self.current = self.current.model_copy(update=taken)
            for listener in self._listeners:
                listener(self.current)


def _shown(value: object) -> object:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value
