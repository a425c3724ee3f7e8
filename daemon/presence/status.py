"""How presence is: what `refreshd presence`, health checks and metrics show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class ShardStatus:
    """One shard of ours: its topics, how many of them are current, and the sum of their distinct viewers."""

    topics: int = 0
    confirmed: int = 0
    viewers: int = 0


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """One connection: its age in seconds (None while it is down), its topics, and why sessions and channels ended."""

    number: int
    age_seconds: float | None
    topics: int
    confirmed: int
    sessions_ended: Mapping[str, int]
    channels_lost: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class PresenceStatus:
    """All of it."""

    enabled: bool
    shards: Mapping[str, ShardStatus]
    """Those that this daemon owns."""
    connections: Sequence[ConnectionStatus]
    drops: Mapping[str, int]
    """By reason, how many untrusted things were dropped."""
    largest_state: int
    """Presences in the largest of the topics' last states."""

    @property
    def connected(self) -> bool:
        """Whether anything of ours is current."""
        return any(shard.confirmed for shard in self.shards.values())

    @property
    def ready(self) -> bool:
        """Whether everything that is ours is current."""
        return all(shard.confirmed == shard.topics for shard in self.shards.values())
