"""A silence must be known as silence: heartbeats, the canary, and the library's own shape."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

import pytest
from realtime import AsyncRealtimeClient

from daemon.contracts import ConfigurationError
from daemon.presence import selftest
from daemon.presence.selftest import check_library
from daemon.presence.session import Session
from tests.presence.stage import HASTY, LOBBY, LogRecorder, Peer, state_of
from tests.presence.test_session import TOPIC, WatcherRecorder, live

SINGING = replace(HASTY, canary_seconds=0.02, canary_reply_seconds=0.1, silence_seconds=60, join_seconds=5)


async def echo_canaries(peer: Peer, number: int) -> None:
    """Answer everything that is asked, and send so many canaries back."""
    while number:
        message = await peer.next_of("heartbeat", "phx_join", "broadcast")
        if message["event"] == "broadcast":
            await peer.send(message["topic"], "broadcast", message["payload"])
            number -= 1
        else:
            await peer.reply(message)


async def test_a_canary_that_does_not_come_back_puts_the_connection_in_doubt() -> None:
    songs: list[dict[str, Any]] = []

    async def script(peer: Peer) -> None:
        await peer.accept(state_of(ada={}))
        await echo_canaries(peer, 3)
        songs.append(await peer.next("broadcast"))
        await peer.answer_heartbeats()

    watcher = WatcherRecorder()
    cause = await live(script, watcher, patience=SINGING)

    assert cause == "canary_unanswered"
    assert songs[0]["topic"].startswith("realtime:refreshd:canary:")
    assert watcher.losses == []


async def test_somebody_elses_song_is_no_answer() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(state_of(ada={}))
        join = await peer.next("phx_join")
        await peer.reply(join)
        await peer.next("broadcast")
        strangers: list[Any] = [{"payload": {"song": "another"}}, {"payload": None}, None, []]
        for payload in strangers:
            await peer.send(join["topic"], "broadcast", payload)
        await peer.answer_heartbeats()

    assert await live(script, WatcherRecorder(), patience=SINGING) == "canary_unanswered"


async def test_a_server_that_refuses_the_canary_is_no_doubt_and_is_logged_once(log: LogRecorder) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(state_of(ada={}))
        for _ in range(3):
            await peer.reply(await peer.next("phx_join"), "error", {"reason": "Unauthorized"})
        await peer.close()

    cause = await live(script, WatcherRecorder(), patience=SINGING)

    assert cause == "closed_1000"
    assert [line["cause"] for line in log.of("canary_lost")] == ["channel_error"]


async def test_heartbeats_that_go_unanswered_are_a_doubt_though_presence_flows() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(state_of(ada={}))
        with contextlib.suppress(Exception):  # until the other side hangs up
            while True:
                await peer.send(TOPIC, "presence_diff", {"joins": {}, "leaves": {}})
                await asyncio.sleep(0.01)

    watcher = WatcherRecorder()
    cause = await live(script, watcher, patience=replace(HASTY, silence_seconds=0.2))

    assert cause == "heartbeat_unanswered"
    assert watcher.states == [(LOBBY, state_of(ada={}))]
    assert watcher.diffs


async def test_a_topic_dropped_from_a_session_is_left_and_one_added_is_joined() -> None:
    seen: list[tuple[str, str]] = []

    async def script(peer: Peer) -> None:
        await peer.accept(state_of(ada={}))
        while len(seen) < 2:
            message = await peer.next_of("phx_leave", "phx_join")
            seen.append((message["event"], message["topic"]))
            await peer.reply(message)
        await peer.close()

    def change(session: Session) -> None:
        session.add("symbol:AAPL")
        session.drop(LOBBY)

    watcher = WatcherRecorder()
    await live(script, watcher, changes=change)

    assert sorted(seen) == [("phx_join", "realtime:symbol:AAPL"), ("phx_leave", TOPIC)]
    assert watcher.losses == []


def test_the_installed_library_is_the_one_that_presence_was_written_for() -> None:
    check_library()


def test_a_private_part_that_moved_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def moved(_self: AsyncRealtimeClient) -> None:
        """Stand where the library's own had a parameter."""

    calls = dict(selftest.CALLS) | {"AsyncRealtimeClient._remove_channel": (moved, ("self", "channel"))}
    monkeypatch.setattr(selftest, "CALLS", calls)

    with pytest.raises(ConfigurationError, match=r"_remove_channel moved\. Install realtime==2\.34\.1"):
        check_library()
