"""The stream of server-sent events on real sockets: one look for all, bounded, and kind to nobody who hangs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession

from daemon.contracts import Pair
from daemon.store.database import Database
from daemon.web import dashboard_feed
from daemon.web.dashboard_feed import KEEP_ALIVE, Feed, encode_event
from tests.presence.stage import LogRecorder
from tests.rows import make_ready
from tests.web.dashboard_stage import Stage, set_state, staged, subscribe

pytestmark = pytest.mark.direct

AAPL = Pair("AAPL", "quote")


class Events:
    """The events of one stream, as they come."""

    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        self._lines = lines
        self.comments = 0
        self.retry = ""

    async def next(self, name: str) -> dict[str, Any]:
        """Return the data of the next event of that name."""
        found = ""
        async with asyncio.timeout(10):
            async for raw in self._lines:
                key, _, value = raw.decode().rstrip("\n").partition(": ")
                if key == "event":
                    found = value
                elif key == "data" and found == name:
                    data: dict[str, Any] = orjson.loads(value)
                    return data
                elif key == "retry":
                    self.retry = value
                elif key == "":
                    self.comments += bool(value)
        raise AssertionError("the stream ended")


@asynccontextmanager
async def watching(stage: Stage) -> AsyncIterator[Events]:
    async with ClientSession() as client, client.get(f"{stage.url}events") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        yield Events(answer.content.__aiter__())


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - sockets set no event
            await asyncio.sleep(0.01)


async def test_a_watcher_is_told_the_history_first_and_then_every_look(database: Database) -> None:
    async with staged(database) as stage, stage.listening(), watching(stage) as events:
        history = await events.next("history")
        look = await events.next("look")
        again = await events.next("look")

    assert events.retry == "3000"
    assert len(history["at"]) == len(history["overall"]) == 1
    assert look["detail"]["status"] == "ok"
    assert again["detail"]["uptime_seconds"] >= look["detail"]["uptime_seconds"]


async def test_a_look_is_encoded_once_for_all(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []

    def count(name: str, data: Any) -> bytes:
        encoded.append(name)
        return encode_event(name, data)

    monkeypatch.setattr(dashboard_feed, "encode_event", count)
    async with staged(database, every_seconds=0.2) as stage, stage.listening(), AsyncExitStack() as watchers:
        all_events = [await watchers.enter_async_context(watching(stage)) for _ in range(20)]
        for events in all_events:
            await events.next("look")
        encoded.clear()
        for events in all_events:
            await events.next("look")
            await events.next("look")

    assert 2 <= len(encoded) <= 4


async def test_there_is_room_for_so_many_and_no_more(database: Database) -> None:
    async with staged(database, max_watchers=3) as stage, stage.listening():
        async with AsyncExitStack() as watchers:
            for _ in range(3):
                await watchers.enter_async_context(watching(stage))
            async with ClientSession() as client, client.get(f"{stage.url}events") as answer:
                assert answer.status == 503
                assert int(answer.headers["Retry-After"]) > 0
            async with ClientSession() as client, client.get(stage.url) as answer:
                assert answer.status == 200
        await until(lambda: stage.dashboard.feed.has_room)
        async with watching(stage) as events:
            await events.next("look")


async def test_who_does_not_read_is_dropped(database: Database) -> None:
    async with staged(database, every_seconds=0.01, slow_seconds=0.2) as stage, stage.listening():
        long = {"detail": None, "text": "x" * 200_000}
        stage.dashboard._told = lambda *_: long  # type: ignore[method-assign]
        with socket.socket() as sleeper:
            sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            sleeper.connect(("127.0.0.1", stage.port))
            sleeper.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await until(lambda: stage.dashboard.feed.watchers == 1)
            await until(lambda: stage.dashboard.feed.watchers == 0)


async def test_a_stop_ends_every_stream_at_once(database: Database) -> None:
    async with staged(database, every_seconds=60) as stage, AsyncExitStack() as server:
        await server.enter_async_context(stage.listening())
        async with watching(stage) as events:
            await events.next("look")
            async with asyncio.timeout(0.8):  # the server's patience is a second
                await server.aclose()
        assert stage.dashboard.feed.watchers == 0


async def test_nothing_is_looked_up_while_nobody_watches(database: Database) -> None:
    async with staged(database, every_seconds=0.01) as stage, stage.listening():
        await asyncio.sleep(0.1)
        before = stage.dashboard._found
        async with watching(stage) as events:
            while (await events.next("look"))["top_pairs"] is None:
                pass

    assert before is None


async def test_times_go_on_between_look_ups(owner: Database, database: Database) -> None:
    await make_ready(owner)
    await subscribe(owner, AAPL, 1)
    await set_state(owner, AAPL, age=20, fresh_for=40, due_in=35)
    async with staged(database) as stage, stage.listening(), watching(stage) as events:
        while not (look := await events.next("look"))["top_pairs"]:
            pass
        (before,) = look["top_pairs"]
        stage.fails.add("top_pairs")
        stage.clock.ahead_seconds = 37
        while (look := await events.next("look"))["found_seconds_ago"] < 37:
            pass
        (after,) = look["top_pairs"]

    assert before["is_fresh"]
    assert before["due_in_seconds"] - after["due_in_seconds"] >= 36
    assert after["age_seconds"] - before["age_seconds"] >= 36
    assert after["why"] == "due, queued within a minute"
    assert not look["found_is_current"]


async def test_a_fault_is_told_and_logged_once_and_passes(database: Database, log: LogRecorder) -> None:
    async with staged(database) as stage, stage.listening(), watching(stage) as events:
        stage.fails |= {"detail", "top_pairs"}
        while (await events.next("look"))["detail"] is not None:
            pass
        await log.written("part_interrupted", 2)
        stage.fails.clear()
        while (await events.next("look"))["detail"] is None:
            pass
        await log.written("part_recovered", 2)

    assert {line["part"] for line in log.of("part_interrupted")} == {"dashboard", "dashboard_look_ups"}
    assert len(log.of("part_interrupted")) == 2


async def test_the_history_grows_while_nobody_watches(database: Database) -> None:
    async with staged(database, every_seconds=0.01) as stage:
        for _ in range(3):
            stage.clock.ahead_seconds += 31
            points = len(stage.dashboard._history.columns()["at"])
            await until(lambda points=points: len(stage.dashboard._history.columns()["at"]) > points)


async def test_who_has_missed_a_look_is_given_the_history_again() -> None:
    feed = Feed(max_watchers=1)
    feed.publish({"n": 1}, {"until": 1})
    frames = feed.frames()

    first = await anext(frames)
    feed.publish({"n": 2})
    second = await anext(frames)
    feed.publish({"n": 3}, {"until": 3})
    feed.publish({"n": 4})
    third = await anext(frames)
    await frames.aclose()

    assert first == encode_event("history", {"until": 1}) + encode_event("look", {"n": 1})
    assert second == encode_event("look", {"n": 2})
    assert third == encode_event("history", {"until": 3}) + encode_event("look", {"n": 4})


async def test_a_silent_stream_is_kept_alive_by_a_comment() -> None:
    feed = Feed(max_watchers=1, keep_alive_seconds=0.01)
    frames = feed.frames()

    assert await anext(frames) == KEEP_ALIVE
    assert KEEP_ALIVE.startswith(b":")
    await frames.aclose()


def test_no_text_ends_an_event() -> None:
    event = encode_event("look", {"text": "a\n\nevent: look\ndata: {}\r\n\r\u2028"})

    assert event.count(b"\n") == 3
    assert b"\r" not in event
