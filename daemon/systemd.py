"""What systemd is told over its notification socket, as sd_notify(3) has it. Without one nothing is told."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

MICROSECONDS = 1_000_000
LONGEST_STATUS = 200


class Notifier:
    """Tells the service manager how the daemon is.

    Args:
        address: A path, or ``@name`` for an abstract socket; None tells nobody.
        watchdog_seconds: Within which time a sign of life is expected; None where none is.
    """

    def __init__(self, address: str | None, watchdog_seconds: float | None = None) -> None:
        self._address = address
        self.watchdog_seconds = watchdog_seconds
        self._socket: socket.socket | None = None
        if address is not None:
            # Opened once and kept: when there are no file descriptors left, signs of life must still get out.
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Notifier:
        """Read ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` as systemd sets them."""
        microseconds = environment.get("WATCHDOG_USEC", "")
        is_meant = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        seconds = int(microseconds) / MICROSECONDS if microseconds.isdecimal() and is_meant else None
        return cls(environment.get("NOTIFY_SOCKET") or None, seconds or None)

    def close(self) -> None:
        """Close the socket; nothing is told any more."""
        if self._socket is not None:
            self._socket.close()

    def ready(self, status: str) -> None:
        """Say that the daemon works, after the start or after a reload."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def reloading(self) -> None:
        """Say that a reload has begun; ``ready`` ends it, also one that failed."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000}")

    def stopping(self) -> None:
        """Say that the daemon drains and ends."""
        self._send("STOPPING=1\nSTATUS=draining")

    def status(self, text: str) -> None:
        """Set the line that ``systemctl status`` shows."""
        self._send(f"STATUS={_line(text)}")

    def alive(self) -> None:
        """Give the sign of life that the watchdog waits for."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if self._socket is None or self._address is None:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with suppress(OSError):
            self._socket.sendto(message.encode(), address)


def _line(text: str) -> str:
    return " ".join(text.split())[:LONGEST_STATUS]
