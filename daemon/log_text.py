"""What may stand in a log line: no secrets, no characters that move a terminal's cursor, nothing endless.

Lines are checked as encoded JSON, which is fast, and taken apart only when the check finds something.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any
from urllib.parse import quote

import orjson

REDACTED = "[redacted]"
LONGEST_VALUE = 2_000
LONGEST_LINE = 40_000
"""In bytes: journald cuts at 48 KiB, and half a line is no JSON."""

_SHORTEST_SECRET = 6
"""Anything shorter would redact ordinary words."""

_INVISIBLE = "\x7f-\x9f\u2028-\u202e\u2066-\u2069"
"""Printed raw by JSON: DEL, the C1 controls, line separators, and marks that reverse the reading direction."""

_UNSAFE_IN_JSON = re.compile(f"[{_INVISIBLE}]")
_UNSAFE_ON_TERMINAL = re.compile(f"[\x00-\x1f{_INVISIBLE}]")
_UNSAFE_BYTES = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]")


class LogText:
    """Encodes the data of one line, and takes out what must not be in it.

    Args:
        secrets: Texts to redact wherever they appear, also URL-encoded, quoted or within JSON.
    """

    def __init__(self, secrets: Collection[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= _SHORTEST_SECRET for form in _forms(secret)}
        self._needles = tuple(_encode(form)[1:-1] for form in forms)
        longest_first = sorted(forms, key=len, reverse=True)
        self._secret = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def json_line(self, data: dict[str, Any]) -> bytes:
        """Return ``data`` as one line of JSON that is safe to print, without the line end."""
        line = _encode(data)
        if not self._is_suspect(line):
            return line
        cleaned = self._clean(orjson.loads(line), _UNSAFE_IN_JSON)
        line = _encode(cleaned)
        if len(line) <= LONGEST_LINE:
            return line
        head = {key: cleaned[key] for key in ("time", "level", "event")}
        return _encode(head | {"cut": line[:LONGEST_VALUE].decode(errors="replace")})

    def terminal_data(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return ``data`` with strings that are safe on a terminal, and everything else as JSON would have it."""
        cleaned: dict[str, Any] = self._clean(orjson.loads(_encode(data)), _UNSAFE_ON_TERMINAL)
        return cleaned

    def _is_suspect(self, line: bytes) -> bool:
        if len(line) > LONGEST_VALUE or any(needle in line for needle in self._needles):
            return True
        return b"\x7f" in line or not (line.isascii() or _UNSAFE_BYTES.search(line) is None)

    def _clean(self, value: Any, unsafe: re.Pattern[str]) -> Any:
        match value:
            case str():
                return self._clean_text(value, unsafe)
            case dict():
                return {self._clean_text(key, unsafe): self._clean(item, unsafe) for key, item in value.items()}
            case list():
                return [self._clean(item, unsafe) for item in value]
            case _:
                return value

    def _clean_text(self, text: str, unsafe: re.Pattern[str]) -> str:
        text = unsafe.sub(_visible, self._secret.sub(REDACTED, text))
        return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}... ({len(text)} characters)"


def _visible(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode()


def _forms(secret: str) -> set[str]:
    in_json = {_encode(secret)[1:-1].decode(), json.dumps(secret)[1:-1]}
    return {secret, quote(secret, safe=""), repr(secret)[1:-1]} | in_json


def _encode(data: Any) -> bytes:
    try:
        return orjson.dumps(data, default=str)
    except TypeError:  # an integer above 64 bits, a key that is no string, half a surrogate pair, a cycle
        plain = {_plain(key): _plain(value) for key, value in data.items()} if isinstance(data, dict) else _plain(data)
        return orjson.dumps(plain)


def _plain(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text.encode(errors="backslashreplace").decode()
