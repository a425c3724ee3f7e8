"""The body of one answer as it arrives: decompressed piece by piece, bounded on the wire and decoded.

A gzip body of 292 kB has been seen to unfold into 622 MiB; here nothing unfolds further than the cap.
"""

from __future__ import annotations

import zlib

from daemon.contracts import FetchError, FetchErrorKind

ACCEPT_ENCODING = "gzip, deflate"

_GZIP_BITS = zlib.MAX_WBITS | 16
_ZLIB_METHOD = 8


class Body:
    """Collects one body.

    Args:
        encoding: The ``Content-Encoding`` of the answer, empty where it has none.
        max_bytes: What the body may hold at most, on the wire and decoded.
        about: What was asked for, for messages.

    Raises:
        FetchError: TRANSPORT for an encoding that was not asked for.
    """

    def __init__(self, encoding: str, max_bytes: int, about: str) -> None:
        self._encoding = encoding.strip().lower()
        if self._encoding not in {"", "identity", "gzip", "deflate"}:
            raise FetchError(FetchErrorKind.TRANSPORT, f"{about}: the body is in an encoding that was not asked for")
        self._inflate: zlib._Decompress | None = None
        self._max_bytes = max_bytes
        self._about = about
        self._wire_bytes = 0
        self._decoded = bytearray()

    @property
    def compressed(self) -> bool:
        """Whether the body comes compressed."""
        return self._encoding in {"gzip", "deflate"}

    @property
    def so_far(self) -> bytes:
        """What has been decoded until now, cut at the cap."""
        return bytes(self._decoded[: self._max_bytes])

    def add(self, chunk: bytes) -> None:
        """Take the next bytes from the wire.

        Raises:
            FetchError: TOO_LARGE beyond the cap, TRANSPORT where the bytes cannot be decompressed.
        """
        self._wire_bytes += len(chunk)
        self._decoded += self._inflated(chunk) if self.compressed else chunk[: self._room + 1]
        if self._room < 0 or self._wire_bytes > self._max_bytes:
            raise FetchError(FetchErrorKind.TOO_LARGE, f"{self._about}: the body exceeds {self._max_bytes} bytes")

    def finish(self) -> bytes:
        """Return the whole body.

        Raises:
            FetchError: TRANSPORT where a compressed body ends too early.
        """
        if self.compressed and (self._inflate is None or not self._inflate.eof):
            raise FetchError(FetchErrorKind.TRANSPORT, f"{self._about}: the compressed body ends too early")
        return bytes(self._decoded)

    @property
    def _room(self) -> int:
        return self._max_bytes - len(self._decoded)

    def _inflated(self, chunk: bytes) -> bytes:
        """Decompress at most one byte more than there is room for: enough to see that the cap is exceeded."""
        if not chunk:
            return b""
        if self._inflate is None:
            self._inflate = zlib.decompressobj(self._window_bits(chunk[0]))
        try:
            inflated = self._inflate.decompress(chunk, max(self._room, 0) + 1)
        except zlib.error:
            raise FetchError(FetchErrorKind.TRANSPORT, f"{self._about}: the body cannot be decompressed") from None
        if self._inflate.eof and self._inflate.unused_data:
            raise FetchError(FetchErrorKind.TRANSPORT, f"{self._about}: the compressed body has something behind it")
        return inflated

    def _window_bits(self, first_byte: int) -> int:
        """Tell gzip from deflate, and the two things that servers call deflate by the first byte."""
        if self._encoding == "gzip":
            return _GZIP_BITS
        return zlib.MAX_WBITS if first_byte & 0x0F == _ZLIB_METHOD else -zlib.MAX_WBITS
