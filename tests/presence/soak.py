"""A daemon, a crowd, and a fault every few seconds: at the end the rows are the truth, and the bucket has held.

The daemon is a process of its own on the embedded stack. Viewers come, change what they show and go, over raw sockets,
and come back after every fault. Whatever was wrong, in the end ``active_subscriptions_v2`` holds exactly what the
server's presences say.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import click
from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, WSMsgType
from prometheus_client.parser import text_string_to_metric_families

from devstack.daemon_process import DaemonProcess
from devstack.realtime.faults import JoinFault, StateFault, doubling, leaving_early, losing_every, with_ghosts
from devstack.stack import Stack

LOBBIES = 3
US = "service_role"
SYMBOLS = tuple(f"S{number}" for number in range(40))
TYPES = ("quote", "profile")
LEAVE_GRACE_SECONDS = 1.0
SESSION_SECONDS = 60.0
"""So old a session gets: what lost diffs have left behind is healed by the next one."""
LAG_SECONDS = 0.25
CLOSE_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 1014, 3000, 4000, 4999)
STATUSES = (401, 403, 404, 429, 500, 502, 503)
NOISE = ("{", "[]", "null", '{"topic":1}', b"\x00\xff\x10", "x" * 10_000, '{"topic":"realtime:viewers:0","event":""}')

Row = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how many, how often.

    Attributes:
        burst: Connections that the daemon may open in ``window_seconds``.
    """

    seconds: float
    viewers: int
    pause_seconds: tuple[float, float]
    burst: int
    window_seconds: float
    seed: int


@dataclass(slots=True)
class Report:
    """What came of a soak."""

    faults: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    most_in_window: int = 0
    converged_after_seconds: float = 0.0
    rows: int = 0
    lag_samples: int = 0
    lag_beyond: int = 0
    """Samples of the daemon's event loop that were late by more than a quarter of a second."""


class SoakError(AssertionError):
    """The end was not as it must be."""


# --- viewers ---


