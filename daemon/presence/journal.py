"""What is said about the connection: the first failure loudly, repetitions counted, recovery loudly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from urllib.parse import urlsplit

import structlog

from daemon.contracts import Clock
from daemon.presence.service_key import KEY_SETTING

KEY_REFUSED = frozenset({"http_401", "http_403"})
UNREACHABLE_HINT = "check SUPABASE_URL and the network; trying again"
MAX_DETAIL_LENGTH = 256

log = structlog.get_logger()


class Journal:
    """Writes the log of one connection and of its channels.

    Args:
        clock: Time.
        url: Base URL of the project; only its host is ever said.
        connection: Tells the connections of one daemon apart.
    """

    def __init__(self, clock: Clock, url: str, *, connection: int = 0) -> None:
        self._clock = clock
        self._number = connection
        self._host = urlsplit(url).netloc.rpartition("@")[2]
        self._reconnects: Counter[str] = Counter()
        self._down_since = clock.monotonic()
        self._failures = 0
        self._key_refused = False
        self._failing_topics: Counter[str] = Counter()
        self._channels_lost: Counter[str] = Counter()

    @property
    def reconnects(self) -> Mapping[str, int]:
        """How often a connection ended or could not be made, by cause."""
        return dict(self._reconnects)

    @property
    def channels_lost(self) -> Mapping[str, int]:
        """How often a channel alone failed, by cause."""
        return dict(self._channels_lost)

    def connected(self, *, topics: int, viewers: int) -> None:
        """The connection is of use (again)."""
        seconds_down = round(self._clock.monotonic() - self._down_since, 3)
        log.info(
            "realtime_connected",
            connection=self._number,
            topics=topics,
            viewers=viewers,
            seconds_down=seconds_down,
            failures=self._failures,
        )
        self._failures = 0
        self._key_refused = False

    def left(self) -> None:
        """All channels were left: the flag is off, or others own the shards, or nobody asks for the topics."""
        self._down_since = self._clock.monotonic()
        log.info("realtime_left", connection=self._number)

    def renewed(self, cause: str) -> None:
        """A session was ended to begin a fresh one."""
        self._reconnects[cause] += 1
        self._down_since = self._clock.monotonic()
        log.info("realtime_renewed", connection=self._number, cause=cause)

    def disconnected(self, cause: str, *, was_of_use: bool) -> None:
        """The connection ended."""
        if was_of_use:
            self._down_since = self._clock.monotonic()
        self._count(cause)
        if self._failures == 1:
            log.warning("realtime_disconnected", connection=self._number, cause=cause)

    def unreachable(self, cause: str) -> None:
        """The connection could not be made."""
        self._count(cause)
        if cause in KEY_REFUSED:
            self._refuse_key(cause)
        elif self._failures == 1:
            log.warning(
                "realtime_unreachable", connection=self._number, cause=cause, host=self._host, hint=UNREACHABLE_HINT
            )

    def channel_lost(self, topic: str, cause: str, detail: str) -> None:
        """A channel alone failed."""
        self._failing_topics[topic] += 1
        self._channels_lost[cause] += 1
        if self._failing_topics[topic] == 1:
            log.warning(
                "realtime_channel_lost",
                connection=self._number,
                topic=topic,
                cause=cause,
                detail=detail[:MAX_DETAIL_LENGTH],
            )

    def channel_dropped(self, topic: str) -> None:
        """A topic is not asked for any more."""
        self._failing_topics.pop(topic, None)

    def channel_confirmed(self, topic: str) -> None:
        """A channel's state has come."""
        if failures := self._failing_topics.pop(topic, 0):
            log.info("realtime_channel_rejoined", connection=self._number, topic=topic, failures=failures)

    def _count(self, cause: str) -> None:
        self._reconnects[cause] += 1
        self._failures += 1

    def _refuse_key(self, cause: str) -> None:
        if not self._key_refused:
            self._key_refused = True
            hint = f"{KEY_SETTING} is wrong or has expired"
            log.warning("realtime_key_refused", connection=self._number, cause=cause, host=self._host, hint=hint)
