"""The one lifecycle of everything that runs: start together, fail together, stop within a grace period.

A service runs until it is asked to stop. Returning earlier is a crash, and so is raising: the first one ends all the
others, the process exits 1, and systemd starts it afresh.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from daemon.contracts import RefreshdError

log = structlog.get_logger()


class Service(Protocol):
    """A long-running part of the daemon."""

    name: str

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, then finish what must be finished and return."""
        ...


class ServiceDiedError(RefreshdError):
    """A service ended although nobody asked it to."""


async def wait_or_stop(stop: asyncio.Event, seconds: float) -> bool:
    """Wait for ``seconds`` or until ``stop`` is set, whichever comes first; return whether it was ``stop``."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return False
    return True


async def wait_for_first(seconds: float | None, *events: asyncio.Event) -> None:
    """Wait until one of ``events`` is set or ``seconds`` have passed; no event is cleared."""
    waits = {asyncio.ensure_future(event.wait()) for event in events}
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def wait_for_any(stop: asyncio.Event, wake: asyncio.Event, seconds: float) -> bool:
    """Wait for ``wake``, ``stop`` or ``seconds``; clear ``wake``, and return whether ``stop`` is set."""
    await wait_for_first(seconds, stop, wake)
    wake.clear()
    return stop.is_set()


async def run_all(services: Sequence[Service], stop: asyncio.Event, *, grace_seconds: float = 15.0) -> None:
    """Run ``services`` until ``stop`` is set; what has not ended ``grace_seconds`` later is cancelled.

    Raises:
        ExceptionGroup: When a service raises, or returns before ``stop`` (:class:`ServiceDiedError`); by then every
            other service has been cancelled and has ended.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_run(service, stop), name=service.name) for service in services]
        await stop.wait()
        _, late = await asyncio.wait(tasks, timeout=grace_seconds) if tasks else ((), ())
        for task in late:
            log.warning("service_cancelled", service=task.get_name(), grace_seconds=grace_seconds)
            task.cancel()


async def _run(service: Service, stop: asyncio.Event) -> None:
    await service.run(stop)
    if not stop.is_set():
        raise ServiceDiedError(f"service {service.name} returned although nobody asked it to stop")
