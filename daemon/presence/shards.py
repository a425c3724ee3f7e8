"""Which shards there are, and which topics belong to them.

A lobby topic is a shard of its own. Symbol topics are divided into groups by their hash, since any number of them may
come and go. All daemons on one database must divide alike: the numbers come from the settings.
"""

from __future__ import annotations

import zlib

LOBBY = "viewers:"
GROUP = "symbols:"
SYMBOL = "symbol:"


class Layout:
    """How presence is divided.

    Args:
        lobbies: Number of lobby topics, ``viewers:0`` and on; 0 where pages use symbol topics alone.
        groups: Number of groups of symbol topics; 0 where pages use lobbies alone.
    """

    def __init__(self, *, lobbies: int = 1, groups: int = 0) -> None:
        self._groups = groups
        self._lobbies = frozenset(f"{LOBBY}{number}" for number in range(lobbies))
        self.shards = (*sorted(self._lobbies), *(f"{GROUP}{number}" for number in range(groups)))
        """Everything that can be owned."""

    @property
    def has_groups(self) -> bool:
        """Whether there are symbol topics."""
        return self._groups > 0

    def is_lobby(self, topic: str) -> bool:
        """Whether a topic is a shard of its own."""
        return topic in self._lobbies

    def shard_of(self, topic: str) -> str | None:
        """Return the shard that a topic belongs to; None for a topic of no shard here."""
        if self.is_lobby(topic):
            return topic
        if self._groups and topic.startswith(SYMBOL):
            return f"{GROUP}{zlib.crc32(topic.encode()) % self._groups}"
        return None
