"""Hostile payloads, made from a random source: of some it is known what is to be dropped, of the others nothing."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tests.presence.stage import LOBBY

MAX_META_BYTES = 2048

Json: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Known:
    """A diff or a state whose drops are known."""

    event: str
    payload: Json
    drops: Counter[str]
    metas: int


def meta(rng: random.Random) -> tuple[dict[str, Json], Counter[str]]:
    """Return a meta, without its ref, and what is to be dropped of it."""
    if rng.random() < 0.2:  # for one reason alone
        return rng.choice([_too_many_keys, _too_long, _too_many_pairs, _surrogate, _deep])(rng)
    payload: dict[str, Json] = {}
    drops = Counter[str]()
    views: dict[str, Json] = {}
    for spoil in [*rng.sample(SPOILERS, rng.randint(0, 4)), *rng.sample(LAST_SPOILERS, rng.randint(0, 2))]:
        spoil(rng, payload, views, drops)
    if "views" not in payload:
        payload["views"] = views
    if len(json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()) > MAX_META_BYTES:
        return payload, Counter({"oversized_meta": 1})
    return payload, drops


def _too_many_keys(rng: random.Random) -> tuple[dict[str, Json], Counter[str]]:
    return {f"key{number}": number for number in range(rng.randint(11, 40))}, Counter({"too_many_keys": 1})


def _too_long(rng: random.Random) -> tuple[dict[str, Json], Counter[str]]:
    return {"views": {}, "note": "x" * rng.randint(MAX_META_BYTES, 8_000)}, Counter({"oversized_meta": 1})


def _too_many_pairs(rng: random.Random) -> tuple[dict[str, Json], Counter[str]]:
    symbols = rng.randint(51, 60)
    views = {f"P{number}": ["quote", "profile"] for number in range(symbols)}
    return {"views": views}, Counter({"too_many_pairs": 2 * symbols - 100})


def _surrogate(rng: random.Random) -> tuple[dict[str, Json], Counter[str]]:
    return {"userId": chr(rng.randint(0xD800, 0xDFFF))}, Counter({"malformed_meta": 1})


def _deep(rng: random.Random) -> tuple[dict[str, Json], Counter[str]]:
    nested: Json = []
    for _ in range(rng.randint(260, 600)):
        nested = [nested]
    return {"views": nested}, Counter({"malformed_meta": 1})


Spoiler: TypeAlias = Callable[[random.Random, dict[str, Json], dict[str, Json], Counter[str]], None]


def _good(rng: random.Random, payload: dict[str, Json], views: dict[str, Json], _drops: Counter[str]) -> None:
    payload["userId"] = f"user-{rng.randint(0, 50)}"
    views[f"S{rng.randint(0, 30)}"] = rng.choice([["quote"], ["profile", "quote"], [], ["quote"] * 3])


def _unknown_types(rng: random.Random, _payload: Json, views: dict[str, Json], drops: Counter[str]) -> None:
    number = rng.randint(1, 5)
    views[f"U{rng.randint(0, 9)}"] = [f"type{n}" for n in range(number)]
    drops["unknown_data_type"] += number


def _bad_symbols(rng: random.Random, _payload: Json, views: dict[str, Json], drops: Counter[str]) -> None:
    for symbol in rng.sample(["aapl", "AAPL\n", "", "A" * 21, "<script>", "\x00", "É", "A B", "__proto__", "$ne"], 3):
        views[symbol] = ["quote"]
    drops["malformed_symbol"] += 3


def _no_list(rng: random.Random, _payload: Json, views: dict[str, Json], drops: Counter[str]) -> None:
    views["NOLIST"] = rng.choice([None, 1, "quote", {"quote": True}, True, 1.5])
    drops["malformed_data_types"] += 1


def _no_strings(rng: random.Random, _payload: Json, views: dict[str, Json], drops: Counter[str]) -> None:
    number = rng.randint(1, 10)
    views["NOSTR"] = [rng.choice([None, 1, {}, [], True]) for _ in range(number)]
    drops["malformed_data_types"] += number


def _long_list(rng: random.Random, _payload: Json, views: dict[str, Json], drops: Counter[str]) -> None:
    number = rng.randint(1, 60)
    views["LONG"] = ["quote"] * (20 + number)
    drops["too_many_data_types"] += number


def _symbol_form(rng: random.Random, payload: dict[str, Json], _views: Json, drops: Counter[str]) -> None:
    symbol, types, reason = rng.choice(
        [
            ("AAPL", ["quote"], None),
            (None, ["quote"], "malformed_symbol"),
            (["AAPL"], ["quote"], "malformed_symbol"),
            ("AAPL", None, "malformed_data_types"),
        ]
    )
    payload.update(symbol=symbol, dataTypes=types)
    if reason is not None:
        drops[reason] += 1


def _bad_user(rng: random.Random, payload: dict[str, Json], _views: Json, drops: Counter[str]) -> None:
    if payload.get("userId") is None:
        payload["userId"] = rng.choice(["", "x" * 200, 1, [], {}, True])
        drops["invalid_user_id"] += 1


def _bad_views(rng: random.Random, payload: dict[str, Json], views: dict[str, Json], drops: Counter[str]) -> None:
    if not views:
        payload["views"] = rng.choice([None, 1, [], "AAPL", True])
        drops["malformed_views"] += 1


SPOILERS: Sequence[Spoiler] = (
    _good,
    _unknown_types,
    _bad_symbols,
    _no_list,
    _no_strings,
    _long_list,
    _symbol_form,
)
LAST_SPOILERS: Sequence[Spoiler] = (_bad_user, _bad_views)


def presences(rng: random.Random, metas: int) -> tuple[dict[str, Json], Counter[str]]:
    """Return ``{key: {metas}}`` and what is to be dropped of it."""
    state: dict[str, Json] = {}
    drops = Counter[str]()
    for number in range(metas):
        kind = rng.random()
        key = f"key-{rng.randint(0, 20)}-{number}"
        if kind < 0.1:
            state[key] = rng.choice([None, 1, [], {}, {"metas": None}, {"metas": {}}, "metas"])
            drops["malformed_presence"] += 1
        elif kind < 0.15:
            state["k" * rng.randint(257, 400) + key] = {"metas": []}
            drops["malformed_presence"] += 1
        elif kind < 0.3:
            ref: Json = rng.choice([None, 1, "", "r" * 65, [], {}])
            state[key] = {"metas": [rng.choice([None, 1, [], "meta", {"phx_ref": ref}])]}
            drops["invalid_phx_ref"] += 1
        else:
            payload, lost = meta(rng)
            state[key] = {"metas": [{**payload, "phx_ref": f"r{number}"}]}
            drops += lost
    return state, drops


def known_case(rng: random.Random) -> Known:
    """Return one message whose drops are known."""
    kind = rng.random()
    if kind < 0.05:
        payload: Json = rng.choice([None, 1, [], "state", True])
        event, reason = rng.choice([("presence_state", "malformed_state"), ("presence_diff", "malformed_diff")])
        return Known(event, payload, Counter({reason: 1}), 0)
    if kind < 0.1:
        half = rng.choice(["joins", "leaves"])
        return Known("presence_diff", {half: rng.choice([None, 1, [], "x"])}, Counter({"malformed_presence": 1}), 0)
    metas = rng.randint(1, 3)
    state, drops = presences(rng, metas)
    if kind < 0.15:
        return Known("presence_state", state, drops, metas)
    leaves = {key: {"metas": [{"phx_ref": "r0"}]} for key in list(state)[:1] if len(key) < 256}
    return Known("presence_diff", {"joins": state, "leaves": leaves}, drops, metas)


def json_value(rng: random.Random, depth: int = 0) -> Json:
    """Return any JSON value, nested five deep at most."""
    kinds: list[Callable[[], Json]] = [
        lambda: None,
        lambda: rng.random() < 0.5,
        lambda: rng.randint(-(2**70), 2**70),
        lambda: rng.uniform(-1e308, 1e308),
        lambda: text(rng),
        lambda: text(rng),
        lambda: [json_value(rng, depth + 1) for _ in range(rng.randint(0, 5))],
        lambda: {text(rng): json_value(rng, depth + 1) for _ in range(rng.randint(0, 5))},
    ]
    return rng.choice(kinds if depth < 4 else kinds[:6])()


WORDS = (
    "views",
    "userId",
    "symbol",
    "dataTypes",
    "phx_ref",
    "phx_ref_prev",
    "presence_ref",
    "metas",
    "ticket",
    "AAPL",
    "quote",
)


def text(rng: random.Random) -> str:
    """Return a word that means something, or none."""
    if rng.random() < 0.5:
        return rng.choice(WORDS)
    return "".join(chr(rng.choice([rng.randint(0, 127), rng.randint(0, 0x10FFFF)])) for _ in range(rng.randint(0, 12)))


EVENTS = ("presence_state", "presence_diff", "phx_reply", "system", "broadcast", "postgres_changes", "", "access_token")
"""Not those that end a channel: their fault is not what is asked about here."""


def random_frame(rng: random.Random) -> str | bytes:
    """Return a frame that may be a message, or a part of one, or noise."""
    topic = rng.choice([f"realtime:{LOBBY}", "phoenix", "realtime:", "realtime:viewers:1"])
    event = rng.choice(EVENTS) if rng.random() < 0.9 else text(rng)
    ref = rng.choice([None, "0", "99999", 1])
    frame = json.dumps({"topic": topic, "event": event, "payload": json_value(rng), "ref": ref})
    match rng.randint(0, 5):
        case 0:
            return frame[: rng.randint(0, len(frame))]
        case 1:
            spoilt = bytearray(frame.encode())
            for _ in range(rng.randint(1, 4)):
                spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
            return bytes(spoilt)
        case 2:
            return rng.randbytes(rng.randint(0, 200))
        case _:
            return frame


def random_presence(rng: random.Random) -> tuple[str, Json]:
    """Return a state or a diff whose metas are anything at all."""
    state = {text(rng): {"metas": [json_value(rng) for _ in range(rng.randint(0, 3))]} for _ in range(3)}
    refs = {f"k{n}": {"metas": [{"phx_ref": "r", text(rng): json_value(rng)}]} for n in range(3)}
    if rng.random() < 0.3:
        return "presence_state", state | refs
    return "presence_diff", {"joins": state | refs, "leaves": rng.choice([{}, refs, state])}
