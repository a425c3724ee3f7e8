"""Which symbol topics are worth being a member of: asked for or viewed a while ago, or just found again."""

from __future__ import annotations

from collections.abc import Callable

from daemon.contracts import KnownTopic


class TopicBook:
    """Remembers when each symbol topic last gave a sign of interest. Times are monotonic seconds.

    Args:
        quiet_seconds: How long after the last sign a topic is kept.
    """

    def __init__(self, *, quiet_seconds: float) -> None:
        self._quiet_seconds = quiet_seconds
        self._signs: dict[str, float] = {}

    def note(self, known: KnownTopic, now: float) -> None:
        """Take in what is remembered; a topic that is met for the first time gets a full quiet period."""
        named_at = now - known.named_seconds_ago
        self._signs[known.topic] = max(self._signs.get(known.topic, now), named_at)

    def viewed(self, topic: str, now: float) -> None:
        """Note that somebody is there."""
        self._signs[topic] = now

    def wants(self, topic: str, now: float) -> bool:
        """Whether to be a member of a topic."""
        sign = self._signs.get(topic)
        return sign is not None and now - sign < self._quiet_seconds

    def wanted(self, now: float) -> list[str]:
        """Return every topic to be a member of."""
        return [topic for topic in self._signs if self.wants(topic, now)]

    def forget(self, forgotten: Callable[[str], bool]) -> None:
        """Forget some topics: they will be met for the first time when they come back."""
        self._signs = {topic: sign for topic, sign in self._signs.items() if not forgotten(topic)}

    def forget_before(self, then: float) -> None:
        """Forget the topics whose last sign is older."""
        self._signs = {topic: sign for topic, sign in self._signs.items() if sign >= then}
