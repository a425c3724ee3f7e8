"""Bodies for the fuzzer: good ones altered in every way, and nonsense. The same randomness gives the same body."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from tests.fetchers.conformance import HTML, USELESS, VALUES

_WORDS = ("", "AAPL", "WRNG", "NaN", "true", "2026-02-30", "0000-00-00 00:00:00", "\0", "\ud800", "é" * 50, "x" * 300)
_NUMBERS = (0, -1, 1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**400, 1e-320, 1e308, -0.0, 1.5)
_LARGEST_CROWD = 2_000

Record = dict[str, Any]


def spoil(body: bytes, rng: random.Random) -> bytes:
    """Return another body in place of a good one."""
    return rng.choice(_WAYS)(body, rng)


def value(rng: random.Random, depth: int = 0) -> Any:
    """Return anything that JSON can say."""
    kind = rng.randrange(8 if depth < 3 else 6)
    if kind < 2:
        return rng.choice(_WORDS)
    if kind < 4:
        return rng.choice(_NUMBERS)
    if kind < 6:
        return rng.choice((None, True, False, rng.uniform(-1e6, 1e6)))
    if kind == 6:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(_WORDS) + str(rng.randrange(9)): value(rng, depth + 1) for _ in range(rng.randrange(4))}


def _few(body: bytes, rng: random.Random) -> list[Record]:
    records: Sequence[Record] = json.loads(body)
    return [dict(rng.choice(records)) for _ in range(rng.randrange(1, 4))]


def _changed(body: bytes, rng: random.Random) -> bytes:
    """Change, add and remove fields of good records."""
    records: list[Any] = _few(body, rng)
    for record in records:
        for name in rng.sample(sorted(record), min(len(record), rng.randrange(4))):
            if rng.random() < 0.3:
                del record[name]
            else:
                record[name] = value(rng)
        if rng.random() < 0.3:
            record[f"new{rng.randrange(10_000)}"] = value(rng)
    if rng.random() < 0.2:
        records.insert(rng.randrange(len(records) + 1), value(rng))
    return json.dumps(records).encode()


def _not_json(body: bytes, rng: random.Random) -> bytes:
    """Put in place of a field what is absurd, too long, too deep, or no JSON at all."""
    records = _few(body, rng)
    record = rng.choice(records)
    record[rng.choice(sorted(record))] = "\x01"
    wild = (
        rng.choice(VALUES) if rng.random() < 0.1 else rng.choice(("NaN", "-Infinity", "1e999", "01", "'x'", "9" * 400))
    )
    return json.dumps(records).replace('"\\u0001"', wild).encode()


def _cut(body: bytes, rng: random.Random) -> bytes:
    return body[: rng.randrange(len(body))]


def _damaged(body: bytes, rng: random.Random) -> bytes:
    """Overwrite, insert and repeat bytes."""
    damaged = bytearray(json.dumps(_few(body, rng)).encode())
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(damaged))
        match rng.randrange(3):
            case 0:
                damaged[at] = rng.randrange(256)
            case 1:
                damaged[at:at] = rng.randbytes(rng.randrange(1, 4))
            case _:
                damaged[at:at] = damaged[at : at + rng.randrange(1, 40)]
    return bytes(damaged)


def _document(_body: bytes, rng: random.Random) -> bytes:
    return json.dumps([value(rng) for _ in range(rng.randrange(4))] if rng.random() < 0.5 else value(rng)).encode()


def _noise(_body: bytes, rng: random.Random) -> bytes:
    return rng.choice((HTML, rng.randbytes(rng.randrange(200)), rng.choice(list(USELESS.values()))))


def _crowd(body: bytes, rng: random.Random) -> bytes:
    """Repeat one record very often."""
    piece = json.dumps(rng.choice([_few(body, rng)[0], value(rng)])).encode()
    return b"[" + b",".join([piece] * rng.randrange(_LARGEST_CROWD)) + b"]"


_WAYS: Sequence[Callable[[bytes, random.Random], bytes]] = (
    *[_changed] * 40,
    *[_not_json] * 15,
    *[_cut] * 10,
    *[_damaged] * 20,
    *[_document] * 9,
    *[_noise] * 5,
    _crowd,
)
"""As often as each of them is taken."""