class Visitor:
    """Somebody who shows symbols in one lobby, and comes back whatever happens.

    Args:
        stack: Where.
        number: Tells visitors apart; several share a user.
        rng: Decides what they do.
        calm: Once set, nothing changes any more.
    """

    def __init__(self, stack: Stack, number: int, rng: random.Random, calm: asyncio.Event) -> None:
        self._stack = stack
        self._user = f"user-{number % 20}"
        self._topic = f"realtime:viewers:{number % LOBBIES}"
        self._rng = rng
        self._calm = calm
        self._refs = itertools.count(1)

    async def live(self) -> None:
        """Come, and come again, for ever."""
        async with ClientSession() as client:
            while True:
                with contextlib.suppress(ClientError, ConnectionError, TimeoutError):
                    await self._visit(client)
                await asyncio.sleep(self._rng.uniform(0.2, 1.0))

    async def _visit(self, client: ClientSession) -> None:
        url = f"{self._stack.realtime_url}/websocket"
        params = {"apikey": self._stack.viewer_token(), "vsn": "1.0.0"}
        async with asyncio.timeout(5):
            websocket = await client.ws_connect(url, params=params, heartbeat=2.0)
        async with websocket:
            await self._push(websocket, "phx_join", {"config": {"private": True, "presence": {"enabled": True}}})
            async with asyncio.timeout(5):
                reply = await websocket.receive()
            if reply.type is not WSMsgType.TEXT or json.loads(reply.data)["payload"].get("status") != "ok":
                return
            while await self._show(websocket):
                if await self._ended(websocket, self._rng.uniform(2.0, 20.0)):
                    return

    async def _show(self, websocket: ClientWebSocketResponse) -> bool:
        """Show something else; return False to go."""
        if not self._calm.is_set() and self._rng.random() < 0.2:
            return False
        chosen = self._rng.sample(SYMBOLS, self._rng.randint(1, 4))
        views = {symbol: self._rng.sample(TYPES, self._rng.randint(1, 2)) for symbol in chosen}
        payload = {"userId": self._user, "views": views}
        await self._push(websocket, "presence", {"type": "presence", "event": "track", "payload": payload})
        return True

    async def _ended(self, websocket: ClientWebSocketResponse, seconds: float) -> bool:
        """Look on for a while, to the end once it is calm; return whether the channel is gone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if self._calm.is_set() else seconds):
                while True:
                    received = await websocket.receive()
                    if received.type is not WSMsgType.TEXT:
                        return True
                    with contextlib.suppress(ValueError, TypeError, KeyError):
                        if json.loads(received.data)["event"] in {"phx_close", "phx_error"}:
                            return True
        return False

    async def _push(self, websocket: ClientWebSocketResponse, event: str, payload: object) -> None:
        ref = str(next(self._refs))
        await websocket.send_json({"topic": self._topic, "event": event, "payload": payload, "ref": ref})


# --- faults ---


class Saboteur:
    """Does something to the server every few seconds."""

    def __init__(self, stack: Stack, plan: Plan, rng: random.Random, report: Report) -> None:
        self._server = stack.realtime
        self._plan = plan
        self._rng = rng
        self._report = report
        switches, faults = self._server.switches, self._server.faults
        self._acts: Sequence[tuple[str, Callable[[], object]]] = (
            ("close", lambda: faults.close(rng.choice(CLOSE_CODES), role=rng.choice([None, US]))),
            ("reset", lambda: faults.reset(role=rng.choice([None, US]))),
            ("freeze", lambda: faults.freeze(role=US)),
            ("noise", lambda: faults.send(rng.choice(NOISE), role=US)),
            ("crash", lambda: faults.crash(self._lobby())),
            ("shut_down", lambda: faults.shut_down(self._lobby())),
            ("http_status", lambda: setattr(switches, "http_status", rng.choice(STATUSES))),
            ("handshakes_unanswered", lambda: setattr(switches, "handshakes_unanswered", True)),
            ("close_on_accept", lambda: setattr(switches, "close_on_accept", rng.choice(CLOSE_CODES))),
            ("phoenix_silent", lambda: setattr(switches, "phoenix_silent", True)),
            ("broadcasts_swallowed", lambda: setattr(switches, "broadcasts_swallowed", True)),
            ("join_refused", lambda: self._join(JoinFault(refused_because="soak"))),
            ("join_slow", lambda: self._join(JoinFault(delay_seconds=rng.uniform(0.5, 3)))),
            ("join_unanswered", lambda: self._join(JoinFault(unanswered=True))),
            ("state_late", lambda: self._state(StateFault(delay_seconds=rng.uniform(0.5, 3)))),
            ("state_missing", lambda: self._state(StateFault(missing=True))),
            ("diffs_lost", lambda: switches.diffs.update({self._lobby(): losing_every(2)})),
            ("diffs_doubled", lambda: switches.diffs.update({self._lobby(): doubling})),
            ("ghosts", lambda: switches.diffs.update({self._lobby(): with_ghosts})),
            ("leaves_early", lambda: switches.diffs.update({self._lobby(): leaving_early()})),
        )

    async def work(self) -> None:
        """Be a nuisance until the time is over, then set everything right."""
        ends_at = time.monotonic() + self._plan.seconds
        # Every kind once, in any order, before any kind comes again.
        kinds = itertools.chain.from_iterable(self._rng.sample(self._acts, len(self._acts)) for _ in itertools.count())
        for name, act in kinds:
            await asyncio.sleep(self._rng.uniform(*self._plan.pause_seconds))
            if time.monotonic() >= ends_at:
                break
            self._report.faults[name] += 1
            act()
            await asyncio.sleep(self._rng.uniform(*self._plan.pause_seconds))
            self._server.switches.heal()
        self._server.switches.heal()

    def _lobby(self) -> str:
        return f"viewers:{self._rng.randrange(LOBBIES)}"

    def _join(self, fault: JoinFault) -> None:
        """Spoil joins, and have one topic need a join."""
        lobby = self._lobby()
        self._server.switches.joins[lobby] = fault
        self._server.faults.crash(lobby)

    def _state(self, fault: StateFault) -> None:
        lobby = self._lobby()
        self._server.switches.states[lobby] = fault
        self._server.faults.crash(lobby)


# --- the soak ---


async def soak(plan: Plan, say: Callable[[str], object] = id) -> Report:
    """Run it.

    Raises:
        SoakError: When the rows are not the truth in the end, the daemon has dialled too often, or has died.
    """
    report, rng, calm = Report(), random.Random(plan.seed), asyncio.Event()
    async with Stack(durable=False, symbols=SYMBOLS, latency_seconds=0.0, calls_per_minute=60_000) as stack:
        daemon = await stack.start_daemon(_settings(plan))
        port = (await daemon.until_event("http_listening"))["port"]
        async with asyncio.TaskGroup() as group:
            crowd = [
                group.create_task(Visitor(stack, number, random.Random(f"{plan.seed}/{number}"), calm).live())
                for number in range(plan.viewers)
            ]
            try:
                await Saboteur(stack, plan, rng, report).work()
                calm.set()
                say(f"{sum(report.faults.values())} faults done; waiting for the rows to be the truth")
                await _converge(stack, plan, report)
            finally:
                for visitor in crowd:
                    visitor.cancel()
        await _read_lag(port, report)
        await _conclude(stack, daemon, plan, report)
    return report


def _settings(plan: Plan) -> dict[str, str]:
    return {
        "REFRESHD_LOBBY_SHARDS": str(LOBBIES),
        "REFRESHD_LEAVE_GRACE_SECONDS": str(LEAVE_GRACE_SECONDS),
        "REFRESHD_SESSION_SECONDS": str(min(SESSION_SECONDS, plan.seconds)),
        "REFRESHD_SILENCE_SECONDS": "4",
        "REFRESHD_HEARTBEAT_SECONDS": "1",
        "REFRESHD_CANARY_SECONDS": "2",
        "REFRESHD_CANARY_TIMEOUT_SECONDS": "2",
        "REFRESHD_JOIN_TIMEOUT_SECONDS": "4",
        "REFRESHD_STATE_TIMEOUT_SECONDS": "4",
        "REFRESHD_RECONNECT_MAX_SECONDS": "5",
        "REFRESHD_RECONNECT_BURST": str(plan.burst),
        "REFRESHD_RECONNECT_WINDOW_SECONDS": str(plan.window_seconds),
    }


async def _converge(stack: Stack, plan: Plan, report: Report) -> None:
    """Wait until the rows are what the server's presences say, and stay so."""
    began = time.monotonic()
    patience = 60 + 1.5 * SESSION_SECONDS + 2 * plan.window_seconds / plan.burst
    equal = 0
    while equal < 5:
        await asyncio.sleep(0.5)
        truth, rows = _truth(stack), await _rows(stack)
        equal = equal + 1 if rows == truth and len(_present(stack)) == plan.viewers else 0
        if time.monotonic() - began > patience:
            raise SoakError(f"not the truth after {patience:.0f} s: missing {truth - rows}, too much {rows - truth}")
    report.converged_after_seconds = round(time.monotonic() - began - 2.5, 1)
    report.rows = len(rows)


