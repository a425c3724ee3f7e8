"""One session against servers that follow a script: every way in which a connection can go wrong."""

from __future__ import annotations

import asyncio
import random
import re
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from daemon.presence.channel import Patience
from daemon.presence.client import ConnectionFailedError, PresenceClient
from daemon.presence.pacing import Pacer
from daemon.presence.session import Session
from tests.presence.stage import (
    HASTY,
    LOBBY,
    OTHER_LOBBY,
    LogRecorder,
    Peer,
    RealClock,
    Recorder,
    following,
    redirecting,
    saying_nothing,
    state_of,
)

TOPIC = f"realtime:{LOBBY}"

LIBRARY = re.compile(r"/realtime/_async/")
"""Where the code of a task that the library started is."""


class WatcherRecorder(Recorder):
    """Remembers what a session learns."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[tuple[str, Any]] = []
        self.diffs: list[Any] = []
        self.losses: list[tuple[str, str]] = []

    async def take_state(self, topic: str, payload: Any) -> None:
        """Take a state."""
        self.states.append((topic, payload))
        self.notify()

    async def take_diff(self, _topic: str, payload: Any) -> None:
        """Take a diff."""
        self.diffs.append(payload)
        self.notify()

    def channel_lost(self, topic: str, cause: str, _detail: str) -> None:
        """Take a loss."""
        self.losses.append((topic, cause))
        self.notify()


class ClumsyWatcher(WatcherRecorder):
    """Fails at the first diff."""

    async def take_diff(self, topic: str, payload: Any) -> None:
        """Fail."""
        raise LookupError(topic, payload)


def new_session(
    url: str,
    watcher: WatcherRecorder,
    *,
    topics: Sequence[str] = (LOBBY,),
    patience: Patience = HASTY,
    drops: Counter[str] | None = None,
) -> Session:
    clock = RealClock()
    return Session(
        url=url,
        key="sb_secret_development",
        topics=topics,
        presence_key="refreshd-test",
        watcher=watcher,
        clock=clock,
        rng=random.Random(1),
        drops=Counter() if drops is None else drops,
        patience=patience,
        pacer=Pacer(clock, 1_000.0),
    )


async def live(
    script: Callable[[Peer], Awaitable[None]],
    watcher: WatcherRecorder,
    *,
    changes: Callable[[Session], object] = id,
    **choices: Any,
) -> str:
    """Run a session against a script until it ends by itself, leaving nothing behind; return the cause.

    ``changes`` are made when the first state has come.
    """
    async with following(script) as url, asyncio.timeout(10), asyncio.TaskGroup() as group:
        session = new_session(url, watcher, **choices)
        life = group.create_task(session.run(asyncio.Event()))
        if changes is not id:
            await watcher.until(lambda: bool(watcher.states))
            changes(session)
        cause = await life
        assert [task for task in asyncio.all_tasks() if LIBRARY.search(repr(task))] == []
        return cause


async def test_a_topic_is_joined_as_a_private_channel_with_presence_asked_for() -> None:
    joins = []

    async def script(peer: Peer) -> None:
        joins.append(await peer.accept(state_of(ada={})))
        await peer.close()

    watcher = WatcherRecorder()
    cause = await live(script, watcher)

    config = joins[0]["payload"]["config"]
    assert joins[0]["topic"] == TOPIC
    assert config["private"] is True
    assert config["presence"] == {"key": "refreshd-test", "enabled": True}
    assert joins[0]["payload"]["access_token"] == "sb_secret_development"
    assert watcher.states == [(LOBBY, state_of(ada={}))]
    assert cause == "closed_1000"


async def test_a_server_that_says_nothing_is_in_doubt() -> None:
    async def script(_peer: Peer) -> None:
        """Say nothing."""

    patience = Patience(silence_seconds=0.2, join_seconds=10, close_seconds=0.2)

    cause = await live(script, WatcherRecorder(), patience=patience)

    assert cause == "silence"


async def test_answered_heartbeats_keep_a_quiet_session_alive() -> None:
    beats: list[dict[str, Any]] = []

    async def script(peer: Peer) -> None:
        await peer.accept(state_of())
        while len(beats) < 20:
            beats.append(await peer.next("heartbeat"))
            await peer.reply(beats[-1])
        await peer.close(1001)

    patience = Patience(heartbeat_seconds=0.02, silence_seconds=0.3, close_seconds=0.2)

    cause = await live(script, WatcherRecorder(), patience=patience)

    assert cause == "closed_1001"
    assert all(beat["ref"] for beat in beats)


async def test_a_join_whose_state_never_comes_puts_the_connection_in_doubt() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.answer_heartbeats()

    cause = await live(script, WatcherRecorder())

    assert cause == "no_presence_state"


async def test_a_join_that_is_never_answered_is_retried_and_then_dialled_anew() -> None:
    async def script(peer: Peer) -> None:
        await peer.answer_heartbeats()

    watcher = WatcherRecorder()
    cause = await live(script, watcher)

    assert cause == "channels_failed"
    assert watcher.losses == [(LOBBY, "join_timeout")] * 3


async def test_a_join_that_is_refused_is_retried_and_then_dialled_anew() -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.reply(await peer.next("phx_join"), "error", {"reason": "Unauthorized"})

    watcher = WatcherRecorder()
    cause = await live(script, watcher)

    assert cause == "channels_failed"
    assert watcher.losses == [(LOBBY, "channel_error")] * 3


@pytest.mark.parametrize(
    ("event", "cause"), [("phx_close", "channel_closed"), ("phx_error", "channel_error"), ("system", "channel_error")]
)
async def test_one_channel_that_fails_is_joined_again_while_the_other_lives_on(event: str, cause: str) -> None:
    rejoins = []
    payload = {"channel": "x", "extension": "system", "message": "Token has expired", "status": "error"}

    async def script(peer: Peer) -> None:
        first = await peer.accept(state_of(ada={}))
        await peer.accept(state_of(bob={}))
        await peer.send(first["topic"], event, payload, first["ref"] if event != "system" else None)
        rejoins.append(await peer.accept(state_of(cem={})))
        await peer.send(f"realtime:{OTHER_LOBBY}", "presence_diff", {"joins": state_of(dee={}), "leaves": {}})
        await peer.close()

    watcher = WatcherRecorder()
    ending = await live(script, watcher, topics=[LOBBY, OTHER_LOBBY])

    assert watcher.losses == [(LOBBY, cause)]
    assert [topic for topic, _ in watcher.states] == [LOBBY, OTHER_LOBBY, LOBBY]
    assert rejoins[0]["topic"] == TOPIC
    assert watcher.diffs == [{"joins": state_of(dee={}), "leaves": {}}]
    assert ending == "closed_1000"


async def test_a_channel_that_fails_again_and_again_but_works_in_between_does_not_end_the_session() -> None:
    async def script(peer: Peer) -> None:
        for _ in range(5):
            join = await peer.accept(state_of())
            await peer.send(TOPIC, "phx_error", {}, join["ref"])
        await peer.accept(state_of())
        await peer.close()

    watcher = WatcherRecorder()
    cause = await live(script, watcher)

    assert watcher.losses == [(LOBBY, "channel_error")] * 5
    assert cause == "closed_1000"


async def test_the_close_of_an_earlier_join_does_not_close_the_later_one() -> None:
    async def script(peer: Peer) -> None:
        first = await peer.accept(state_of())
        await peer.send(TOPIC, "phx_error", {}, first["ref"])
        second = await peer.next("phx_join")
        await peer.reply(second, response={"postgres_changes": []})
        await peer.send(TOPIC, "phx_close", {}, first["ref"])
        await peer.send(TOPIC, "presence_state", state_of(ada={}))
        await peer.send(TOPIC, "presence_diff", {"joins": {}, "leaves": state_of(ada={})})
        await peer.close()

    watcher, drops = WatcherRecorder(), Counter[str]()
    await live(script, watcher, drops=drops)

    assert watcher.losses == [(LOBBY, "channel_error")]
    assert len(watcher.diffs) == 1
    assert drops["stale_close"] == 1


async def test_topics_are_joined_one_after_the_other() -> None:
    waiting = []

    async def script(peer: Peer) -> None:
        first = await peer.next("phx_join")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                waiting.append(await peer.next("phx_join"))
        await peer.reply(first, response={})
        await peer.next("phx_join")
        await peer.close()

    await live(script, WatcherRecorder(), topics=[LOBBY, OTHER_LOBBY])

    assert waiting == []


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "[]",
        "null",
        '"x"',
        b"\x00\xff\xfe",
        "[" * 100_000,
        '{"topic": 1, "event": 2}',
        '{"topic": "realtime:viewers:0", "event": "phx_reply", "ref": "1", "payload": {"status": 1}}',
        '{"topic": "realtime:viewers:0", "event": "phx_reply", "ref": {}, "payload": null}',
        '{"topic": "realtime:viewers:0", "event": "system", "payload": []}',
        '{"topic": "realtime:viewers:0", "event": "broadcast", "payload": {}, "ref": null}',
        '{"topic": "realtime:viewers:0", "event": "phx_close", "ref": null, "payload": "' + "x" * 100_000 + '"}',
        '{"topic": "realtime:elsewhere", "event": "presence_state", "payload": {}, "ref": null}',
        '{"topic": "realtime:viewers:0", "event": "presence_state", "payload": [], "ref": null}',
    ],
)
async def test_a_frame_that_makes_no_sense_is_passed_over(frame: str | bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(state_of())
        await peer.send_raw(frame)
        await peer.send(TOPIC, "presence_diff", {"joins": {}, "leaves": {}})
        await peer.close()

    watcher = WatcherRecorder()
    cause = await live(script, watcher)

    assert watcher.diffs == [{"joins": {}, "leaves": {}}]
    assert watcher.losses == []
    assert cause == "closed_1000"


async def test_a_lone_surrogate_of_one_viewer_does_not_cost_the_state_of_all() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(state_of(ada={"userId": "\ud800"}, bob={}))
        await peer.close()

    watcher = WatcherRecorder()
    await live(script, watcher)

    assert watcher.states[0][1].keys() == {"ada", "bob"}


async def test_a_frame_beyond_all_bounds_ends_the_session() -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(state_of())
        await peer.send(TOPIC, "presence_state", {"x": "x" * 9_000_000})
        await peer.closed()

    cause = await live(script, WatcherRecorder())

    assert cause == "closed_1009"


async def test_a_watcher_that_fails_ends_the_session_and_not_the_process(log: LogRecorder) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept(state_of())
        await peer.send(TOPIC, "presence_diff", {})
        await peer.closed()

    cause = await live(script, ClumsyWatcher())

    assert cause == "frame_failed"
    assert log.of("presence_frame_failed")


async def test_a_server_that_does_not_answer_the_close_is_left_within_the_bound() -> None:
    deaf = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept(state_of())
        peer.stop_reading()
        deaf.set()

    stop, watcher = asyncio.Event(), WatcherRecorder()
    async with following(script) as url, asyncio.timeout(2), asyncio.TaskGroup() as group:
        running = group.create_task(new_session(url, watcher, patience=Patience(close_seconds=0.2)).run(stop))
        await deaf.wait()
        stop.set()

    assert running.result() == "stopped"


@pytest.mark.parametrize("url", ["http:///nowhere", "http://127.0.0.1:1", "http://127.0.0.1:99999"])
async def test_a_connection_that_fails_never_tells_the_key(url: str) -> None:
    client = PresenceClient(url, "sb_secret_development", reply_seconds=1, close_seconds=1)

    with pytest.raises(ConnectionFailedError) as failure:
        await client.open()

    assert "sb_secret" not in "".join(traceback.format_exception(failure.value))


async def test_a_redirect_is_not_followed() -> None:
    elsewhere = []

    async def script(peer: Peer) -> None:
        elsewhere.append(peer)

    async with following(script) as target, redirecting(target) as url, asyncio.timeout(5):
        cause = await new_session(url, WatcherRecorder()).run(asyncio.Event())

    assert cause == "http_302"
    assert elsewhere == []


async def test_a_state_before_the_answer_to_the_join_is_passed_over() -> None:
    async def script(peer: Peer) -> None:
        join = await peer.next("phx_join")
        await peer.send(TOPIC, "presence_state", state_of(early={}))
        await peer.reply(join, response={})
        await peer.send(TOPIC, "presence_state", state_of(ada={}))
        await peer.close()

    watcher = WatcherRecorder()
    await live(script, watcher)

    assert watcher.states == [(LOBBY, state_of(ada={}))]


async def test_a_session_that_is_stopped_while_it_connects_ends_at_once() -> None:
    accepted, stop = asyncio.Event(), asyncio.Event()

    async with saying_nothing(accepted) as url, asyncio.timeout(2), asyncio.TaskGroup() as group:
        running = group.create_task(new_session(url, WatcherRecorder(), patience=Patience()).run(stop))
        await accepted.wait()
        stop.set()

    assert running.result() == "stopped"


async def test_a_handshake_that_is_never_answered_times_out() -> None:
    async with saying_nothing(asyncio.Event()) as url, asyncio.timeout(5):
        cause = await new_session(url, WatcherRecorder()).run(asyncio.Event())

    assert cause == "timeout"
