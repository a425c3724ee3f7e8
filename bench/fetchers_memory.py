"""``python -m bench.fetchers_memory TYPE``: print how many MB a body as large as the cap takes, above idle.

Told is the highest resident memory while the body arrives in pieces and is parsed, less that before.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import orjson

from bench.fetchers_types import build_cases
from daemon.fetchers.body import Body
from daemon.fetchers.client import MAX_BYTES
from daemon.fetchers.shape import MAX_RECORDS

CHUNK_BYTES = 2**16


def main() -> None:
    """Take the body in, parse it, print the growth."""
    case = next(case for case in build_cases() if case.data_type == sys.argv[1])
    case.parse(case.body)
    chunks = _chunks(case.body)
    gc.collect()
    _forget_peak()
    idle_kb = _status_kb("VmRSS")
    body = Body("", MAX_BYTES, case.data_type)
    for chunk in chunks:
        body.add(chunk)
    rows = case.parse(body.finish())
    assert rows, "nothing was parsed"
    print((_status_kb("VmHWM") - idle_kb) * 1024 / 1e6)


def _chunks(body: bytes) -> list[bytes]:
    """Return a body just below the cap as it comes over the wire: repeated records, then blanks where those end."""
    records = body.strip().removeprefix(b"[").removesuffix(b"]").strip()
    times = min((MAX_BYTES - 2) // (len(records) + 1), MAX_RECORDS // len(orjson.loads(body)))
    listed = b",".join([records] * times)
    whole = b"[" + listed + b" " * (MAX_BYTES - 2 - len(listed)) + b"]"
    return [whole[at : at + CHUNK_BYTES] for at in range(0, len(whole), CHUNK_BYTES)]


def _forget_peak() -> None:
    """Have the kernel count the highest resident memory from now on (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status_kb(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    main()