def _present(stack: Stack) -> list[dict[str, object]]:
    lobbies = [stack.realtime.presences(f"viewers:{number}", private=True) for number in range(LOBBIES)]
    return [meta for lobby in lobbies for metas in lobby.values() for meta in metas]


def _truth(stack: Stack) -> set[Row]:
    rows = set()
    for meta in _present(stack):
        views = meta["views"]
        assert isinstance(views, dict)
        rows |= {(f"user:{meta['userId']}", symbol, name) for symbol, names in views.items() for name in names}
    return rows


async def _rows(stack: Stack) -> set[Row]:
    found = await stack.owner.fetch("select distinct user_id, symbol, data_type from active_subscriptions_v2")
    return {(row["user_id"], row["symbol"], row["data_type"]) for row in found}


async def _read_lag(port: int, report: Report) -> None:
    async with ClientSession() as client, client.get(f"http://127.0.0.1:{port}/metrics") as answer:
        families = {family.name: family for family in text_string_to_metric_families(await answer.text())}
    for sample in families["refreshd_event_loop_lag_seconds"].samples:
        if sample.name.endswith("_count"):
            report.lag_samples = int(sample.value)
            report.lag_beyond += int(sample.value)
        elif sample.labels.get("le") == str(LAG_SECONDS):
            report.lag_beyond -= int(sample.value)


async def _conclude(stack: Stack, daemon: DaemonProcess, plan: Plan, report: Report) -> None:
    if daemon.exit_code is not None:
        raise SoakError(f"the daemon ended with {daemon.exit_code}")
    dialled = [each.at for each in stack.realtime.handshakes if each.key == stack.service_key]
    report.connections = len(dialled)
    report.most_in_window = max(
        sum(1 for at in dialled[first:] if at < dialled[first] + plan.window_seconds) for first in range(len(dialled))
    )
    if report.most_in_window > plan.burst:
        raise SoakError(f"{report.most_in_window} connections within {plan.window_seconds} s, {plan.burst} are allowed")
    if daemon.errors:
        raise SoakError(f"the log has errors: {list(daemon.errors)[:3]}")
    if await daemon.stop() != 0:
        raise SoakError(f"the daemon stopped with {daemon.exit_code}")


@click.command()
@click.option("--seconds", default=600.0, show_default=True, help="How long there are faults.")
@click.option("--viewers", default=60, show_default=True)
@click.option("--seed", type=int, default=lambda: random.SystemRandom().randrange(2**32), help="By default a new one.")
def main(seconds: float, viewers: int, seed: int) -> None:
    """Let a daemon listen under faults; the exit code is 1 where the end was not as it must be."""
    plan = Plan(
        seconds=seconds,
        viewers=viewers,
        pause_seconds=(1.0, 5.0),
        burst=20,
        window_seconds=600.0,
        seed=seed,
    )
    click.echo(f"seed {plan.seed}: {plan.seconds:.0f} s of faults, {plan.viewers} viewers")
    try:
        report = asyncio.run(soak(plan, click.echo))
    except* SoakError as group:
        for error in group.exceptions:
            click.echo(f"FAILED  {error}")
        sys.exit(1)
    for name, number in report.faults.most_common():
        click.echo(f"{number:>5}  {name}")
    click.echo(
        f"ok: {sum(report.faults.values())} faults, {report.connections} connections of the daemon"
        f" (at most {report.most_in_window} in {plan.window_seconds:.0f} s);"
        f" {report.rows} rows were the truth {report.converged_after_seconds} s after the last fault;"
        f" {report.lag_beyond} of {report.lag_samples} samples of the event loop were late by more than {LAG_SECONDS} s"
    )


if __name__ == "__main__":
    main()
