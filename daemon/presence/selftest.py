"""Are the private parts of ``realtime`` and ``websockets`` that a session leans on still where they were?

Asked at every start, without a network.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import version

from realtime import AsyncRealtimeChannel, AsyncRealtimeClient
from realtime._async.timer import AsyncTimer
from websockets.asyncio.client import ClientConnection, connect

from daemon.contracts import ConfigurationError

PINNED = "2.34.1"

CALLS: Mapping[str, tuple[Callable[..., object], tuple[str, ...]]] = {
    "AsyncRealtimeChannel._handle_message": (AsyncRealtimeChannel._handle_message, ("self", "message")),  # noqa: SLF001
    "AsyncRealtimeChannel._rejoin_if_connected": (AsyncRealtimeChannel._rejoin_if_connected, ("self",)),  # noqa: SLF001
    "AsyncRealtimeChannel.subscribe": (AsyncRealtimeChannel.subscribe, ("self", "callback")),
    "AsyncRealtimeClient._make_ref": (AsyncRealtimeClient._make_ref, ("self",)),  # noqa: SLF001
    "AsyncRealtimeClient._remove_channel": (AsyncRealtimeClient._remove_channel, ("self", "channel")),  # noqa: SLF001
    "AsyncRealtimeClient._on_connect_error": (AsyncRealtimeClient._on_connect_error, ("self", "e")),  # noqa: SLF001
    "AsyncRealtimeClient.send": (AsyncRealtimeClient.send, ("self", "message")),
    "AsyncTimer.schedule_timeout": (AsyncTimer.schedule_timeout, ("self", "delay")),
    "ClientConnection.recv": (ClientConnection.recv, ("self", "decode")),
    "connect.process_redirect": (connect.process_redirect, ("self", "exc")),
}
"""What is called or replaced, with the parameters it must have."""

CHANNEL_ATTRIBUTES = ("join_push", "messages_waiting_for_ack", "rejoin_timer", "_background_tasks", "is_joined")
CLIENT_ATTRIBUTES = ("channels", "_ws_connection")


def check_library() -> None:
    """Return where everything is in its place.

    Raises:
        ConfigurationError: Names what has moved, and the version to install.
    """
    moved = [name for name, (called, parameters) in CALLS.items() if not _takes(called, parameters)]
    client = AsyncRealtimeClient("http://localhost", "sb_secret_selftest", auto_reconnect=False)
    channel = AsyncRealtimeChannel(client, "realtime:selftest")
    moved += [f"AsyncRealtimeClient.{name}" for name in CLIENT_ATTRIBUTES if not hasattr(client, name)]
    moved += [f"AsyncRealtimeChannel.{name}" for name in CHANNEL_ATTRIBUTES if not hasattr(channel, name)]
    if moved:
        raise ConfigurationError(
            f"the installed realtime {version('realtime')} (with websockets {version('websockets')}) is not the one"
            f" that presence was written for: {', '.join(moved)} moved. Install realtime=={PINNED}, as the lock file"
            " has it"
        )


def _takes(called: Callable[..., object], parameters: tuple[str, ...]) -> bool:
    return set(parameters) <= set(inspect.signature(called).parameters)
